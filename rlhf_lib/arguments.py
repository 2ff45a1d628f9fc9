"""Arguments checked by kind: whole numbers, numbers, flags. Numpy's and torch's kinds count too."""

from __future__ import annotations

import math
from operator import index
from typing import Any


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


def real(name: str, value: Any, least: float = -math.inf, *, finite: bool = True) -> float:
    """A number, at least `least`; NaN and infinity only if not `finite`.

    Raises TypeError for what is no number (texts are none), ValueError for another one.
    """
    try:
        number = float(value) if not isinstance(value, str | bytes) else None
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
