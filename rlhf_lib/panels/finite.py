"""Numbers as plotly's JSON takes them: floats, and None for what cannot be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any


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
    return [None if v is None or not math.isfinite(v) else float(v) for v in row]


def drawable(points: Iterable[Sequence[Any]]) -> list[tuple[float, float]]:
    """The points with both coordinates finite."""
    found = ((finite(point[0]), finite(point[1])) for point in points)
    return [(x, y) for x, y in found if x is not None and y is not None]


def columns(points: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Any]]:
    """The xs and the ys of points."""
    return [p[0] for p in points], [p[1] for p in points]
