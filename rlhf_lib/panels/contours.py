"""The contours of a function of two variables, and the path of a run over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import columns, drawable, numbers
from rlhf_lib.panels.theme import CONTOUR, DASHES, GREY, LOW_FILL, PALETTE, PAPER
from rlhf_lib.panels.trace import Trace, fixed

SYMBOLS = ["x", "star", "diamond", "square", "cross", "triangle-up"]
LEAVES = 3  # a path is drawn up to the point with which it has left the picture so often

Outline = Callable[
    [Sequence[Any], Mapping[str, Any]], tuple[Sequence[float | None], Sequence[float | None]]
]
Box = Sequence[Sequence[float]]


def ContourPath(
    f: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x_range: Sequence[float],
    y_range: Sequence[float],
    levels: int | Sequence[float] = 15,
    *,
    path: Callable[[Any], Sequence[float]] = attrgetter("theta"),
    marks: Mapping[str, Sequence[Any]] | None = None,
    resolution: int = 121,
    equal: bool = False,
    outlines: Mapping[str, Outline] | None = None,
    **axes: Any,
) -> Figure:
    """The contours of a function of two variables and the path of a run over them.

    `f(x, y)` takes and returns arrays of one shape (`resolution` squared). `levels` is
    a number of levels or the increasing values themselves. `path(record)` gives the
    point, two numbers. `marks` maps a name to a fixed point: two numbers and, where its name is
    not to stand on the left, plotly's word for its place. With `equal=True` one unit is as long
    along both axes, as it must be for a gradient to stand upright on its contour; the picture then
    shows more than the ranges where there is room. A path that leaves the picture again and again
    is drawn up to its third leave. With `legend=True` what is fixed over the contours later is
    named in a row under the title; the figure's own traces are not. `start_by` names the two
    controls that set the start: a hand can then drag it in the plot. `outlines` maps a name to a
    function of the records and the values that gives the (xs, ys) of a line over the contours, such
    as where a model has some value; its name stands at its rightmost place inside.
    """
    drawn = (x_range, y_range)
    if equal:
        (x_range, y_range), drawn = _equal_ranges(x_range, y_range)
    across = round(resolution * (0.66 if equal else 1))
    along = round(across * np.ptp(drawn[0]) / np.ptp(drawn[1])) if equal else across
    (left, right), (bottom, top) = drawn
    xs, ys = np.linspace(left, right, along), np.linspace(bottom, top, across)
    ground = _contours(f, xs, ys, levels)
    places = [_mark(name, at, SYMBOLS[i % 6]) for i, (name, at) in enumerate((marks or {}).items())]
    line = {"mode": "lines+markers", "line": {"color": PALETTE[1], "width": 2.5}}
    way = Trace(
        go.Scatter(name="path", marker=_marker("circle", 7), showlegend=False, **line),
        ghost={"mode": "lines+markers", "line": {"color": GREY, "width": 1.5, "dash": "dot"}},
    )
    start = _point("start", _marker("circle-open", 13), "top center", meta={"start": True})
    # Away from the names of fixed points, which stand on their left.
    now = _point("now", _marker("square", 11), "middle right")
    lines = [(*_outline(name, i), of) for i, (name, of) in enumerate((outlines or {}).items())]
    seen = x_range, y_range

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        points = drawable(path(r) for r in records)
        meta = {"steps": True} if len(points) == len(records) else None
        traces = [
            ground,
            *places,
            way.at(*columns(points[: _leaves(points, seen)]), meta=meta),
            start.at(*columns(points[:1])),
            now.at(*columns(points[-1:])),
        ]
        for outline, label, of in lines:
            xs, ys = map(numbers, of(records, values) if records else ((), ()))
            traces += [outline.at(xs, ys), label.at(*columns(_rightmost(xs, ys, seen)))]
        return traces

    return Figure(draw, x_range=x_range, y_range=y_range, equal=equal, **axes)


def _contours(f: Callable, xs: np.ndarray, ys: np.ndarray, levels: int | Sequence[float]) -> Trace:
    z = np.asarray(f(*np.meshgrid(xs, ys)), dtype=float)
    even = isinstance(levels, int)
    heights = np.linspace(z.min(), z.max(), levels) if even else np.asarray(levels)
    # plotly draws evenly spaced levels only: draw the index of the level instead.
    index = np.interp(z, heights, np.arange(len(heights)))
    look = go.Contour(
        x=xs.tolist(),
        y=ys.tolist(),
        z=[numbers(row) for row in index.round(3)],
        customdata=[numbers(row) for row in z],
        contours={"start": 0, "end": len(heights) - 1, "size": 1},
        colorscale=[[0, LOW_FILL], [1, PAPER]],
        line={"color": CONTOUR, "width": 0.7},
        showscale=False,
        name="function",
        showlegend=False,
        hovertemplate="(%{x:.3g}, %{y:.3g}): %{customdata:.4g}<extra></extra>",
    )
    return fixed(look)


def _mark(name: str, at: Sequence[Any], symbol: str) -> Trace:
    x, y, place = at if len(at) == 3 else (*at, "middle left")
    look = _point(name, _marker(symbol, 11, "#000000"), place, text=f" {name.strip()} ")
    return fixed(look.at([float(x)], [float(y)]))


def _point(name: str, marker: dict, place: str, text: str = "", **more: Any) -> Trace:
    return Trace(
        go.Scatter(
            name=name,
            mode="markers+text",
            marker=marker,
            text=[text or name],
            textposition=place,
            textfont={"size": 12},
            showlegend=False,
            **more,
        )
    )


def _outline(name: str, number: int) -> tuple[Trace, Trace]:
    """An outline and its name."""
    colour = PALETTE[2 * number % len(PALETTE)]
    line = {"color": colour, "width": 1.5 + number, "dash": DASHES[1 - number]}
    outline = go.Scatter(name=name, mode="lines", line=line, showlegend=False)
    label = go.Scatter(
        name=f"{name}, its name",
        mode="text",
        text=[name],
        textposition="middle right",
        textfont={"size": 12, "color": colour},
        showlegend=False,
        hoverinfo="skip",
    )
    return Trace(outline), Trace(label)


def _marker(symbol: str, size: int, colour: str = PALETTE[1]) -> dict:
    return {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2}}


def _rightmost(xs: Sequence[Any], ys: Sequence[Any], seen: Box) -> list[tuple[float, float]]:
    """The point farthest to the right that is well inside the picture; none without one."""
    inside = [
        (x, y)
        for x, y in drawable(zip(xs, ys, strict=True))
        if all(
            low + 0.06 * (high - low) < c < high - 0.06 * (high - low)
            for c, (low, high) in zip((x, y), seen, strict=True)
        )
    ]
    return [max(inside)] if inside else []


def _leaves(points: Sequence[Sequence[float]], seen: Box) -> int:
    """How many points to draw: up to the one with which the path has left three times."""
    inside, left = True, 0
    for i, point in enumerate(points):
        was = inside
        inside = all(low <= c <= high for c, (low, high) in zip(point, seen, strict=True))
        left += was and not inside
        if left == LEAVES:
            return i + 1
    return len(points)


def _equal_ranges(x_range: Sequence[float], y_range: Sequence[float]) -> tuple[Box, Box]:
    """The ranges to show with equal units in a plot about 1.7 times as wide as high, and those to
    compute: wider, for the page may be wide."""
    aspect, wide = 1.7, 2.6
    width, height = float(np.ptp(x_range)), float(np.ptp(y_range))
    height = max(height, width / aspect)
    x_mid, y_mid = float(np.mean(x_range)), float(np.mean(y_range))

    def around(middle: float, length: float) -> tuple[float, float]:
        return middle - length / 2, middle + length / 2

    shown = around(x_mid, aspect * height), around(y_mid, height)
    return shown, (around(x_mid, wide * height), around(y_mid, 1.5 * height))
