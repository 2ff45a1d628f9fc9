"""How many weights have which size: moduli on a logarithmic axis, exact zeros apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.theme import DASHES, PALETTE
from rlhf_lib.panels.ticks import tick_text

LOW, HIGH, BINS = -9, 1, 3  # decades of the axis, bins a decade


def size_counts(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """How many entries are exactly 0, and how many fall into each third of a decade.

    The first number counts the zeros; the others the moduli from 1e-9 to 10, what lies outside
    being counted in the first or the last of these bins.
    """
    bins = (HIGH - LOW) * BINS
    zeros, counts = 0, torch.zeros(bins, dtype=torch.float64)
    for tensor in tensors:
        size = tensor.detach().abs().flatten()
        size = size[size > 0]
        zeros += tensor.numel() - size.numel()
        place = size.log10_().clamp_(LOW, HIGH)
        counts += torch.histc(place, bins, LOW, HIGH).double().cpu()
    return zeros, *map(int, counts.tolist())


class Histogram(Figure):
    """Outlines of histograms of the last record, one for each entry of `counts`.

    `counts` maps a name to a function of a record that gives what `size_counts` does, or None.
    Both axes are logarithmic: among millions of weights the few that are large would not be seen
    otherwise. Exact zeros have no logarithm: a marker over the tick 0.
    """

    legend = True

    def __init__(
        self,
        counts: Mapping[str, Callable[[Any], Sequence[int] | None]],
        *,
        most: float = 1e7,
        **axes: Any,
    ):
        place = LOW - 1.0  # of the exact zeros
        super().__init__(x_range=[place - 0.5, HIGH], y_range=[0.7, most], y_log=True, **axes)
        ticks = range(LOW, HIGH + 1, 2)
        axes = self.widget.axes  # assigned anew, or the browser would not hear of it
        self.widget.axes = axes | {
            "xaxis": axes["xaxis"]
            | {"tickvals": [place, *ticks], "ticktext": ["0", *(tick_text(10.0**d) for d in ticks)]}
        }
        self._place, self._counts = place, []
        for i, (name, of) in enumerate(counts.items()):
            colour = PALETTE[i % len(PALETTE)]
            line = {"color": colour, "width": 2.5, "dash": DASHES[i % len(DASHES)]}
            traces = [self.follow(trace) for trace in _traces(name, line, colour)]
            self._counts.append((traces, of))

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        for traces, of in self._counts:
            found = of(records[-1]) if records else None
            for trace, data in zip(traces, self._data(found), strict=True):
                trace.update(**data)

    def _data(self, counts: Sequence[int] | None) -> tuple[dict, dict]:
        """Outline and marker of the zeros; a bin without entries is a gap."""
        if counts is None:
            return {"x": [], "y": []}, {"x": [], "y": []}
        zeros, *rest = counts
        middles = [LOW + (i + 0.5) / BINS for i in range(len(rest))]
        zero = {"x": [self._place], "y": [zeros]} if zeros else {"x": [], "y": []}
        return {"x": middles, "y": [n or None for n in rest]}, zero


def _traces(name: str, line: dict, colour: str) -> list[go.Scatter]:
    mark = {"symbol": "square-open", "size": 10, "color": colour, "line": {"width": 2}}
    return [
        go.Scatter(name=name, mode="lines", line=line | {"shape": "hvh"}, legendgroup=name),
        go.Scatter(
            name=f"{name}: exactly 0",
            mode="markers",
            marker=mark,
            legendgroup=name,
            showlegend=False,
        ),
    ]
