"""What stands around the figures of a panel: head, read-out, progress, and their places.

All write text, never markup, so nothing in an error message can change the page, and
are live regions that a screen reader follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import ipywidgets
import traitlets

from rlhf_lib.panels.page import page


class Head(anywidget.AnyWidget):
    """Title and goal, and the care that the panel as a whole needs in a browser."""

    _esm = page("head.js")
    _css = page("frame.css")
    title = traitlets.Unicode().tag(sync=True)
    goal = traitlets.Unicode().tag(sync=True)
    reached = traitlets.Bool(False).tag(sync=True)


class LiveText(anywidget.AnyWidget):
    """The read-out: a sentence in a live region (`role=status`)."""

    _esm = page("live.js")
    text = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    def say(self, text: str, *, busy: bool = False) -> None:
        with self.hold_sync():
            self.text, self.busy = text, busy


class Progress(anywidget.AnyWidget):
    """A bar and a sentence: 'record 5 of 14, 3 s left'."""

    _esm = page("progress.js")
    text = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    error = traitlets.Bool(False).tag(sync=True)
    fraction = traitlets.Float(0.0).tag(sync=True)  # negative: unknown, the bar is hidden
    runs = traitlets.Int(0).tag(sync=True)  # how many have begun
    values = traitlets.Dict().tag(sync=True)  # the settings of the latest
    seconds = 0.0  # of the run so far

    def begin(self, total: int | None, values: Mapping[str, Any] | None = None) -> None:
        """A run starts that is expected to make `total` records (None: unknown)."""
        self._total, self._since, self.seconds = total, time.monotonic(), 0.0
        self._counted, self._told = "", self._since
        with self.hold_sync():
            self.runs, self.values = self.runs + 1, dict(values or {})
            self.fraction = 0.0 if total else -1.0
            self.say("Running, waiting for the first record…", busy=True)

    def set(self, values: Mapping[str, Any]) -> None:
        """A run with these values has been followed to its end."""
        with self.hold_sync():
            self.runs, self.values = self.runs + 1, dict(values)

    def count(self, done: int) -> None:
        """`done` records have come."""
        self.seconds = time.monotonic() - self._since
        text = f"record {done}"
        if self._total and done <= self._total:
            left = (self._total - done) * self.seconds / done
            text += f" of {self._total}, {duration(left)} left"
        with self.hold_sync():
            if self._total:
                self.fraction = min(done / self._total, 1.0)
            self.say(text, busy=True)
        self._counted, self._told = f"{text}; ", time.monotonic()

    def within(self, what: str, number: int, total: int) -> None:
        """What begins of the next record, where that takes long: a sentence a second."""
        if (now := time.monotonic()) - self._told >= 1:
            self._told = now
            self.say(f"{self._counted}{what} {number} of at most {total}", busy=True)

    def say(
        self, text: str, *, busy: bool = False, error: bool = False, full: bool = False
    ) -> None:
        """Show a sentence; `full` also fills the bar."""
        with self.hold_sync():
            self.text, self.busy, self.error = text, busy, error
            if full and self.fraction >= 0:
                self.fraction = 1.0


def assemble(
    head: Head,
    controls: Sequence[ipywidgets.DOMWidget],
    buttons: Sequence[ipywidgets.Button],
    progress: Progress,
    manner: ipywidgets.DOMWidget,
    figures: Sequence[ipywidgets.DOMWidget],
    readout: LiveText,
    player: ipywidgets.DOMWidget | None = None,
) -> ipywidgets.VBox:
    """The panel's widgets in the order in which the Tab key visits them.

    Two figures stand side by side where there is room; more of them wait behind a button, so that
    controls, figures and read-out are seen together.
    """
    wrap = {"flex_flow": "row wrap", "align_items": "center"}
    grid = {
        "display": "grid",
        "grid_template_columns": "repeat(auto-fit, minmax(290px, 1fr))",
        "grid_gap": "0 22px",
        "align_items": "center",
        "padding": "0 6px 0 0",
    }
    rows = [_row(figures[i : i + SIDE_BY_SIDE]) for i in range(0, len(figures), SIDE_BY_SIDE)]
    first, more = rows[:1], rows[1:]
    played = [] if player is None else [player]
    box = ipywidgets.VBox(
        [
            head,
            ipywidgets.Box(controls, layout=grid),
            ipywidgets.Box([*buttons, *played, progress, manner], layout=wrap),
            *first,
            readout,
            *_behind_a_button(more),
        ]
    )
    box.add_class("rlhf-panel")
    return box


SIDE_BY_SIDE = 2


def _row(figures: Sequence[ipywidgets.DOMWidget]) -> ipywidgets.Box:
    plots = [
        ipywidgets.Box([figure], layout={"flex": "1 1 380px", "min_width": "300px"})
        for figure in figures
    ]
    for plot in plots:
        plot.add_class("rlhf-figure")
    return ipywidgets.Box(plots, layout={"flex_flow": "row wrap"})


def _behind_a_button(rows: Sequence[ipywidgets.Box]) -> list[ipywidgets.DOMWidget]:
    if not rows:
        return []
    count = sum(len(row.children) for row in rows)
    words = f"{count} more plot" + "s" * (count > 1)
    show = ipywidgets.ToggleButton(
        value=False,
        description=f"Show {words}",
        layout={"width": "auto"},
        tooltip="Show or hide what else this panel draws",
    )
    hidden = ipywidgets.VBox(rows, layout={"display": "none"})

    def toggle(change: Any) -> None:
        hidden.layout.display = "" if change["new"] else "none"
        show.description = f"{'Hide' if change['new'] else 'Show'} {words}"

    show.observe(toggle, names="value")
    return [show, hidden]


def button(
    text: str, tooltip: str, action: Callable[[], Any], style: str = ""
) -> ipywidgets.Button:
    """A button that says in words what it does."""
    made = ipywidgets.Button(
        description=text, tooltip=tooltip, button_style=style, layout={"width": "72px"}
    )
    made.on_click(lambda _: action())
    return made


def answer_while_busy(widget: ipywidgets.Widget) -> None:
    """Let the callbacks of this widget run while a cell runs.

    ipykernel 7.4 hands what a page sends to the shell that last wrote to the widget,
    hence to the one that is busy with the cell. The page asked for another one
    (JupyterLab 4.5 gives widgets a subshell of their own); that one is free.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = lambda data, asked_for: asked_for


def duration(seconds: float) -> str:
    """'0.4 s', '12 s', '3 min 5 s'."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s"
