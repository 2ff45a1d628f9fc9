"""Ticks of logarithmic axes: the numbers themselves, 0.001 and not -3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MOST = 7  # labels on an axis
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def log_ticks(span: Sequence[float] | None) -> dict[str, Any]:
    """plotly's settings of a logarithmic axis over `span`, two positive numbers in data units.

    Without a span plotly chooses the range, and powers of ten are its ticks.
    Raises ValueError unless 0 < low < high.
    """
    if span is None:
        return {"type": "log", "dtick": 1, "exponentformat": "power"}
    low, high = map(float, span)
    if not 0 < low < high:
        raise ValueError(f"a logarithmic axis: expected 0 < low < high, got {low:g} and {high:g}")
    values = tick_values(low, high)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": values,
        "ticktext": [tick_text(value) for value in values],
    }


def tick_values(low: float, high: float) -> list[float]:
    """Powers of ten between low and high, at most seven; with their 2 and 5 on a short axis."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = list(range(first, last + 1))
    if len(decades) <= 2:
        places = [m * 10.0**d for d in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [float(f"{v:.6g}") for v in places if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
    every = math.ceil(len(decades) / MOST)
    # 1 is among them where it is on the axis: the other powers are counted from it.
    return [10.0**d for d in decades if d % every == 0]


def tick_text(value: float) -> str:
    """'0.001', '1', '1,000', and '10⁻⁵' where zeros could no longer be counted."""
    if 1e-4 * 0.999 < value < 1e5:
        return f"{value:,.10g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    lead = value / 10.0**exponent
    power = f"10{str(exponent).translate(SUPERSCRIPTS)}"
    return power if abs(lead - 1) < 1e-6 else f"{lead:.3g}·{power}"
