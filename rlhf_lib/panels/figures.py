"""Figures that follow a run: curves, a path over contours, bars.

How to write another one is told in `figure.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rlhf_lib.panels.figure import HEIGHT, Figure
from rlhf_lib.panels.theme import CONTOUR, DASHES, GREY, LOW_FILL, PALETTE, PAPER

MARK_SYMBOLS = ["x", "star", "diamond", "square", "cross", "triangle-up"]

Getter = str | Callable[[Any], float | None]
Points = tuple[Sequence[float], Sequence[float]]
Outline = Callable[[Sequence[Any], Mapping[str, Any]], Points]


class Curves(Figure):
    """Lines over the steps of a run, one for each entry of `series`.

    `series` maps a name to an attribute of a record or to a function of it; None, NaN
    and infinite values are left out. `reference` maps a name to fixed `(xs, ys)`, or to a
    function of the controls' values that gives them for the run that is drawn.
    `marker_at_min` names a series whose least value gets a star. Ranges are in data
    units, also with `y_log=True`.
    """

    def __init__(
        self,
        series: Mapping[str, Getter],
        x: Getter = "step",
        *,
        reference: Mapping[str, Points | Callable[[Mapping[str, Any]], Points]] | None = None,
        marker_at_min: str | None = None,
        **axes: Any,
    ):
        super().__init__(**axes)
        if marker_at_min is not None and marker_at_min not in series:
            raise ValueError(f"marker_at_min={marker_at_min!r} is not one of {list(series)}")
        self._x, self._series, self._least = _getter(x), [], None
        self._references: list[Any] = []
        self._moving: list[tuple[Any, Callable[[Mapping[str, Any]], Points]]] = []
        for i, (name, points) in enumerate((reference or {}).items()):
            line = {"color": GREY, "width": 1.5, "dash": DASHES[-1 - i % len(DASHES)]}
            trace = go.Scatter(name=name, mode="lines", line=line)
            if callable(points):
                trace = self.follow(trace)
                self._moving.append((trace, points))
            else:
                self.fix(_fill(trace, points))
            self._references.append(trace)
        for i, (name, y) in enumerate(series.items()):
            line = {"color": PALETTE[i % len(PALETTE)], "dash": DASHES[i % len(DASHES)]}
            trace = self.follow(
                go.Scatter(name=name, mode="lines", line=line | {"width": 2.5}),
                ghost={"mode": "lines+markers", "line": line | {"width": 1.5}},
            )
            self._series.append((trace, _getter(y)))
            if name == marker_at_min:
                mark = {"symbol": "star", "size": 12, "color": line["color"], "line": {"width": 1}}
                least = go.Scatter(name=f"least {name}", mode="markers", marker=mark)
                self._least = self.follow(least)
        # The names of former runs are about as long as this.
        self.room([*series, *(reference or {}), "λ = 0.001"])

    def names(self) -> list[Any]:
        return [*(trace for trace, _ in self._series), *self._references]

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        for trace, points in self._moving:
            _fill(trace, points(values) if records else ((), ()))
        for trace, y in self._series:
            shown = _drawable((self._x(r), y(r)) for r in records)
            _place(trace, shown)
            trace.meta = {"steps": True} if len(shown) == len(records) else None
            if self._least is not None and self._least.name == f"least {trace.name}":
                _place(self._least, sorted(shown, key=lambda p: p[1])[:1])


class ContourPath(Figure):
    """The contours of a function of two variables and the path of a run over them.

    `f(x, y)` takes and returns arrays of one shape (`resolution` squared). `levels` is
    a number of levels or the increasing values themselves. `path(record)` gives the
    point, two numbers. `marks` maps a name to a fixed point. With `equal=True` one unit is as long
    along both axes, as it must be for a gradient to stand upright on its contour; the picture then
    shows more than the ranges where there is room. A path that leaves the picture again and again
    is drawn up to its third leave. With `legend=True` what is fixed over the contours later is
    named in a row under the title; the figure's own traces are not. `start_by` names the two
    controls that set the start: a hand can then drag it in the plot. `outlines` maps a name to a
    function of the records and the values that gives the (xs, ys) of a line over the contours, such
    as where a model has some value; its name stands at its rightmost place inside.
    """

    def __init__(
        self,
        f: Callable[[np.ndarray, np.ndarray], np.ndarray],
        x_range: Sequence[float],
        y_range: Sequence[float],
        levels: int | Sequence[float] = 15,
        *,
        path: Callable[[Any], Sequence[float]] = attrgetter("theta"),
        marks: Mapping[str, Sequence[float]] | None = None,
        resolution: int = 121,
        height: int = HEIGHT,
        equal: bool = False,
        legend: bool = False,
        start_by: Sequence[str] = (),
        outlines: Mapping[str, Outline] | None = None,
        **axes: Any,
    ):
        self.legend, self.start_by = legend, start_by
        drawn = (x_range, y_range)
        if equal:
            (x_range, y_range), drawn = _equal_ranges(x_range, y_range)
        super().__init__(x_range=x_range, y_range=y_range, height=height, equal=equal, **axes)
        self._path, self._seen = path, (x_range, y_range)
        columns = round(resolution * (0.66 if equal else 1))
        rows = columns
        if equal:
            columns = round(rows * np.ptp(drawn[0]) / np.ptp(drawn[1]))
        (left, right), (bottom, top) = drawn
        xs, ys = np.linspace(left, right, columns), np.linspace(bottom, top, rows)
        z = np.asarray(f(*np.meshgrid(xs, ys)), dtype=float)
        if isinstance(levels, int):
            heights = np.linspace(z.min(), z.max(), levels)
        else:
            heights = np.asarray(levels)
        # plotly draws evenly spaced levels only: draw the index of the level instead.
        index = np.interp(z, heights, np.arange(len(heights)))
        self.fix(
            go.Contour(
                x=xs.tolist(),
                y=ys.tolist(),
                z=[_numbers(row) for row in index.round(3)],
                customdata=[_numbers(row) for row in z],
                contours={"start": 0, "end": len(heights) - 1, "size": 1},
                colorscale=[[0, LOW_FILL], [1, PAPER]],
                line={"color": CONTOUR, "width": 0.7},
                showscale=False,
                name="function",
                showlegend=False,
                hovertemplate="(%{x:.3g}, %{y:.3g}): %{customdata:.4g}<extra></extra>",
            )
        )
        for i, (name, (x, y)) in enumerate((marks or {}).items()):
            mark = _marker(MARK_SYMBOLS[i % len(MARK_SYMBOLS)], 11, "#000000")
            self.fix(
                go.Scatter(
                    x=[float(x)],
                    y=[float(y)],
                    name=name,
                    mode="markers+text",
                    marker=mark,
                    text=[f" {name.strip()} "],
                    textposition="middle left",
                    textfont={"size": 12},
                    showlegend=False,
                )
            )
        style = {"mode": "lines+markers", "line": {"color": PALETTE[1], "width": 2.5}}
        self._line = self.follow(
            go.Scatter(name="path", marker=_marker("circle", 7), showlegend=False, **style),
            ghost={"mode": "lines+markers", "line": {"color": GREY, "width": 1.5, "dash": "dot"}},
        )
        self._start, self._now = (
            self.follow(
                go.Scatter(
                    name=name,
                    mode="markers+text",
                    marker=marker,
                    text=[name],
                    textposition=place,
                    textfont={"size": 12},
                    showlegend=False,
                )
            )
            for name, marker, place in (
                ("start", _marker("circle-open", 13), "top center"),
                # Away from the names of fixed points, which stand on their left.
                ("now", _marker("square", 11), "middle right"),
            )
        )
        self._start.meta = {"start": True}
        self._outlines = []
        for i, (name, points) in enumerate((outlines or {}).items()):
            colour = PALETTE[2 * i % len(PALETTE)]
            line = {"color": colour, "width": 1.5 + i, "dash": DASHES[1 - i]}
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
            self._outlines.append((self.follow(outline), self.follow(label), points))

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        points = _drawable(self._path(r) for r in records)
        _place(self._line, points[: self._leaves(points)])
        self._line.meta = {"steps": True} if len(points) == len(records) else None
        _place(self._start, points[:1])
        _place(self._now, points[-1:])
        for outline, label, places in self._outlines:
            xs, ys = (_numbers(row) for row in (places(records, values) if records else ((), ())))
            outline.update(x=xs, y=ys)
            _place(label, self._rightmost(xs, ys))

    def _rightmost(self, xs: Sequence[Any], ys: Sequence[Any]) -> list[tuple[float, float]]:
        """The point farthest to the right that is well inside the picture; none without one."""
        inside = [
            (x, y)
            for x, y in zip(xs, ys, strict=True)
            if x is not None
            and y is not None
            and all(
                low + 0.06 * (high - low) < c < high - 0.06 * (high - low)
                for c, (low, high) in zip((x, y), self._seen, strict=True)
            )
        ]
        return [max(inside)] if inside else []

    def _leaves(self, points: Sequence[Sequence[float]]) -> int:
        """How many points to draw: up to the one with which the path has left three times."""
        inside, left = True, 0
        for i, point in enumerate(points):
            was, inside = (
                inside,
                all(low <= c <= high for c, (low, high) in zip(point, self._seen, strict=True)),
            )
            left += was and not inside
            if left == 3:
                return i + 1
        return len(points)


def _equal_ranges(x_range: Sequence[float], y_range: Sequence[float]) -> tuple[tuple, tuple]:
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


class Bars(Figure):
    """One bar for each of `labels`, of the last record, such as eigenvalues.

    `values(record)` gives as many numbers as there are labels. Bars below `baseline`
    have another colour and are hatched; of kept runs a marker stays at the end of each bar.
    """

    def __init__(
        self,
        labels: Sequence[str],
        values: Callable[[Any], Sequence[float]],
        *,
        baseline: float = 0.0,
        **axes: Any,
    ):
        super().__init__(**axes)
        self._labels, self._values, self._baseline = list(labels), values, baseline
        names = ("positive", "negative") if baseline == 0 else ("above", "below")
        self._bars = [
            self.follow(
                go.Bar(
                    x=self._labels,
                    base=baseline,
                    name=name,
                    marker={"color": colour, "pattern": {"shape": shape, "fillmode": "overlay"}},
                    textposition="outside",
                    cliponaxis=False,
                )
            )
            for name, colour, shape in zip(names, PALETTE, ("", "/"), strict=False)
        ]
        # The ends of the bars: not shown now, but what a ghost is made of.
        ends = go.Scatter(name="ends", opacity=0, showlegend=False, hoverinfo="skip")
        self._ends = self.follow(ends, ghost={"mode": "markers", "marker": {"color": GREY}})
        line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": baseline, "y1": baseline}
        layout = {"barmode": "overlay", "bargap": 0.35, "shapes": [line | {"line": {"width": 1}}]}
        self.widget.axes = self.widget.axes | layout

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        ends = [_finite(v) for v in self._values(records[-1])] if records else []
        if records and len(ends) != len(self._labels):
            raise ValueError(f"{len(self._labels)} bars, but values() gave {len(ends)}")
        for below, bars in enumerate(self._bars):
            # A height of 0, not none at all, keeps the name in the legend.
            shown = [None if v is None or (v < self._baseline) != below else v for v in ends]
            bars.y = [0 if v is None else v - self._baseline for v in shown]
            bars.text = ["" if v is None else f"{v:.3g}" for v in shown]
        self._ends.update(x=self._labels if ends else [], y=ends)


def _getter(what: Getter) -> Callable[[Any], float | None]:
    return attrgetter(what) if isinstance(what, str) else what


def _finite(value: Any) -> float | None:
    """`value` as a float (a tensor of one element too); None where it cannot be drawn."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def _drawable(points: Iterable[Sequence[Any]]) -> list[tuple[float, float]]:
    """The points with both coordinates finite."""
    found = ((_finite(point[0]), _finite(point[1])) for point in points)
    return [(x, y) for x, y in found if x is not None and y is not None]


def _numbers(values: Any) -> list[float | None]:
    return [_finite(v) for v in values]


def _fill(trace: Any, points: Points) -> Any:
    xs, ys = points
    return trace.update(x=_numbers(xs), y=_numbers(ys))


def _place(trace: Any, points: Sequence[tuple[float, float]]) -> None:
    trace.update(x=[p[0] for p in points], y=[p[1] for p in points])


def _marker(symbol: str, size: int, colour: str = PALETTE[1]) -> dict:
    return {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2}}
