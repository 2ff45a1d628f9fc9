"""How large the entries of a vector are, from the largest to the exact zeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import columns
from rlhf_lib.panels.theme import GREY, PALETTE
from rlhf_lib.panels.trace import Trace


def Sizes(
    entries: Callable[[Any], Sequence[float]],
    *,
    floor: float = 1e-8,
    top: float = 10.0,
    **axes: Any,
) -> Figure:
    """The moduli of the last record's entries in falling order, on a logarithmic axis.

    `entries(record)` gives the numbers. An exact zero has no logarithm: it is an open square on
    the floor of the plot, so that it cannot be taken for a number that is merely small. What is
    smaller than `floor`, but not zero, is drawn a little above it.
    """
    if not 0 < floor < top:
        raise ValueError(f"sizes need 0 < floor < top, got {floor} and {top}")
    some, none = (
        Trace(
            go.Scatter(name=name, mode="markers", marker={"color": colour, **mark}),
            ghost={"mode": "markers", "marker": {"color": GREY}},
        )
        for name, colour, mark in (
            ("not zero", PALETTE[0], {"symbol": "circle", "size": 8}),
            ("exactly zero", PALETTE[1], {"symbol": "square-open", "size": 9}),
        )
    )

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        found = entries(records[-1]) if records else []
        sizes = sorted((abs(float(e)) for e in found), reverse=True)
        ranked = [(rank, size) for rank, size in enumerate(sizes, 1) if math.isfinite(size)]
        return [
            some.at(*columns([(rank, max(size, 2 * floor)) for rank, size in ranked if size])),
            none.at(*columns([(rank, floor) for rank, size in ranked if not size])),
        ]

    return Figure(draw, y_range=[floor / 3, top], y_log=True, legend=True, **axes)
