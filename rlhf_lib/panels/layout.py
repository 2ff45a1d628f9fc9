"""What stands around the traces of a figure, as plotly's layout: axes, titles, a goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.arguments import flag, mapping, real, span, text_of
from rlhf_lib.panels.theme import GOAL, GREY, GRID, INK
from rlhf_lib.panels.ticks import log_ticks

HEIGHT = 300


def layout(
    *,
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    x_range: Sequence[float] | None = None,
    y_range: Sequence[float] | None = None,
    x_log: bool = False,
    y_log: bool = False,
    height: int = HEIGHT,
    goal: Mapping[str, Any] | None = None,
    equal: bool = False,
    legend: bool = False,
) -> dict[str, Any]:
    """The layout of a figure with these axes; the words are told at `Figure`.

    Raises TypeError or ValueError that names what is no text, range, number, dict or flag.
    """
    for name, text in (("title", title), ("x_title", x_title), ("y_title", y_title)):
        text_of(name, text)
    for name, value in (("x_log", x_log), ("y_log", y_log), ("equal", equal), ("legend", legend)):
        flag(name, value)
    x_range = None if x_range is None else span("x_range", x_range)
    y_range = None if y_range is None else span("y_range", y_range)
    if not real("height", height) >= 10:
        raise ValueError(f"height: expected at least 10 pixels, got {height!r}")
    x_axis = {"title": _axis_title(x_title), **_axis(x_range, x_log)}
    y_axis = {"title": _axis_title(y_title), **_axis(y_range, y_log)}
    if equal:
        # One unit is as long along both axes: a gradient stands upright on its contour.
        y_axis |= {"scaleanchor": "x", "scaleratio": 1}
    margin = {"l": 76, "r": 16, "t": 56 if legend else 34, "b": 46}
    made = _layout(title, x_axis, y_axis, height, margin, legend)
    made.shapes, made.annotations = [] if goal is None else [_goal(goal)], []
    return made.to_plotly_json()


def merged(axes: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """A layout with these changes; entries that are dicts (an axis, the margin) are merged."""
    made = dict(axes)
    for name, value in (item for each in changes for item in mapping("layout", each).items()):
        both = isinstance(value, Mapping) and isinstance(made.get(name), Mapping)
        made[name] = {**made[name], **value} if both else value
    return made


def _axis_title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 6, "font": {"size": 13}}


def _axis(ends: Sequence[float] | None, log: bool) -> dict[str, Any]:
    if not log:
        return {"type": "linear", "range": None if ends is None else [*ends]}
    return log_ticks(ends)


def _goal(goal: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of a line, a band or a box, with the word "goal"."""
    line = {"color": GOAL, "width": 2, "dash": "longdash"}
    goal = mapping("goal", goal)
    spans = {axis: goal[axis] for axis in ("x", "y") if axis in goal}
    if not spans:
        raise ValueError(f"goal: expected 'x', 'y' or both, got {', '.join(goal) or 'nothing'}")
    for axis, ends in spans.items():
        (span if isinstance(ends, Sequence) else real)(f"goal {axis}", ends)
    shape: dict[str, Any] = {"xref": "x", "yref": "y", "layer": "below"}
    for axis in ("x", "y"):
        at = spans.get(axis)
        ends = (0, 1) if at is None else at if isinstance(at, Sequence) else (at, at)
        if at is None:
            shape[f"{axis}ref"] = "paper"
        shape |= {f"{axis}0": ends[0], f"{axis}1": ends[1]}
    flat = all(not isinstance(at, Sequence) for at in spans.values())
    if flat and len(spans) == 1:
        shape |= {"type": "line", "line": line}
    else:
        fill = {"fillcolor": GOAL, "opacity": 0.15}
        shape |= {"type": "rect", "line": line | {"width": 1}, **fill}
    shape["label"] = {
        "text": goal.get("label", "goal"),
        "font": {"color": GOAL, "size": 12},
        "textposition": "start" if shape["type"] == "line" else "top left",
    }
    return shape


def _layout(title, x_axis, y_axis, height, margin, legend) -> go.Layout:
    axis = {
        "showline": True,
        "linecolor": GREY,
        "linewidth": 1,
        "gridcolor": GRID,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GREY,
        "tickfont": {"size": 12},
    }
    return go.Layout(
        height=height,
        autosize=True,
        margin=margin,
        title={
            "text": title,
            "font": {"size": 14, "weight": 600},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 7},
        },
        # A marker on the edge, such as the end of a ghost, is drawn whole.
        template={"data": {"scatter": [{"cliponaxis": False}]}},
        font={"size": 13, "family": "system-ui, sans-serif", "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis=axis | x_axis,
        yaxis=axis | y_axis,
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "itemsizing": "constant",
            "itemwidth": 30,
            "tracegroupgap": 0,
            "font": {"size": 12},
            "bgcolor": "rgba(0,0,0,0)",
        },
        modebar={"orientation": "h", "bgcolor": "rgba(0,0,0,0)", "color": GREY},
        hovermode="closest",
        uirevision="a reader's zoom outlives a redraw",
    )
