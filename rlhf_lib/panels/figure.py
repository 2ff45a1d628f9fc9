"""What all figures of a panel share: looks, fixed axes, and ghosts of former runs.

A panel asks four things of a figure, and a custom one needs no more:

- `figure.widget`, what is shown (a plotly FigureWidget);
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
from copy import deepcopy
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito (2008): distinct for colour-blind readers. Dashes and markers repeat the
# distinction for print and for readers who see no colour.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
GHOST_SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"]
GREY = "#6b6b6b"


class Figure:
    """A plotly figure with fixed axes and ghosts; the base of the concrete ones.

    A subclass adds its static traces, then lists in `self.live` the scatter traces that
    move with the run, and in `self.ghost_styles` how the ghost of each looks.
    """

    def __init__(
        self,
        *,
        title: str = "",
        x_title: str = "",
        y_title: str = "",
        x_range: Sequence[float] | None = None,
        y_range: Sequence[float] | None = None,
        y_log: bool = False,
        height: int = 340,
    ):
        self.keep = 4
        self.ghosts: list[str] = []
        self.live: list = []
        self.ghost_styles: list[dict] = []
        self._slots: list[list] = []  # one ghost's traces, reused in turn
        self._next_slot = 0
        axis = {"showline": True, "linecolor": GREY, "gridcolor": "#e5e5e5", "zeroline": False}
        y_range = [math.log10(y) for y in y_range] if y_log and y_range else y_range
        self.widget = go.FigureWidget(
            layout={
                "title": {
                    "text": title,
                    "font": {"size": 15},
                    "x": 0.01,
                    "yref": "container",
                    "y": 1,
                    "yanchor": "top",
                    "pad": {"t": 8},
                },
                "height": height,
                "margin": {"l": 62, "r": 12, "t": 80, "b": 48},
                "template": "none",
                "font": {"size": 13, "family": "system-ui, sans-serif"},
                "xaxis": axis | {"title": {"text": x_title, "standoff": 8}, "range": x_range},
                "yaxis": axis
                | {
                    "title": {"text": y_title, "standoff": 8},
                    "range": y_range,
                    "type": "log" if y_log else "linear",
                },
                # Over the plot: beside it, a long name would squeeze the plot itself, and
                # under it, more rows of names would cover the axis.
                "legend": {
                    "orientation": "h",
                    "x": 0,
                    "y": 1.02,
                    "yanchor": "bottom",
                    "itemsizing": "constant",
                    "itemwidth": 40,
                    "tracegroupgap": 0,
                    "font": {"size": 12},
                },
                "hovermode": "closest",
            }
        )
        # plotly's mode bar would upload the figure to its cloud; a notebook asks nobody.
        self.widget._config = {
            "displaylogo": False,
            "showSendToCloud": False,
            "responsive": True,
            "modeBarButtonsToRemove": ["select2d", "lasso2d"],
        }

    def begin(self, label: str | None) -> None:
        """Keep what is drawn as a ghost named `label`, or drop it (None); empty the rest."""
        drawn = [(trace.x, trace.y) for trace in self.live]
        keep = label is not None and self.keep > 0 and self.live
        if keep and len(self._slots) <= self._next_slot:
            self._slots.append([self._add_ghost(style) for style in self.ghost_styles])
        with self.widget.batch_update():
            if keep:
                symbol = GHOST_SYMBOLS[self._next_slot % len(GHOST_SYMBOLS)]
                for trace, (x, y) in zip(self._slots[self._next_slot], drawn, strict=True):
                    # A symbol at the end of a line tells the ghosts apart; bars get one each.
                    size = [0] * (len(x) - 1) + [8] if "lines" in trace.mode else 8
                    trace.update(x=x, y=y, name=label, visible=True)
                    trace.marker.update(symbol=symbol, size=size)
                self._next_slot = (self._next_slot + 1) % self.keep
                self.ghosts = [*self.ghosts, label][-self.keep :]
            self.empty()

    def empty(self) -> None:
        """Remove what the current run has drawn."""
        for trace in self.live:
            trace.update(x=[], y=[])

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        """Take the ghosts away."""
        with self.widget.batch_update():
            for trace in (t for slot in self._slots for t in slot):
                trace.update(x=[], y=[], visible=False)
        self.ghosts, self._next_slot = [], 0

    def sync(self) -> None:
        """Store what is drawn where a reloaded page looks for it: plotly sends changes
        only to the pages that are open."""
        self.widget._widget_data = deepcopy(self.widget._data)
        self.widget._widget_layout = deepcopy(self.widget._layout)

    def add(self, trace: Any) -> Any:
        self.widget.add_trace(trace)
        return self.widget.data[-1]

    def _add_ghost(self, style: dict) -> Any:
        slot = len(self._slots)
        first = style is self.ghost_styles[0]  # one line in the legend for each run
        style = {"opacity": 0.45, "visible": False} | style
        return self.add(go.Scatter(x=[], y=[], legendgroup=slot, showlegend=first, **style))
