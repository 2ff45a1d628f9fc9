"""Several values for each of some names, with the interval of their mean: seeds, compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import columns
from rlhf_lib.panels.theme import GREY, PALETTE
from rlhf_lib.panels.trace import Trace


def Intervals(
    rows: Callable[[Any], Mapping[str, tuple[Sequence[float], float, float]]],
    most: int,
    **axes: Any,
) -> Figure:
    """A row for each name of the last record: its values as dots, their mean with an interval.

    `rows(record)` maps a name to (values, low, high), from the top down. `most` rows fit in; their
    names stand on the axis. The axis along the bottom is fixed, what lies outside is not seen.
    """
    circle = {"symbol": "circle-open", "size": 7, "color": GREY}
    diamond = {"symbol": "diamond", "size": 9, "color": PALETTE[0]}
    dots = Trace(go.Scatter(name="one seed", mode="markers", marker=circle))
    means = Trace(go.Scatter(name="mean and its interval", mode="markers", marker=diamond))
    bar = {"type": "data", "symmetric": False, "thickness": 2, "color": PALETTE[0]}

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        found = rows(records[-1]) if records else {}
        places = [-i for i in range(len(found))]
        points = [(v, -i) for i, (some, *_) in enumerate(found.values()) for v in some]
        middles = [(sum(some) / len(some), low, high) for some, low, high in found.values()]
        ends = bar | {
            "array": [high - middle for middle, _, high in middles],
            "arrayminus": [middle - low for middle, low, _ in middles],
        }
        drawn = means.at([middle for middle, _, _ in middles], places, error_x=ends)
        names = {"tickvals": places, "ticktext": list(found), "automargin": True}
        drawn.layout = {"yaxis": names}
        return [dots.at(*columns(points)), drawn]

    return Figure(draw, y_range=[-most + 0.5, 0.5], legend=True, **axes)
