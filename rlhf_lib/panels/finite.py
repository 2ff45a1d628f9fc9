"""Numbers as plotly's JSON takes them: floats, and None for what cannot be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rlhf_lib.arguments import listed


def finite(value: Any) -> float | None:
    """`value` as a float (a tensor of one element too); None where it cannot be drawn."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def numbers(values: Any) -> list[float | None]:
    """A row of numbers; what is not finite is None."""
    # One by one the numbers of a tensor take a hundred times as long.
    row = values.tolist() if hasattr(values, "tolist") else values
    try:
        return [None if v is None or not math.isfinite(v) else float(v) for v in row]
    except TypeError:
        raise TypeError(f"expected a list of numbers to draw, got {values!r:.80}") from None


def pair(name: str, points: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """(xs, ys) of one length. Raises TypeError or ValueError for everything else."""
    both = listed(name, points)
    if len(both) != 2:
        raise ValueError(f"{name}: expected (xs, ys), got {len(both)} of them")
    xs, ys = listed(name, both[0]), listed(name, both[1])
    if len(xs) != len(ys):
        raise ValueError(f"{name}: expected as many xs as ys, got {len(xs)} and {len(ys)}")
    return both[0], both[1]


def drawable(points: Iterable[Sequence[Any]]) -> list[tuple[float, float]]:
    """The points with both coordinates finite."""
    found = ((finite(point[0]), finite(point[1])) for point in points)
    return [(x, y) for x, y in found if x is not None and y is not None]


def columns(points: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Any]]:
    """The xs and the ys of points."""
    return [p[0] for p in points], [p[1] for p in points]
