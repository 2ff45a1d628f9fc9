"""How large the entries of a vector are, from the largest to the exact zeros."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import GREY, PALETTE


class Sizes(Figure):
    """The moduli of the last record's entries in falling order, on a logarithmic axis.

    `entries(record)` gives the numbers. An exact zero has no logarithm: it is an open square on
    the floor of the plot, so that it cannot be taken for a number that is merely small. What is
    smaller than `floor`, but not zero, is drawn a little above it.
    """

    legend = True

    def __init__(
        self,
        entries: Callable[[Any], Sequence[float]],
        *,
        floor: float = 1e-8,
        top: float = 10.0,
        **axes: Any,
    ):
        if not 0 < floor < top:
            raise ValueError(f"sizes need 0 < floor < top, got {floor} and {top}")
        super().__init__(y_range=[floor / 3, top], y_log=True, **axes)
        self._entries, self._floor = entries, floor
        self._traces_of = {
            name: self.follow(
                go.Scatter(name=name, mode="markers", marker={"color": colour, **mark}),
                ghost={"mode": "markers", "marker": {"color": GREY}},
            )
            for name, colour, mark in (
                ("not zero", PALETTE[0], {"symbol": "circle", "size": 8}),
                ("exactly zero", PALETTE[1], {"symbol": "square-open", "size": 9}),
            )
        }

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        entries = self._entries(records[-1]) if records else []
        sizes = sorted((abs(float(e)) for e in entries), reverse=True)
        places = {"not zero": ([], []), "exactly zero": ([], [])}
        for rank, size in enumerate(sizes, 1):
            if not math.isfinite(size):
                continue
            xs, ys = places["not zero" if size else "exactly zero"]
            xs.append(rank)
            ys.append(max(size, 2 * self._floor) if size else self._floor)
        for name, (xs, ys) in places.items():
            self._traces_of[name].update(x=xs, y=ys)
