"""Arguments checked by kind: numbers, flags, texts, functions, lists, vectors and what multiplies
them.

Numbers and flags of numpy and torch count, too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Set
from operator import index
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, at least `least`. Raises TypeError for another kind, ValueError for less."""
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if least is not None and number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def is_whole(value: Any, least: int | None = None) -> bool:
    """Whether :func:`whole` takes it."""
    try:
        whole("", value, least)
    except (TypeError, ValueError):
        return False
    return True


def byte_count(name: str, value: Any) -> int:
    """A whole number of bytes, also as 4e9. Raises as :func:`whole` does."""
    as_float = isinstance(value, float) and value.is_integer()
    return whole(name, int(value) if as_float else value, 0)


def real(name: str, value: Any, least: float = -math.inf, *, finite: bool = True) -> float:
    """A number, at least `least`; NaN and infinity only if not `finite`.

    Raises TypeError for what is no number (texts and flags are none), ValueError for another one.
    """
    try:
        number = float(value) if not isinstance(value, str | bytes | bool) else None
    except OverflowError:
        raise ValueError(f"{name}: expected a number below 1.8e308, got a larger one") from None
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None:
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if finite and not (least <= number < math.inf and number > -math.inf):
        said = "a finite number" + (f" >= {least:g}" if least > -math.inf else "")
        raise ValueError(f"{name}: expected {said}, got {value!r}")
    return number


