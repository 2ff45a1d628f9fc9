"""A matrix of positive numbers as coloured cells, each with its number written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.figure import Figure


class HeatMap(Figure):
    """One cell for each pair of `labels`, of the last record; the first row is on top.

    `values(record)` gives a matrix with as many rows and columns as there are labels; cells that
    are None, NaN or not positive stay empty. Colours are spaced by the logarithm, from `low` to
    `high`, and stay the same while a run goes on; numbers beyond get the colour of the end.
    `unit` names what is shown, beside the scale. The numbers in the cells say the same as the
    colours, for print and for readers who see none.
    """

    def __init__(
        self,
        labels: Sequence[str],
        values: Callable[[Any], Sequence[Sequence[float]]],
        *,
        low: float,
        high: float,
        unit: str = "",
        height: int = 520,
        **axes: Any,
    ):
        if not 0 < low < high:
            raise ValueError(f"a heat map needs 0 < low < high, got {low} and {high}")
        super().__init__(height=height, **axes)
        self._labels, self._values = list(labels), values
        layout = self.widget.axes
        grid = {"showgrid": False, "type": "category", "automargin": True}
        self.widget.axes = layout | {
            "xaxis": layout["xaxis"] | grid | {"tickangle": -45},
            "yaxis": layout["yaxis"] | grid | {"autorange": "reversed"},
        }
        ends = math.log10(low), math.log10(high)
        decades = range(math.ceil(ends[0]), math.floor(ends[1]) + 1)
        # Cividis keeps its order for every kind of colour vision (Nunez et al., 2018).
        self._cells = self.follow(
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

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        rows = self._values(records[-1]) if records else []
        matrix = [[_positive(v) for v in row] for row in rows]
        n, lengths = len(self._labels), [len(row) for row in matrix]
        if records and lengths != [n] * n:
            raise ValueError(f"expected {n} rows of {n} numbers, got rows of {lengths}")
        self._cells.update(
            x=self._labels,
            y=self._labels,
            z=[[None if v is None else math.log10(v) for v in row] for row in matrix],
            text=[["" if v is None else _short(v) for v in row] for row in matrix],
        )


def _positive(value: Any) -> float | None:
    value = math.nan if value is None else float(value)
    return value if math.isfinite(value) and value > 0 else None


def _short(value: float) -> str:
    # A cell is narrow: .073 fits where 0.073 does not.
    return f"{value:.2g}".removeprefix("0")
