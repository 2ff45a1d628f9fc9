"""Figures that follow a run: curves, a path over contours, bars.

How to write another one is told in `figure.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rlhf_lib.panels.figure import DASHES, GREY, PALETTE, Figure

MARK_SYMBOLS = ["x", "star", "diamond", "square", "cross", "triangle-up"]

Getter = str | Callable[[Any], float | None]


class Curves(Figure):
    """Lines over the steps of a run, one for each entry of `series`.

    `series` maps a name to an attribute of a record or to a function of it; None, NaN
    and infinite values are left out. `reference` maps a name to fixed `(xs, ys)`.
    `marker_at_min` names a series whose least value gets a star. Ranges are in data
    units, also with `y_log=True`.
    """

    def __init__(
        self,
        series: Mapping[str, Getter],
        x: Getter = "step",
        *,
        reference: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
        marker_at_min: str | None = None,
        **axes: Any,
    ):
        super().__init__(**axes)
        if marker_at_min is not None and marker_at_min not in series:
            raise ValueError(f"marker_at_min={marker_at_min!r} is not one of {list(series)}")
        self._x, self._y = _getter(x), [_getter(y) for y in series.values()]
        for i, (name, (xs, ys)) in enumerate((reference or {}).items()):
            line = {"color": GREY, "width": 1.5, "dash": DASHES[-1 - i % len(DASHES)]}
            self.add(go.Scatter(x=list(xs), y=list(ys), name=name, mode="lines", line=line))
        for i, name in enumerate(series):
            line = {"color": PALETTE[i % len(PALETTE)], "dash": DASHES[i % len(DASHES)]}
            self.live.append(
                self.add(
                    go.Scatter(
                        x=[], y=[], name=name, mode="lines", line=line | {"width": 2.5}, zorder=2
                    )
                )
            )
            self.ghost_styles.append({"mode": "lines+markers", "line": line | {"width": 1.5}})
        self._least, self._least_of = None, None
        if marker_at_min is not None:
            self._least_of = list(series).index(marker_at_min)
            colour = PALETTE[self._least_of % len(PALETTE)]
            mark = {"symbol": "star", "size": 12, "color": colour, "line": {"width": 1}}
            name = f"least {marker_at_min}"
            self._least = self.add(
                go.Scatter(x=[], y=[], name=name, mode="markers", marker=mark, zorder=3)
            )

    def empty(self) -> None:
        super().empty()
        if self._least is not None:
            self._least.update(x=[], y=[])

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        with self.widget.batch_update():
            for i, (trace, y) in enumerate(zip(self.live, self._y, strict=True)):
                points = [(_finite(self._x(r)), _finite(y(r))) for r in records]
                points = [p for p in points if None not in p]
                trace.update(x=[p[0] for p in points], y=[p[1] for p in points])
                if i == self._least_of and points:
                    x, y = min(points, key=lambda p: p[1])
                    self._least.update(x=[x], y=[y])


class ContourPath(Figure):
    """The contours of a function of two variables and the path of a run over them.

    `f(x, y)` takes and returns arrays of one shape (`resolution` squared). `levels` is
    a number of levels or the increasing values themselves. `path(record)` gives the
    point, two numbers. `marks` maps a name to a fixed point.
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
        resolution: int = 81,
        height: int = 400,
        **axes: Any,
    ):
        super().__init__(x_range=x_range, y_range=y_range, height=height, **axes)
        self._path = path
        xs, ys = np.linspace(*x_range, resolution), np.linspace(*y_range, resolution)
        z = np.asarray(f(*np.meshgrid(xs, ys)), dtype=float)
        if isinstance(levels, int):
            levels = np.linspace(z.min(), z.max(), levels)
        # plotly draws evenly spaced levels only: draw the index of the level instead.
        index = np.interp(z, levels, np.arange(len(levels)))
        self.add(
            go.Contour(
                x=xs.tolist(),
                y=ys.tolist(),
                z=index.round(3).tolist(),
                customdata=z.tolist(),
                contours={"start": 0, "end": len(levels) - 1, "size": 1},
                colorscale=[[0, "#c6dbef"], [1, "#ffffff"]],
                line={"color": "#9a9a9a", "width": 0.7},
                showscale=False,
                name="function",
                hovertemplate="(%{x:.3g}, %{y:.3g}): %{customdata:.4g}<extra></extra>",
            )
        )
        line = {"color": PALETTE[1], "width": 2.5}
        dots = {"size": 7, "symbol": "circle", "color": PALETTE[1]}
        self.live = [
            self.add(
                go.Scatter(
                    x=[], y=[], name="path", mode="lines+markers", line=line, marker=dots, zorder=2
                )
            )
        ]
        self.ghost_styles = [
            {"mode": "lines+markers", "line": {"color": GREY, "width": 1.5, "dash": "dot"}}
        ]
        self._ends = [self._point("start", "circle-open", 13), self._point("now", "square", 11)]
        for i, (name, point) in enumerate((marks or {}).items()):
            symbol = MARK_SYMBOLS[i % len(MARK_SYMBOLS)]
            self._point(name, symbol, 11, "#000000").update(x=[point[0]], y=[point[1]])

    def _point(self, name: str, symbol: str, size: int, colour: str = PALETTE[1]) -> Any:
        marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2}}
        return self.add(go.Scatter(x=[], y=[], name=name, mode="markers", marker=marker, zorder=3))

    def empty(self) -> None:
        super().empty()
        for trace in self._ends:
            trace.update(x=[], y=[])

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        points = [tuple(_finite(c) for c in self._path(r)) for r in records]
        points = [p for p in points if None not in p]
        if not points:
            return
        with self.widget.batch_update():
            for trace, shown in zip(
                [*self.live, *self._ends], (points, points[:1], points[-1:]), strict=True
            ):
                trace.update(x=[p[0] for p in shown], y=[p[1] for p in shown])


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
            self.add(
                go.Bar(
                    x=self._labels,
                    y=[0] * len(self._labels),
                    base=baseline,
                    name=name,
                    marker={
                        "color": PALETTE[i],
                        "pattern": {"shape": shape, "fgcolor": "#ffffff", "solidity": 0.3},
                    },
                    textposition="outside",
                    cliponaxis=False,
                )
            )
            for i, (name, shape) in enumerate(zip(names, ("", "/"), strict=True))
        ]
        self.widget.update_layout(barmode="overlay", bargap=0.35)
        self.widget.add_hline(baseline, line={"color": GREY, "width": 1})
        # The bars' ends as points: not shown now, but what a ghost is made of.
        ends = go.Scatter(x=[], y=[], name="ends", opacity=0, showlegend=False, hoverinfo="skip")
        self.live = [self.add(ends)]
        self.ghost_styles = [{"mode": "markers", "opacity": 0.8, "marker": {"color": GREY}}]

    def empty(self) -> None:
        super().empty()
        for bars in self._bars:
            bars.update(y=[0] * len(self._labels), text=[""] * len(self._labels))

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        heights = [_finite(v) for v in self._values(records[-1])]
        if len(heights) != len(self._labels):
            raise ValueError(f"{len(self._labels)} bars, but values() gave {len(heights)}")
        with self.widget.batch_update():
            for below, bars in enumerate(self._bars):
                shown = [
                    v if v is not None and (v < self._baseline) == below else None for v in heights
                ]
                bars.update(
                    y=[0 if v is None else v - self._baseline for v in shown],
                    text=["" if v is None else f"{v:.3g}" for v in shown],
                )
            self.live[0].update(x=self._labels, y=heights)


def _getter(what: Getter) -> Callable[[Any], float | None]:
    return attrgetter(what) if isinstance(what, str) else what


def _finite(value: Any) -> float | None:
    """`value` as a float (a tensor of one element too); None where it cannot be drawn."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None
