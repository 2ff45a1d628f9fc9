"""A figure of the last record alone: what a solver did inside one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import columns
from rlhf_lib.panels.theme import GREY, PALETTE
from rlhf_lib.panels.trace import Trace


def LastStep(values: Callable[[Any], Sequence[float]], *, y_log: bool = False, **axes) -> Figure:
    """The numbers that one record holds, over 0, 1, 2, ...; those of the record before in grey.

    `values(record)` gives the numbers, such as the residual norms of conjugate gradients; records
    without any are passed over. With `y_log=True` numbers that are not positive are left out.
    """
    grey = {"color": GREY, "width": 1.5, "dash": "dot"}
    blue = {"color": PALETTE[0], "width": 2.5}
    looks = [
        Trace(go.Scatter(name=name, mode="lines+markers", line=line, marker=marker))
        for name, line, marker in (
            ("the step before", grey, {"symbol": "circle-open", "size": 6}),
            ("last step", blue, {"symbol": "circle", "size": 7}),
        )
    ]
    of = values

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        shown = [row for row in map(of, records[-3:]) if len(row)][-2:]
        traces = []
        for look, row in zip(looks, [()] * (2 - len(shown)) + shown, strict=True):
            points = [(i, float(y)) for i, y in enumerate(row)]
            points = [(i, y) for i, y in points if math.isfinite(y) and not (y_log and y <= 0)]
            traces.append(look.at(*columns(points)))
        return traces

    return Figure(draw, y_log=y_log, legend=True, **axes)
