"""Points of several kinds in a plane, with a third number as the area of the marker."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import PALETTE, SYMBOLS
from rlhf_lib.panels.trace import Trace

Point = tuple[float, float, float, str]  # x, y, area, label


def Points(
    points: Callable[[Any], Mapping[str, Sequence[Point]]],
    kinds: Sequence[str],
    *,
    newest: Callable[[Any], Point | None] = lambda record: None,
    unit: float = 1.0,
    ring: float = 30,
    legend: bool = True,
    **axes: Any,
) -> Figure:
    """The points that the last record holds, such as models by size, accuracy and time.

    `points(record)` maps the name of a kind, one of `kinds`, to its points: x, y, a third number
    and a label, which is shown on hovering. The area of a marker is proportional to the third
    number, and `unit` of it has a diameter of 16 pixels; the smallest marker has 6, the largest 40,
    which is six times the unit's area, so that none covers the others. Each kind has a
    colour and a symbol of its own; the newest point, `newest(record)`, has a ring around it, `ring`
    pixels wide.
    """
    looks = {}
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
        looks[kind] = Trace(trace)
    circle = {"symbol": "circle-open", "size": ring, "color": "#000000", "line": {"width": 2}}
    around = Trace(go.Scatter(name="newest", mode="markers", marker=circle))

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        found = points(records[-1]) if records else {}
        new = newest(records[-1]) if records else None
        traces = []
        for kind, look in looks.items():
            shown = found.get(kind, ())
            sizes = [min(max(6.0, 16 * math.sqrt(p[2] / unit)), 40.0) for p in shown]
            traces.append(
                look.at(
                    [p[0] for p in shown],
                    [p[1] for p in shown],
                    text=[p[3] for p in shown],
                    marker=look["marker"] | {"size": sizes},
                )
            )
        return [*traces, around.at(*(([], []) if new is None else ([new[0]], [new[1]])))]

    return Figure(draw, legend=legend, **axes)
