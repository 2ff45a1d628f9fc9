"""How many weights have which size: moduli on a logarithmic axis, exact zeros apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.layout import merged
from rlhf_lib.panels.theme import DASHES, PALETTE
from rlhf_lib.panels.ticks import tick_text
from rlhf_lib.panels.trace import Trace

LOW, HIGH, BINS = -9, 1, 3  # decades of the axis, bins a decade
PLACE = LOW - 1.0  # of the exact zeros


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


def Histogram(
    counts: Mapping[str, Callable[[Any], Sequence[int] | None]], *, most: float = 1e7, **axes: Any
) -> Figure:
    """Outlines of histograms of the last record, one for each entry of `counts`.

    `counts` maps a name to a function of a record that gives what `size_counts` does, or None.
    Both axes are logarithmic: among millions of weights the few that are large would not be seen
    otherwise. Exact zeros have no logarithm: a marker over the tick 0.
    """
    looks = [(*_looks(name, i), of) for i, (name, of) in enumerate(counts.items())]

    def draw(records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        traces = []
        for outline, mark, of in looks:
            zeros, *rest = (of(records[-1]) if records else None) or [0]
            middles = [LOW + (i + 0.5) / BINS for i in range(len(rest))]
            # A bin without entries is a gap.
            traces.append(outline.at(middles, [n or None for n in rest]))
            traces.append(mark.at(*(([PLACE], [zeros]) if zeros else ([], []))))
        return traces

    ticks = range(LOW, HIGH + 1, 2)
    texts = ["0", *(tick_text(10.0**d) for d in ticks)]
    layout = {"xaxis": {"tickvals": [PLACE, *ticks], "ticktext": texts}}
    spans = {"x_range": [PLACE - 0.5, HIGH], "y_range": [0.7, most], "y_log": True}
    axes["layout"] = merged(layout, axes.get("layout", {}))
    return Figure(draw, legend=True, **spans, **axes)


def _looks(name: str, number: int) -> tuple[Trace, Trace]:
    """Those of an outline and of the marker of the zeros."""
    colour = PALETTE[number % len(PALETTE)]
    line = {"color": colour, "width": 2.5, "dash": DASHES[number % len(DASHES)], "shape": "hvh"}
    mark = {"symbol": "square-open", "size": 10, "color": colour, "line": {"width": 2}}
    outline = go.Scatter(name=name, mode="lines", line=line, legendgroup=name)
    zeros = go.Scatter(
        name=f"{name}: exactly 0", mode="markers", marker=mark, legendgroup=name, showlegend=False
    )
    return Trace(outline), Trace(zeros)
