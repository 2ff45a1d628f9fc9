"""What all figures of a panel share: looks, fixed axes, and ghosts of former runs.

A panel asks four things of a figure, and a custom one needs no more:

- `figure.widget`, what is shown;
- `figure.begin(label)`, a new run starts: what is drawn becomes a dimmed ghost of that
  name, or is removed when `label` is None;
- `figure.draw(records, values)`, show the records so far (a non-empty list), got with
  these values of the controls;
- `figure.clear()`, take the ghosts away; `figure.ghosts` lists their labels, oldest
  first, and `figure.keep` is how many there may be (the panel sets it).

Axes are fixed when made, so that curves of different settings can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.plot import Plot

# Okabe and Ito (2008): distinct for colour-blind readers. Dashes and markers repeat the
# distinction for print and for readers who see no colour.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
GHOST_SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"]
GREY = "#6b6b6b"


class Figure:
    """Fixed axes, traces that follow a run, and ghosts; the base of the concrete figures.

    A subclass adds traces with `fix` (never change) and `follow` (change with the run),
    fills the latter in `update`, and says by the `ghost` of a followed scatter trace how
    its ghost looks. The titles name the axes and their units; ranges are in data units,
    also with `x_log=True` and `y_log=True`; `height` is in pixels.
    """

    def __init__(
        self,
        *,
        title: str = "",
        x_title: str = "",
        y_title: str = "",
        x_range: Sequence[float] | None = None,
        y_range: Sequence[float] | None = None,
        x_log: bool = False,
        y_log: bool = False,
        height: int = 340,
    ):
        self.keep = 4
        self.ghosts: list[str] = []
        self._traces: list = []
        self._remembered: list[tuple[Any, dict]] = []  # traces that leave a ghost, its style
        self._slots: list[list] = []  # for each ghost its traces, used in turn
        self._next_slot = 0
        if x_log and x_range:
            x_range = [math.log10(x) for x in x_range]
        if y_log and y_range:
            y_range = [math.log10(y) for y in y_range]
        x_axis = {"title": {"text": x_title, "standoff": 8}, "range": x_range}
        y_axis = {"title": {"text": y_title, "standoff": 8}, "range": y_range}
        x_axis |= {"type": "log", "dtick": "D2"} if x_log else {}
        y_axis |= _log_ticks(y_range) if y_log else {"type": "linear"}
        # Whole from the start: what is changed in `axes` later does not reach the browser.
        layout = _layout(title, x_axis, y_axis, height)
        self.widget = Plot(axes=layout.to_plotly_json(), label=title)

    def fix(self, trace: Any) -> None:
        """Add a trace that never changes."""
        self.widget.fixed = [*self.widget.fixed, trace.to_plotly_json()]

    def follow(self, trace: Any, ghost: dict | None = None) -> Any:
        """Add a trace that `update` changes."""
        self._traces.append(trace)
        if ghost is not None:
            self._remembered.append((trace, ghost))
        return trace

    def begin(self, label: str | None) -> None:
        """Keep what is drawn as a ghost named `label`, or drop it (None)."""
        if label is not None and self.keep > 0 and self._remembered:
            self._keep(label)
        self.update([], {})
        self._push()

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Show the records so far."""
        self.update(records, values)
        self._push()

    def clear(self) -> None:
        """Take the ghosts away."""
        self.ghosts, self._slots, self._next_slot = [], [], 0
        self._push()

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Set the data of the followed traces; no records: empty them."""
        raise NotImplementedError

    def _keep(self, label: str) -> None:
        # A symbol at the end of its lines tells each ghost from the others, also where
        # colours cannot; bars get one symbol each.
        symbol = GHOST_SYMBOLS[self._next_slot % len(GHOST_SYMBOLS)]
        slot = []
        for first, (trace, style) in enumerate(self._remembered):
            size = [0] * (len(trace.x or ()) - 1) + [8] if "lines" in style["mode"] else 9
            ghost = go.Scatter(
                x=trace.x, y=trace.y, name=label, legendgroup=symbol, showlegend=first == 0, **style
            )
            ghost.update(opacity=0.5, marker={"symbol": symbol, "size": size})
            slot.append(ghost)
        self._slots[self._next_slot : self._next_slot + 1] = [slot]
        self._next_slot = (self._next_slot + 1) % self.keep
        self.ghosts = [*self.ghosts, label][-self.keep :]

    def _push(self) -> None:
        ghosts = [trace for slot in self._slots for trace in slot]
        self.widget.moving = [trace.to_plotly_json() for trace in (*self._traces, *ghosts)]


def _layout(title, x_axis, y_axis, height) -> go.Layout:
    axis = {"showline": True, "linecolor": GREY, "gridcolor": "#e5e5e5", "zeroline": False}
    return go.Layout(
        height=height,
        autosize=True,
        # Room on the right for half of the last number: plotly leaves it out otherwise.
        margin={"l": 62, "r": 20, "t": 72, "b": 48},
        # A marker on the edge, such as the end of a ghost, is drawn whole.
        template={"data": {"scatter": [{"cliponaxis": False}]}},
        font={"size": 13, "family": "system-ui, sans-serif"},
        xaxis=axis | x_axis,
        yaxis=axis | y_axis,
        # Over the plot: beside it, a long name would squeeze the plot itself, and under
        # it, more rows of names would cover the axis. The title is the legend's, so that
        # it moves up as rows are added.
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "itemsizing": "constant",
            "itemwidth": 40,
            "tracegroupgap": 0,
            "font": {"size": 12},
            "title": {"text": title, "side": "top", "font": {"size": 15}},
        },
        hovermode="closest",
        uirevision="a reader's zoom outlives a redraw",
    )


def _log_ticks(exponents: Sequence[float] | None) -> dict:
    """Powers of ten, at most seven of them; plotly's own are 100µ, 10n and 1B."""
    # Their labels are wide: the margin grows, or the axis title would lie on them.
    ticks = {"type": "log", "exponentformat": "power", "automargin": "left"}
    if exponents is None:
        return ticks
    decades = exponents[1] - exponents[0]
    # Within two or three decades their 2 and 5 are wanted, too.
    return ticks | {"dtick": "D2" if decades < 3 else math.ceil(decades / 7)}
