"""What a linearization belongs to, in a few numbers: a model, its data, the settings.

Whole numbers (token ids, masks) have to agree bit for bit. Of floating-point tensors a norm and a
random projection are kept, because the same model gives activations that differ in the last digits
on another processor: they agree within a relative 1e-4, less than one sample of many or one step
of training changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path

RTOL = 1e-4


def sketch(tensor: Tensor) -> dict:
    """Shape and contents of a tensor."""
    t = tensor.detach().cpu()
    found: dict[str, Any] = {"shape": list(t.shape)}
    if not t.is_floating_point():
        whole = bytes(t.contiguous().view(torch.uint8).reshape(-1).tolist())
        found["sha256"] = hashlib.sha256(whole).hexdigest()
        return found
    # Infinite or huge entries are masks: their places count, not their size.
    flat = t.reshape(-1).double().clamp(-1e6, 1e6)
    along = torch.cos(1e3 * torch.arange(1, len(flat) + 1, dtype=torch.float64).sqrt())
    found["norm"], found["projection"] = float(flat.norm()), float(flat @ along)
    return found


def sketch_all(inputs) -> dict[str, dict]:
    """Sketches of the tensors of a nest of dicts, lists and tuples, by their place in it."""
    leaves, _ = tree_flatten_with_path(inputs)
    return {
        "".join(str(key) for key in path): sketch(leaf)
        for path, leaf in leaves
        if isinstance(leaf, Tensor)
    }


def differences(stored: Mapping, here: Mapping, words: Sequence[str] = ()) -> list[str]:
    """Where two nests of sketches and settings differ, in words; [] if they agree."""
    if "norm" in stored and "norm" in here:
        scale = RTOL * max(stored["norm"], here["norm"])
        same = stored["shape"] == here["shape"] and all(
            abs(stored[key] - here[key]) <= scale for key in ("norm", "projection")
        )
        return [] if same else [" ".join(words)]
    if "shape" in stored and "shape" in here:
        return [] if stored == here else [" ".join(words)]
    found = []
    for key in dict.fromkeys([*stored, *here]):
        a, b = stored.get(key), here.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, [*words, key])
        elif a != b:
            found.append(f"{' '.join([*words, key])} (stored {_short(a)}, here {_short(b)})")
    return found


def _short(value) -> str:
    if isinstance(value, Mapping):
        return f"shape {tuple(value['shape'])}" if "shape" in value else "some"
    return "nothing" if value is None else str(value)
