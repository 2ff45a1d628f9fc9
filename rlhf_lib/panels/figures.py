"""Figures that follow a run: curves, bars, and a path over contours.

A figure is a function of the records; how to write another one is told in `figure.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.arguments import function, listed, mapping, one_of, real, text_of
from rlhf_lib.panels.contours import ContourPath
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import columns, drawable, numbers, pair
from rlhf_lib.panels.layout import merged
from rlhf_lib.panels.theme import DASHES, GREY, PALETTE
from rlhf_lib.panels.trace import Trace

__all__ = ["Bars", "ContourPath", "Curves"]

Getter = str | Callable[[Any], float | None]
Points = tuple[Sequence[float], Sequence[float]]


def Curves(
    series: Mapping[str, Getter],
    x: Getter = "step",
    *,
    reference: Mapping[str, Points | Callable[[Mapping[str, Any]], Points]] | None = None,
    marker_at_min: str | None = None,
    **axes: Any,
) -> Figure:
    """Lines over the steps of a run, one for each entry of `series`.

    `series` maps a name to an attribute of a record or to a function of it; None, NaN
    and infinite values are left out. `reference` maps a name to fixed `(xs, ys)`, or to a
    function of the controls' values that gives them for the run that is drawn.
    `marker_at_min` names a series whose least value gets a star. Ranges are in data
    units, also with `y_log=True`.
    """
    series, reference = mapping("series", series), mapping("reference", reference)
    if marker_at_min is not None:
        one_of("marker_at_min", marker_at_min, series)
    references, curves, along = [], [], _getter(x)
    for i, (name, points) in enumerate(reference.items()):
        line = {"color": GREY, "width": 1.5, "dash": DASHES[-1 - i % len(DASHES)]}
        look = go.Scatter(name=name, mode="lines", line=line)
        if callable(points):
            references.append((Trace(look, named=True), points))
        else:
            fixed = Trace(look, named=True, fixed=True)
            xs, ys = pair(name, points)
            references.append((fixed.at(numbers(xs), numbers(ys)), None))
    for i, (name, y) in enumerate(series.items()):
        line = {"color": PALETTE[i % len(PALETTE)], "dash": DASHES[i % len(DASHES)]}
        look = Trace(
            go.Scatter(name=name, mode="lines", line=line | {"width": 2.5}),
            ghost={"mode": "lines+markers", "line": line | {"width": 1.5}},
            named=True,
        )
        star = {"symbol": "star", "size": 12, "color": line["color"], "line": {"width": 1}}
        least = Trace(go.Scatter(name=f"least {name}", mode="markers", marker=star))
        curves.append((look, _getter(y), least if name == marker_at_min else None))

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        traces = []
        for look, points in references:
            if points is not None:
                look = look.at(*map(numbers, points(values) if records else ((), ())))
            traces.append(look)
        for look, y, least in curves:
            shown = drawable((along(r), y(r)) for r in records)
            meta = {"steps": True} if len(shown) == len(records) else None
            traces.append(look.at(*columns(shown), meta=meta))
            if least is not None:
                traces.append(least.at(*columns(sorted(shown, key=lambda p: p[1])[:1])))
        return traces

    return Figure(draw, **axes)


def Bars(
    labels: Sequence[str],
    values: Callable[[Any], Sequence[float]],
    *,
    baseline: float = 0.0,
    **axes: Any,
) -> Figure:
    """One bar for each of `labels`, of the last record, such as eigenvalues.

    `values(record)` gives as many numbers as there are labels. Bars below `baseline`
    have another colour and are hatched; of kept runs a marker stays at the end of each bar.
    """
    labels = [text_of("labels", label) for label in listed("labels", labels)]
    baseline, height = real("baseline", baseline), function("values", values)
    names = ("positive", "negative") if baseline == 0 else ("above", "below")
    looks = [
        Trace(
            go.Bar(
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
    tips = Trace(
        go.Scatter(name="ends", opacity=0, showlegend=False, hoverinfo="skip"),
        ghost={"mode": "markers", "marker": {"color": GREY}},
    )

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        ends = numbers(height(records[-1])) if records else []
        if records and len(ends) != len(labels):
            raise ValueError(f"expected {len(labels)} numbers of values(), got {len(ends)}")
        traces = []
        for below, look in enumerate(looks):
            # A height of 0, not none at all, keeps the name in the legend.
            shown = [None if v is None or (v < baseline) != below else v for v in ends]
            text = ["" if v is None else f"{v:.3g}" for v in shown]
            heights = [0 if v is None else v - baseline for v in shown]
            traces.append(look.at(labels, heights, text=text))
        return [*traces, tips.at(labels if ends else [], ends)]

    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": baseline, "y1": baseline}
    layout = {"barmode": "overlay", "bargap": 0.35, "shapes": [line | {"line": {"width": 1}}]}
    axes["layout"] = merged(layout, axes.get("layout", {}))
    return Figure(draw, **axes)


def _getter(what: Getter) -> Callable[[Any], float | None]:
    return attrgetter(what) if isinstance(what, str) else function("a series", what)
