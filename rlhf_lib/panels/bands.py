"""Curves with a band around each, such as a mean and one standard error to either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import columns, drawable, finite
from rlhf_lib.panels.theme import DASHES, PALETTE, pale
from rlhf_lib.panels.trace import Trace

MARKS = ["star", "diamond", "square", "cross"]

Band = Callable[[Any], tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]]
Place = Callable[[Any], tuple[float, float] | None]


def Bands(
    series: Mapping[str, Band],
    *,
    marks: Mapping[str, Place] | None = None,
    marked: Mapping[str, str] | None = None,
    **axes: Any,
) -> Figure:
    """Each of `series` as a line with its band, of the last record.

    `series` maps a name to a function of a record that gives (xs, middles, lows, highs); points
    of which a number is None, NaN or infinite are left out, and where only low or high is, the
    band has no width there. `marks` maps a name to a function of a record that gives a point, or
    None; `marked` maps a mark to the place of its name beside it, "top center" unless it says so. A
    kept run leaves its lines, not its bands.
    """
    lines = [(*_looks(name, i), band) for i, (name, band) in enumerate(series.items())]
    spots = [
        (_mark(name, len(series) + i, MARKS[i % 4], (marked or {}).get(name, "top center")), place)
        for i, (name, place) in enumerate((marks or {}).items())
    ]

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        traces = []
        for area, middle, band in lines:
            rows = zip(*band(records[-1]), strict=True) if records else []
            points = [[finite(v) for v in row] for row in rows]
            points = [p for p in points if None not in p[:2]]
            xs, ys = columns(points)
            lows, highs = ([p[1] if p[k] is None else p[k] for p in points] for k in (2, 3))
            # Once around: along the lower edge, and back along the upper one.
            around = [*xs, *reversed(xs), *xs[:1]], [*lows, *reversed(highs), *lows[:1]]
            traces += [area.at(*around), middle.at(xs, ys)]
        for look, place in spots:
            point = place(records[-1]) if records else None
            traces.append(look.at(*columns(drawable([point] if point else []))))
        return traces

    return Figure(draw, **axes)


def _looks(name: str, number: int) -> tuple[Trace, Trace]:
    """Those of a band and of its line."""
    colour, dash = PALETTE[number % len(PALETTE)], DASHES[number % len(DASHES)]
    area = go.Scatter(
        name=f"{name}, band",
        mode="lines",
        fill="toself",
        fillcolor=pale(colour),
        line={"width": 0.5, "color": colour, "dash": dash},
        hoverinfo="skip",
        showlegend=False,
    )
    line = {"color": colour, "dash": dash}
    middle = go.Scatter(
        name=name,
        mode="lines+markers",
        line=line | {"width": 2.5},
        marker={"size": 6, "color": colour},
    )
    ghost = {"mode": "lines+markers", "line": line | {"width": 1.5}}
    return Trace(area), Trace(middle, ghost=ghost, named=True)


def _mark(name: str, number: int, symbol: str, place: str) -> Trace:
    mark = {"symbol": symbol, "size": 14, "color": PALETTE[number % len(PALETTE)]}
    return Trace(
        go.Scatter(
            name=name,
            mode="markers+text",
            marker=mark | {"line": {"width": 1, "color": "#000000"}},
            text=[name],
            textposition=place,
            textfont={"size": 12},
        )
    )
