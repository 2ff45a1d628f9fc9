"""Curves with a band around each, such as a mean and one standard error to either side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import DASHES, PALETTE, pale

MARKS = ["star", "diamond", "square", "cross"]

Band = Callable[[Any], tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]]
Place = Callable[[Any], tuple[float, float] | None]


class Bands(Figure):
    """Each of `series` as a line with its band, of the last record.

    `series` maps a name to a function of a record that gives (xs, middles, lows, highs); points
    of which a number is None, NaN or infinite are left out, and where only low or high is, the
    band has no width there. `marks` maps a name to a function of a record that gives a point, or
    None. A kept run leaves its lines, not its bands.
    """

    def __init__(
        self, series: Mapping[str, Band], *, marks: Mapping[str, Place] | None = None, **axes: Any
    ):
        super().__init__(**axes)
        self._series, self._marks = [], []
        for i, (name, band) in enumerate(series.items()):
            colour, dash = PALETTE[i % len(PALETTE)], DASHES[i % len(DASHES)]
            area = self.follow(
                go.Scatter(
                    name=f"{name}, band",
                    mode="lines",
                    fill="toself",
                    fillcolor=pale(colour),
                    line={"width": 0.5, "color": colour, "dash": dash},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
            line = {"color": colour, "dash": dash}
            middle = self.follow(
                go.Scatter(
                    name=name,
                    mode="lines+markers",
                    line=line | {"width": 2.5},
                    marker={"size": 6, "color": colour},
                ),
                ghost={"mode": "lines+markers", "line": line | {"width": 1.5}},
            )
            self._series.append((area, middle, band))
        for i, (name, place) in enumerate((marks or {}).items()):
            colour = PALETTE[(len(series) + i) % len(PALETTE)]
            mark: dict[str, Any] = {"symbol": MARKS[i % len(MARKS)], "size": 14, "color": colour}
            mark["line"] = {"width": 1, "color": "#000000"}
            trace = go.Scatter(
                name=name,
                mode="markers+text",
                marker=mark,
                text=[name],
                textposition="top center",
                textfont={"size": 12},
            )
            self._marks.append((self.follow(trace), place))
        self.room([*series, "λ = 0.001"])

    def names(self) -> list[Any]:
        return [middle for _, middle, _ in self._series]

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        for area, middle, band in self._series:
            columns = zip(*band(records[-1]), strict=True) if records else []
            points = [[_finite(v) for v in point] for point in columns]
            points = [p for p in points if None not in p[:2]]
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            lows, highs = ([p[1] if p[k] is None else p[k] for p in points] for k in (2, 3))
            middle.update(x=xs, y=ys)
            # Once around: along the lower edge, and back along the upper one.
            area.update(x=[*xs, *reversed(xs), *xs[:1]], y=[*lows, *reversed(highs), *lows[:1]])
        for trace, place in self._marks:
            point = [_finite(v) for v in (place(records[-1]) or ())] if records else []
            there = bool(point) and None not in point
            trace.update(x=point[:1] if there else [], y=point[1:] if there else [])


def _finite(value: Any) -> float | None:
    value = math.nan if value is None else float(value)
    return value if math.isfinite(value) else None
