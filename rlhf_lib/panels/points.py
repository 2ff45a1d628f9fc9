"""Points of several kinds in a plane, with a third number as the area of the marker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import PALETTE, SYMBOLS

Point = tuple[float, float, float, str]  # x, y, area, label


class Points(Figure):
    """The points that the last record holds, such as models by size, accuracy and time.

    `points(record)` maps the name of a kind, one of `kinds`, to its points: x, y, a third number
    and a label, which is shown on hovering. The area of a marker is proportional to the third
    number, and `unit` of it has a diameter of 16 pixels; the smallest marker has 6, the largest 40,
    which is six times the unit's area, so that none covers the others. Each kind has a
    colour and a symbol of its own; the newest point, `newest(record)`, has a ring around it.
    """

    legend = True

    def __init__(
        self,
        points: Callable[[Any], Mapping[str, Sequence[Point]]],
        kinds: Sequence[str],
        *,
        newest: Callable[[Any], Point | None] = lambda record: None,
        unit: float = 1.0,
        **axes: Any,
    ):
        super().__init__(**axes)
        self._points, self._newest, self._unit = points, newest, unit
        self._kinds = {}
        for i, kind in enumerate(kinds):
            mark = {
                "symbol": SYMBOLS[i % len(SYMBOLS)],
                "color": PALETTE[i % len(PALETTE)],
                "line": {"width": 1, "color": "#000000"},
                "opacity": 0.8,
            }
            trace = go.Scatter(
                name=kind,
                mode="markers",
                marker=mark,
                hovertemplate="%{text}: (%{x:.4g}, %{y:.3f})<extra></extra>",
            )
            self._kinds[kind] = self.follow(trace)
        ring = {"symbol": "circle-open", "size": 30, "color": "#000000", "line": {"width": 2}}
        self._ring = self.follow(go.Scatter(name="newest", mode="markers", marker=ring))

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        found = self._points(records[-1]) if records else {}
        for kind, trace in self._kinds.items():
            shown = found.get(kind, ())
            trace.update(
                x=[p[0] for p in shown],
                y=[p[1] for p in shown],
                text=[p[3] for p in shown],
                marker_size=[min(max(6.0, 16 * math.sqrt(p[2] / self._unit)), 40.0) for p in shown],
            )
        newest = self._newest(records[-1]) if records else None
        x, y = ([], []) if newest is None else ([newest[0]], [newest[1]])
        self._ring.update(x=x, y=y)
