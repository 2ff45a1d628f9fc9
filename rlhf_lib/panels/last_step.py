"""A figure of the last record alone: what a solver did inside one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import GREY, PALETTE


class LastStep(Figure):
    """The numbers that one record holds, over 0, 1, 2, ...; those of the record before in grey.

    `values(record)` gives the numbers, such as the residual norms of conjugate gradients; records
    without any are passed over. With `y_log=True` numbers that are not positive are left out.
    """

    legend = True

    def __init__(self, values: Callable[[Any], Sequence[float]], *, y_log: bool = False, **axes):
        super().__init__(y_log=y_log, **axes)
        self._values, self._log = values, y_log
        grey = {"color": GREY, "width": 1.5, "dash": "dot"}
        blue = {"color": PALETTE[0], "width": 2.5}
        self._lines = [
            self.follow(go.Scatter(name=name, mode="lines+markers", line=line, marker=marker))
            for name, line, marker in (
                ("the step before", grey, {"symbol": "circle-open", "size": 6}),
                ("last step", blue, {"symbol": "circle", "size": 7}),
            )
        ]

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        shown = [row for row in map(self._values, records[-3:]) if len(row)][-2:]
        for line, row in zip(self._lines, [()] * (2 - len(shown)) + shown, strict=True):
            points = [(i, float(y)) for i, y in enumerate(row)]
            points = [(i, y) for i, y in points if math.isfinite(y) and not (self._log and y <= 0)]
            line.update(x=[i for i, _ in points], y=[y for _, y in points])
