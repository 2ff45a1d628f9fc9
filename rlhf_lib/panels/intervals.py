"""Several values for each of some names, with the interval of their mean: seeds, compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import GREY, PALETTE


class Intervals(Figure):
    """A row for each name of the last record: its values as dots, their mean with an interval.

    `rows(record)` maps a name to (values, low, high), from the top down. `most` rows fit in; their
    names stand on the axis. The axis along the bottom is fixed, what lies outside is not seen.
    """

    legend = True

    def __init__(
        self,
        rows: Callable[[Any], Mapping[str, tuple[Sequence[float], float, float]]],
        most: int,
        **axes: Any,
    ):
        super().__init__(y_range=[-most + 0.5, 0.5], **axes)
        self._rows = rows
        dots = {"symbol": "circle-open", "size": 7, "color": GREY}
        middle = {"symbol": "diamond", "size": 9, "color": PALETTE[0]}
        self._dots = self.follow(go.Scatter(name="one seed", mode="markers", marker=dots))
        self._means = self.follow(
            go.Scatter(name="mean and its interval", mode="markers", marker=middle)
        )

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        rows = self._rows(records[-1]) if records else {}
        axes = dict(self.widget.axes)
        axes["yaxis"] = axes["yaxis"] | {
            "tickvals": [-i for i in range(len(rows))],
            "ticktext": list(rows),
            "automargin": True,
        }
        self.widget.axes = axes
        points = [(v, -i) for i, (some, *_) in enumerate(rows.values()) for v in some]
        self._dots.update(x=[x for x, _ in points], y=[y for _, y in points])
        middles = [(sum(some) / len(some), low, high) for some, low, high in rows.values()]
        self._means.update(
            x=[middle for middle, _, _ in middles],
            y=[-i for i in range(len(rows))],
            error_x={
                "type": "data",
                "symmetric": False,
                "thickness": 2,
                "color": PALETTE[0],
                "array": [high - middle for middle, _, high in middles],
                "arrayminus": [middle - low for middle, low, _ in middles],
            },
        )
