"""Gram matrices on disk: safetensors, with a fingerprint of what they belong to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields

import torch

from ..arguments import file_to_read
from ..disk import replacing
from .fingerprint import differences
from .gram import Grams

FORMAT = "rlhf_lib linearized 1"
_TENSORS = tuple(f.name for f in fields(Grams) if f.name != "cost")


def save_grams(
    grams: Grams, path: str | os.PathLike, fingerprint: Mapping, dtype: torch.dtype
) -> None:
    """Write the matrices and what they belong to; an existing file is replaced at once."""
    _, save_file = _safetensors()
    tensors = {name: getattr(grams, name).to(dtype).contiguous() for name in _TENSORS}
    metadata = {
        "format": FORMAT,
        "cost": json.dumps(grams.cost),
        "fingerprint": json.dumps(fingerprint),
    }
    with replacing(path) as part:
        save_file(tensors, part, metadata)


def load_grams(path: str | os.PathLike, fingerprint: Mapping) -> Grams:
    """Read the matrices for this fingerprint.

    Raises:
        ValueError: another kind of file, or of another model, other data or settings; the message
            says what differs.
    """
    safe_open, _ = _safetensors()
    found = file_to_read("load", path)
    try:
        file = safe_open(found, framework="pt")
    except Exception as error:  # safetensors' own, of whatever the file holds instead
        raise ValueError(
            f"{found}: expected a file that LinearModel.save has written, got another: {error}"
        ) from error
    with file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"{os.fspath(path)}: expected a file that LinearModel.save has written, got format "
                f"{metadata.get('format')!r}"
            )
        differing = differences(json.loads(metadata["fingerprint"]), fingerprint)
        if differing:
            raise ValueError(
                f"{os.fspath(path)} belongs to something else. What differs: "
                f"{'; '.join(differing[:8])}{' ...' if len(differing) > 8 else ''}. Leave out "
                "load= to linearize anew"
            )
        tensors = {name: file.get_tensor(name).to(torch.float64) for name in _TENSORS}
    return Grams(**tensors, cost=json.loads(metadata["cost"]))


def _safetensors():
    """(safe_open, save_file), which the core of the library does without."""
    try:
        from safetensors import safe_open
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError(
            "saving and loading a linearization needs safetensors: pip install 'rlhf-lib[text]', "
            "or safetensors alone"
        ) from error
    return safe_open, save_file
