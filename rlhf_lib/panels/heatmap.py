"""A matrix of positive numbers as coloured cells, each with its number written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.finite import finite
from rlhf_lib.panels.layout import merged
from rlhf_lib.panels.trace import Trace


def HeatMap(
    labels: Sequence[str],
    values: Callable[[Any], Sequence[Sequence[float]]],
    *,
    low: float,
    high: float,
    unit: str = "",
    height: int = 520,
    **axes: Any,
) -> Figure:
    """One cell for each pair of `labels`, of the last record; the first row is on top.

    `values(record)` gives a matrix with as many rows and columns as there are labels; cells that
    are None, NaN or not positive stay empty. Colours are spaced by the logarithm, from `low` to
    `high`, and stay the same while a run goes on; numbers beyond get the colour of the end.
    `unit` names what is shown, beside the scale. The numbers in the cells say the same as the
    colours, for print and for readers who see none.
    """
    if not 0 < low < high:
        raise ValueError(f"a heat map: expected 0 < low < high, got {low} and {high}")
    labels, of = list(labels), values
    ends = math.log10(low), math.log10(high)
    decades = range(math.ceil(ends[0]), math.floor(ends[1]) + 1)
    # Cividis keeps its order for every kind of colour vision (Nunez et al., 2018).
    cells = Trace(
        go.Heatmap(
            colorscale="Cividis",
            zmin=ends[0],
            zmax=ends[1],
            colorbar={
                "title": {"text": unit, "side": "right"},
                "tickvals": list(decades),
                "ticktext": [f"{10.0**d:g}" for d in decades],
                "thickness": 14,
            },
            texttemplate="%{text}",
            textfont={"size": 10},
            hovertemplate="row %{y}, column %{x}: %{text}<extra></extra>",
            hoverongaps=False,
            xgap=1,
            ygap=1,
        )
    )

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        rows = of(records[-1]) if records else []
        matrix = [[_positive(v) for v in row] for row in rows]
        n, lengths = len(labels), [len(row) for row in matrix]
        if records and lengths != [n] * n:
            raise ValueError(f"expected {n} rows of {n} numbers, got rows of {lengths}")
        z = [[None if v is None else math.log10(v) for v in row] for row in matrix]
        text = [["" if v is None else _short(v) for v in row] for row in matrix]
        return [cells.at(labels, labels, z=z, text=text)]

    grid = {"showgrid": False, "type": "category", "automargin": True}
    layout = {"xaxis": grid | {"tickangle": -45}, "yaxis": grid | {"autorange": "reversed"}}
    axes["layout"] = merged(layout, axes.get("layout", {}))
    return Figure(draw, height=height, **axes)


def _positive(value: Any) -> float | None:
    number = finite(value)
    return number if number is not None and number > 0 else None


def _short(value: float) -> str:
    # A cell is narrow: .073 fits where 0.073 does not.
    return f"{value:.2g}".removeprefix("0")
