"""A figure is a function `(records, values) -> traces`, drawn over fixed axes.

`records` are those of a run so far, `values` those of the controls it was started with; with no
records (a run begins) the function gives its traces empty. What it returns are plotly's own traces,
their JSON, or a `Trace`, which says as well what is left of it when its run is a former one. The
same function draws the panel and the picture that a notebook stores, and is what a test looks at.

A panel asks four things of a figure, and a custom one needs no more:

- `figure.widget`, what is shown;
- `figure.begin(label)`, a new run starts: what is drawn becomes a dimmed ghost of that
  name, or is removed when `label` is None;
- `figure.draw(records, values)`, show the records so far (a non-empty list), got with
  these values of the controls;
- `figure.clear()`, take the ghosts away, `figure.forget(label)`, those of that name;
  `figure.keep` is how many there may be (the panel sets it).

Texts are shown as they are, whatever markup they hold; "\\n" breaks a line (`escape.py`).

Axes are fixed when made, so that curves of different settings can be compared. A figure can also
be shown by itself, as the last line of a cell; then `readout` says it in one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rlhf_lib.arguments import function as given
from rlhf_lib.arguments import listed, mapping, text_of
from rlhf_lib.panels.ghosts import Ghosts
from rlhf_lib.panels.labels import LETTER, end_labels, width
from rlhf_lib.panels.layout import layout as layout_of
from rlhf_lib.panels.layout import merged
from rlhf_lib.panels.plot import Plot
from rlhf_lib.panels.show import display_data
from rlhf_lib.panels.theme import DASHES, GREY, PALETTE
from rlhf_lib.panels.trace import Trace, as_trace, fixed

__all__ = ["DASHES", "GREY", "PALETTE", "Figure"]

NARROW = 420  # pixels: how wide a figure is at least where two stand side by side

Draw = Callable[[Sequence[Any], Mapping[str, Any]], Iterable[Any]]
Notes = Callable[[Sequence[Trace], Mapping[str, Any]], list[dict[str, Any]]]


class Figure:
    """The traces that `function(records, values)` gives, over fixed axes, and ghosts.

    `axes` name the axes and their units (`title`, `x_title`, `y_title`); `x_range` and `y_range`
    are in data units, also with `x_log=True` and `y_log=True`; `height` is in pixels. With
    `equal=True` one unit is as long along both axes. `goal` is drawn as a line ("y": 0.6) or as a
    region ("y": (0, 0.6)), likewise for "x", with both as a box. `layout` are more entries of
    plotly's layout.

    Names stand at the right end of curves that say so; there is room for theirs and for former
    runs' names as long as `room`. `notes(traces, axes)` gives other annotations in their place.
    With `legend=True` names stand in one row under the title. `start_by` names two controls that a
    hand sets by dragging the trace with `meta={"start": True}`.
    """

    def __init__(
        self,
        function: Draw,
        *,
        legend: bool = False,
        layout: Mapping[str, Any] | None = None,
        notes: Notes = end_labels,
        room: str = "λ = 0.001",
        start_by: Sequence[str] = (),
        title: str = "",
        readout: str = "",
        **axes: Any,
    ):
        text_of("readout", readout), text_of("room", room)
        given("function", function), given("notes", notes)
        start_by = [text_of("start_by", name) for name in listed("start_by", start_by)]
        layout = mapping("layout", layout)
        self.keep = 4
        self.title, self.readout, self.legend, self.start_by = title, readout, legend, start_by
        self._function, self._layout, self._notes = function, layout, notes
        self._added: list[Trace] = []
        self._ghosts = Ghosts()
        # Whole from the start: what is changed in `axes` later does not reach the browser.
        whole = merged(layout_of(title=title, legend=legend, **axes), self._layout)
        self.widget = Plot(axes=whole, label=title)
        self._now = self.traces([], {})
        self._make_room(room)
        self.fit_legend()
        self._push()

    def traces(self, records: Sequence[Any], values: Mapping[str, Any]) -> list[Trace]:
        """What is drawn of these records."""
        return [*map(as_trace, self._function(records, values)), *self._added]

    def fix(self, *traces: Any) -> None:
        """Add traces that never change."""
        added = [fixed(trace) for trace in traces]
        self._added, self._now = [*self._added, *added], [*self._now, *added]
        self._push()

    def begin(self, label: str | None) -> None:
        """Keep what is drawn as a ghost named `label`, or drop it (None)."""
        if label is not None:
            self._ghosts.add(label, self._now, self.keep)
        self.draw([], {})

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Show the records so far."""
        self._now = self.traces(records, values)
        self._push()

    def show(self, records: Sequence[Any] = (), values: Mapping[str, Any] | None = None) -> Figure:
        """Draw these records and return the figure, as the last line of a cell."""
        self.draw(list(records), values or {})
        self.fit_legend()
        return self

    def clear(self) -> None:
        """Take the ghosts away."""
        self._ghosts.forget()
        self._push()

    def forget(self, label: str) -> None:
        """Take away the ghosts of this name."""
        self._ghosts.forget(label)
        self._push()

    @property
    def ghosts(self) -> list[str]:
        """The names of the former runs, the oldest first."""
        return self._ghosts.labels

    def _push(self) -> None:
        former = self._ghosts.besides(self._now)
        changes = [trace.layout for trace in self._now if trace.layout]
        with self.widget.hold_sync():
            if changes:
                self.widget.axes = merged(self.widget.axes, *changes, self._layout)
            self.widget.notes = self._notes([*self._now, *former], self.widget.axes)
            self.widget.fixed = [trace for trace in self._now if trace.fixed]
            self.widget.ghosts = former
            self.widget.moving = [trace for trace in self._now if not trace.fixed]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return display_data([self], self.title or "figure", self.readout, **kwargs)

    # -- margins, which a panel makes alike for figures that stand side by side ---------------

    @property
    def margin(self) -> dict[str, float]:
        """Pixels around the plot's area: l, r, t and b."""
        return dict(self.widget.axes["margin"])

    @margin.setter
    def margin(self, margin: Mapping[str, float]) -> None:
        self.widget.axes = self.widget.axes | {"margin": dict(margin)}

    def falling(self) -> Figure:
        """The same figure with the larger numbers of its x axis on the left; returns it."""
        span = self.widget.axes["xaxis"]["range"]
        self.widget.axes = merged(self.widget.axes, {"xaxis": {"range": span[::-1]}})
        return self

    def _make_room(self, former: str) -> None:
        """Make room on the right for the names that stand there, and for former runs' names."""
        named = [trace for trace in self._now if trace.named]
        names = [trace["name"] for trace in named]
        names += [former] * any(not trace.fixed for trace in named)
        if names:
            self.margin = self.margin | {"r": max(self.margin["r"], 14 + width(names))}

    def fit_legend(self) -> None:
        """Make room on top for as many rows of names as a narrow page needs."""
        shown = [t for t in self._now if t.get("name") and t.get("showlegend") is not False]
        if not self.legend or not shown:
            return
        entries = [62 + LETTER * len(trace["name"]) for trace in shown]
        area = NARROW - self.margin["l"] - self.margin["r"]
        # plotly makes columns of one width as soon as one row does not hold all.
        columns = len(shown) if sum(entries) <= area else max(int(area / max(entries)), 1)
        rows = math.ceil(len(shown) / columns)
        self.margin = self.margin | {"t": max(self.margin["t"], 37 + 19 * rows)}
