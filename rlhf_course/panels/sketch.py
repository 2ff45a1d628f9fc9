"""A figure of named lines and points that move with a run: data and a fit, a landscape, a path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import DASHES, GREY, PALETTE, Figure
from rlhf_lib.panels.finite import numbers
from rlhf_lib.panels.trace import Trace

Points = tuple[Iterable[float], Iterable[float]]
SYMBOLS = ["circle", "square", "x", "star", "diamond"]


def Sketch(
    place: Callable[[Sequence[Any], Mapping[str, Any]], Mapping[str, Points]],
    traces: Mapping[str, str],
    *,
    ghosts: Sequence[str] = (),
    named: Sequence[str] = (),
    marked: Mapping[str, str] | None = None,
    **axes: Any,
) -> Figure:
    """Traces that a function of the run places anew with each draw.

    `traces` maps a name to its look: "line", "points", "path" (a line with a point at each step),
    "mark" (large points) or "ground" (thin grey lines behind everything). `place(records, values)`
    returns a mapping of such names to `(xs, ys)`; a name left out is empty, and a number that is
    not finite breaks the line. Traces named in `ghosts` stay, pale, when the next run begins.
    A "path" has a point for each record, so that a step can be pointed at in all figures; with
    `start_by`, the names of two controls, a hand can drag the trace "start" in the plot.

    Of the traces `named` the names stand at their right ends, with room for former runs' names as
    long as `room`. `marked` maps a mark to the place of its name beside it ("top left"). With
    `legend=True` the names of the lines stand in a row over the plot.
    """
    looks: dict[str, Trace] = {}
    lines = marks = 0
    for name, look in traces.items():
        if look == "ground":
            style: dict[str, Any] = {"mode": "lines", "line": {"color": GREY, "width": 0.8}}
        elif look in ("line", "path"):
            line = {"color": PALETTE[lines % len(PALETTE)], "dash": DASHES[lines % len(DASHES)]}
            mode = "lines" if look == "line" else "lines+markers"
            style = {"mode": mode, "line": line | {"width": 2.5}}
            lines += 1
        elif look in ("points", "mark"):
            marker = {"symbol": SYMBOLS[marks % len(SYMBOLS)], "color": PALETTE[-1 - marks]}
            marker |= {"size": 7 if look == "points" else 12, "line": {"width": 1}}
            style = {"mode": "markers", "marker": marker}
            marks += 1
        else:
            raise ValueError(f"{name}: expected line, points, path, mark or ground, got {look!r}")
        left = {"mode": style["mode"]}
        if "line" in style:
            left["line"] = style["line"] | {"width": 1.5}
        if marked is not None:
            style["showlegend"] = look in ("line", "path")
        if look == "mark" and name in (marked or {}):
            style |= {"mode": "markers+text", "text": [name], "textposition": marked[name]}
        meta = {"path": {"steps": True}, "mark": {"start": name == "start"}}.get(look)
        looks[name] = Trace(
            go.Scatter(name=name, meta=meta, **style),
            ghost=left if name in ghosts else None,
            named=name in named,
        )

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        points = place(records, values) if records else {}
        if unknown := set(points) - set(looks):
            raise ValueError(f"no trace is named {sorted(unknown)}; there are {list(looks)}")
        return [look.at(*map(numbers, points.get(name, ((), ())))) for name, look in looks.items()]

    return Figure(draw, **axes)