def flag(name: str, value: Any) -> bool:
    """True or False. Raises TypeError for everything else: a text such as "no" would count as
    True."""
    if not (isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def one_of(name: str, value: Any, options: Iterable[str | None]) -> Any:
    """One of these names. Raises ValueError for everything else."""
    options = tuple(options)
    if not isinstance(value, str | None) or value not in options:
        raise ValueError(f"expected {name} {' or '.join(map(repr, options))}, got {value!r}")
    return value


def function(name: str, value: Any) -> Callable:
    """What can be called. Raises TypeError for everything else."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {type(value).__name__}")
    return value


def seed_of(name: str, value: Any) -> int:
    """A whole number that torch's generators take. Raises as :func:`whole` does."""
    number = whole(name, value)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{name}: expected a number of 64 bits, got one of {number.bit_length()}")
    return number


def file_to_read(name: str, value: Any) -> Path:
    """A file that is there. Raises TypeError for what is no name, OSError for a folder or for
    nothing."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name}: expected the name of a file, got {value!r}")
    found = Path(value)
    if found.is_dir():
        raise IsADirectoryError(f"{name}: expected the name of a file, got the folder {found}")
    if not found.exists():
        raise FileNotFoundError(f"{name}: expected a file, got {found}, which does not exist")
    return found


def seeded(value: Any) -> torch.Generator | None:
    """A generator of torch, or None for its default one. Raises TypeError for everything else."""
    if not isinstance(value, torch.Generator | None):
        raise TypeError(
            f"generator: expected a torch.Generator, got {value!r}: make one of a seed by "
            "torch.Generator().manual_seed(seed)"
        )
    return value


def vector(
    name: str, value: Any, n: int | None = None, *, like: Tensor | None = None, finite: bool = False
) -> Tensor:
    """A tensor of shape (n,) in a floating point type, of ``like``'s shape, type and device.

    Raises TypeError for what is no tensor, ValueError for another tensor.
    """
    shape = (n,) if like is None else like.shape
    if not isinstance(value, Tensor):
        size = "n" if shape[0] is None else shape[0]
        raise TypeError(
            f"expected {name} as a tensor of shape ({size},), got {type(value).__name__}: "
            "torch.as_tensor makes one"
        )
    if value.is_meta:
        raise ValueError(f"expected {name} with values, got a tensor on the meta device")
    if not value.is_floating_point():
        raise ValueError(
            f"expected {name} of a floating point type, got {value.dtype}: convert it, as by "
            ".double()"
        )
    if value.ndim != 1 or (shape[0] is not None and value.shape != shape):
        size = "n" if shape[0] is None else shape[0]
        raise ValueError(f"expected {name} of shape ({size},), got {tuple(value.shape)}")
    if like is not None and (value.dtype, value.device) != (like.dtype, like.device):
        raise ValueError(
            f"expected {name} in {like.dtype} on {like.device}, as what it goes with, got "
            f"{value.dtype} on {value.device}"
        )
    # A norm makes no mask of n entries; the mask decides where a square overflows.
    if finite and not math.isfinite(float(value.norm())) and not bool(value.isfinite().all()):
        raise ValueError(
            f"expected a finite {name}, got NaN or infinite entries: look at what it comes from"
        )
    return value


def symmetric(name: str, value: Any, like: Tensor | None = None) -> Any:
    """A tensor of shape (n, n), or an operator with ``@`` and this shape.

    Args:
        like: a vector that it multiplies; then an operator need not have a shape.

    Raises TypeError for what is neither, ValueError for another shape or type.
    """
    foreign = type(value).__module__.partition(".")[0] in ("numpy", "scipy")
    shape = getattr(value, "shape", None if like is None else (like.numel(),) * 2)
    if foreign or not hasattr(value, "__matmul__") or shape is None:
        raise TypeError(
            f"expected {name} as a tensor of shape (n, n) or an operator with `{name} @ v` for "
            f"tensors, got {type(value).__name__}"
        )
    n = like.numel() if like is not None else shape[0] if len(shape) else "n"
    if tuple(shape) != (n, n):
        raise ValueError(f"expected {name} of shape ({n}, {n}), got {tuple(shape)}")
    if isinstance(value, Tensor):
        vector(name, value.new_empty(0))  # its type and device
        if like is not None and value.dtype != like.dtype:
            raise ValueError(
                f"expected {name} and its vectors of one type, got {value.dtype} and {like.dtype}"
            )
    return value


def numbers(name: str, value: Any, least: float = -math.inf, *, finite: bool = True) -> None:
    """A number, or a tensor of numbers in any shape. Raises as :func:`real` does."""
    try:
        several = value if isinstance(value, str | bool) else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        several = value
    if not isinstance(several, Tensor) or several.ndim == 0:
        real(name, value, least, finite=finite)
        return
    if several.is_complex() or several.is_meta or several.dtype == torch.bool:
        raise TypeError(f"{name}: expected numbers, got {several.dtype} on {several.device}")
    for worst in (several.amin(), several.amax()) if several.numel() else ():  # NaN if there is one
        real(name, worst, least, finite=finite)


def tensor_list(name: str, value: Any) -> list[Tensor]:
    """Tensors, of any iterable, as a list. Raises TypeError for anything else."""
    found = list(value) if isinstance(value, Iterable) and not isinstance(value, Tensor) else None
    wrong = [x for x in found or () if not isinstance(x, Tensor)]
    if found is None or wrong:
        got = f"{type((wrong or [value])[0]).__name__}{' among them' if wrong else ''}"
        raise TypeError(
            f"expected {name} as a list of tensors, as model.parameters() gives them, got {got}"
        )
    return found


def named_tensors(name: str, value: Any) -> list[tuple[str, Tensor]]:
    """Tensors or (name, tensor) pairs as pairs, with "" where there is no name.

    Raises TypeError for anything else.
    """
    if isinstance(value, Tensor | str | Set) or not isinstance(
        value, Iterable
    ):  # a set has no order
        raise TypeError(
            f"expected {name} as a list of tensors or (name, tensor) pairs, got "
            f"{type(value).__name__}: as model.parameters() and model.named_parameters() give them"
        )
    found = [p if isinstance(p, tuple) else ("", p) for p in value]
    for i, p in enumerate(found):
        if len(p) != 2 or not isinstance(p[0], str) or not isinstance(p[1], Tensor):
            shown = ", ".join(type(x).__name__ for x in p if not (isinstance(x, str) and not x))
            raise TypeError(
                f"expected {name} as tensors or (name, tensor) pairs, got {shown or 'nothing'} "
                f"in place {i}: as model.parameters() and model.named_parameters() give them"
            )
    return found


def text_of(name: str, value: Any) -> str:
    """A text. Raises TypeError for everything else."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a text, got {value!r}")
    return value


def listed(name: str, value: Any) -> list[Any]:
    """A list, or what goes as one: a tuple, a range, an array, a tensor.

    Raises TypeError for a text, a dict or what has no order.
    """
    if isinstance(value, str | bytes | Mapping | Set) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected a list, got {value!r:.80}")
    if getattr(value, "ndim", 1) == 0:
        raise TypeError(f"{name}: expected a list, got a single number")
    return list(value)


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A dict with texts for keys, None for none. Raises TypeError for everything else."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name}: expected a dict by name, got {value!r:.80}")
    return dict(value)


def span(name: str, value: Any) -> tuple[float, float]:
    """Two finite numbers. Raises TypeError or ValueError for everything else."""
    ends = listed(name, value)
    if len(ends) != 2:
        raise ValueError(f"{name}: expected two numbers, got {len(ends)}")
    return real(name, ends[0]), real(name, ends[1])
