"""A panel: controls, Run, Stop, and figures that follow a generator of records.

Callbacks of widgets only set flags and start a thread, so that the page never freezes.
Each run has one worker thread; it waits for the run before it to end, because both may
work on the same model. The worker alone writes to the figures while it runs.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rlhf_lib.interrupt import Interrupted, interruptible
from rlhf_lib.panels.align import align
from rlhf_lib.panels.controls import Control
from rlhf_lib.panels.frame import (
    SIDE_BY_SIDE,
    Head,
    LiveText,
    Progress,
    answer_while_busy,
    assemble,
    button,
    duration,
)
from rlhf_lib.panels.saving import ask_for_pictures, keep_pictures
from rlhf_lib.panels.show import display_data

REDRAW_SECONDS = 0.1
RESET_SECONDS = 5.0


class _Run:
    """One pass through the generator, with the values it was started with."""

    def __init__(self, values: dict[str, Any]):
        self.values = values
        self.records: list[Any] = []
        self.error: BaseException | None = None
        self.finished = False  # the generator came to its end
        self.reached = False  # and the goal was reached
        self.stop = threading.Event()
        self.done = threading.Event()


class Panel:
    """An interactive experiment for a notebook; the last line of a cell shows it.

    `generate(**values)` yields records; its parameters are the names of the `controls`
    and get plain Python values, read when a run starts. `figures` follow the protocol
    told in `figure.py`. `readout(records, values)` gives one sentence on the records so
    far. `total`, a number or a function of the values, is how many records to expect,
    for progress and time left. With `on_release=False` only Run starts a run. `keep`
    former runs stay as ghost curves. `goal` is one line over the figures, and
    `reached(records, values)` says whether a run has reached it.

    When the panel is shown it draws a first state: a run with the starting values, or the
    records that `first` gives where a run takes long (`first=False`: none).
    """

    def __init__(
        self,
        generate: Callable[..., Iterable[Any]],
        controls: Sequence[Control],
        figures: Sequence[Any] = (),
        readout: Callable[[list[Any], dict[str, Any]], str] | None = None,
        *,
        total: int | Callable[[dict[str, Any]], int | None] | None = None,
        title: str = "",
        goal: str = "",
        on_release: bool = True,
        keep: int = 4,
        reached: Callable[[list[Any], dict[str, Any]], Any] | None = None,
        first: bool | Callable[[dict[str, Any]], Sequence[Any]] = True,
    ):
        self._controls = {control.name: control for control in controls}
        if len(self._controls) < len(controls):
            raise ValueError("two controls have the same name")
        try:
            inspect.signature(generate).bind(**self.values)
        except TypeError as error:
            names = ", ".join(self._controls)
            raise TypeError(
                f"generate cannot be called with the controls {names}: {error}"
            ) from None
        self.figures = list(figures)
        for figure in self.figures:
            figure.keep = keep
        self._generate, self._readout, self._total = generate, readout, total
        self._title = title
        self._on_release = on_release
        self._reached, self._first = reached, first
        self._first_run: _Run | None = None  # what was drawn when the panel was shown
        for i in range(0, len(self.figures), SIDE_BY_SIDE):
            align(self.figures[i : i + SIDE_BY_SIDE])

        self._lock = threading.Lock()  # held while a run is asked for, stopped or ended
        self._latest: _Run | None = None  # asked for last, perhaps still waiting
        self._drawn: _Run | None = None  # the one in the figures
        self._setter: int | None = None  # thread that sets controls without starting runs
        self._drawing = threading.RLock()  # held while figures are written
        self._moved: set[str] = set()  # controls by which the kept runs differ
        self._count = 0

        self._progress, self._text = Progress(), LiveText()
        self._invite()
        buttons = [
            button("Run", "Start a run with these settings", self._start, "primary"),
            button("Stop", "Stop the run; what it has drawn stays", self.stop),
            button("Reset", "Start again: controls and figures as they were at first", self.reset),
            button("Clear", "Take away the curves of former runs", self.clear),
        ]
        # Stop must reach a run that a cell waits for. What else is pressed meanwhile waits
        # until the cell is done, so that it does not end the cell's own run.
        answer_while_busy(buttons[1])
        self._head = Head(title=title, goal=goal and f"Goal: {goal}")
        self.widget = assemble(
            self._head,
            [control.widget for control in controls],
            buttons,
            self._progress,
            [figure.widget for figure in self.figures],
            self._text,
        )
        for control in controls:
            control.widget.observe(self._on_change, names="value")

    # -- what a notebook or a test calls ------------------------------------------------

    def run(self, **values: Any) -> list[Any]:
        """Set these controls, run to the end and return the records.

        Controls not named go to their starting values, so that a call does not depend on what a
        reader chose before. Raises ValueError for an unknown name or a value out of range, and
        whatever the generator raised. If Stop is pressed meanwhile, the records so far are
        returned.
        """
        self._set(self._starts() | values)
        run = self._start()
        try:
            run.done.wait()
        except KeyboardInterrupt:  # the notebook's own interrupt button
            run.stop.set()
            raise
        if run.error is not None:
            raise run.error
        return list(run.records)

    def stop(self) -> None:
        """Ask the run to stop; returns at once, `wait` waits for its end. It stops at its
        next record, or inside a step where the library's own computations look."""
        with self._lock:
            if self._latest is not None and not self._latest.done.is_set():
                self._latest.stop.set()
                self._progress.say("Stopping…", busy=True)

    def reset(self) -> None:
        """Stop, take away all curves, and show the panel as it was at first."""
        self.stop()
        self._set(self._starts())
        self.wait(RESET_SECONDS)
        with self._drawing:
            first, self._drawn = self._first_run, None
            self._moved.clear()
            for figure in self.figures:
                figure.begin(None)
                figure.clear()
            self._head.reached = False
            if first is not None:
                self._drawn = first
                self._progress.begin(None, self.values)
                self._draw(first)
            self._text.say(self._text.text if first is not None else "")
        self._progress.say("The controls are back at their starting values. " + self._asked())

    def clear(self) -> None:
        """Take away the ghosts of former runs."""
        with self._drawing:
            for figure in self.figures:
                figure.clear()
            self._moved.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs; False if `timeout` seconds were not enough."""
        run = self._latest
        return run is None or run.done.wait(timeout)

    @property
    def values(self) -> dict[str, Any]:
        """What the controls are set to now."""
        return {name: control.value for name, control in self._controls.items()}

    @property
    def records(self) -> list[Any]:
        """The records of the run in the figures, also after Stop or an error."""
        return list(self._drawn.records) if self._drawn else []

    @property
    def text(self) -> str:
        """The read-out."""
        return self._text.text

    @property
    def status(self) -> str:
        """The line beside the buttons: progress, the end of the run, or its error."""
        return self._progress.text

    @property
    def error(self) -> BaseException | None:
        """What the latest run raised, with its traceback."""
        return self._latest.error if self._latest else None

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        self.show_first()
        title = f"Panel: {self._title or 'run this cell to see it'}"
        keep_pictures(self.widget, self.figures)
        return display_data(self.figures, title, self.text, self.widget, **kwargs)

    def show_first(self) -> None:
        """Draw the first state, unless something is drawn already. Raises what its run raises.

        It is no run of the reader's: no goal counts as reached by it.
        """
        if self._latest is not None or self._drawn is not None:
            return
        if not self._first:
            for figure in self.figures:
                figure.begin(None)  # axes and what does not move
            return
        if callable(self._first):
            run = _Run(self.values)
            run.records, run.finished = list(self._first(run.values)), True
            self._drawn = run
            self._progress.begin(None, self.values)
            self._draw(run)
        else:
            self.run()
            assert self._latest is not None
            run = self._latest
        self._first_run = run
        self._text.say(self._text.text)
        self._head.reached = False
        self._invite()
        self._progress.fraction = 0.0

    def _asked(self) -> str:
        return "Move a control or press Run." if self._on_release else "Press Run."

    def _invite(self) -> None:
        self._progress.say(self._asked())

    def _starts(self) -> dict[str, Any]:
        return {name: control.start for name, control in self._controls.items()}

    # -- callbacks: flags only ----------------------------------------------------------

    def _on_change(self, change: Any) -> None:
        if self._setter == threading.get_ident():
            return
        if self._on_release:
            self._start()
        elif self._latest is None or self._latest.done.is_set():
            self._progress.say("The controls have changed. Press Run to see the effect.")

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():  # check all of them before setting any
            if name not in self._controls:
                known = ", ".join(self._controls)
                raise ValueError(f"no control is named {name!r}; there are {known}")
            self._controls[name].check(value)
        self._setter = threading.get_ident()
        try:
            for name, value in values.items():
                self._controls[name].value = value
        finally:
            self._setter = None

    def _start(self) -> _Run:
        with self._lock:
            previous, run = self._latest, _Run(self.values)
            self._latest = run
            if previous is not None:
                previous.stop.set()
        threading.Thread(target=self._work, args=(run, previous), daemon=True).start()
        return run

    # -- the worker ---------------------------------------------------------------------

    def _work(self, run: _Run, previous: _Run | None) -> None:
        try:
            if previous is not None and not previous.done.is_set():
                self._progress.say("Waiting for the former run to end its step…", busy=True)
                previous.done.wait()
            if not run.stop.is_set():
                self._follow(run)
        except BaseException as error:
            run.error = error
        finally:
            with self._lock:  # so that stop() cannot say "Stopping" after the end
                if run is self._latest:
                    self._report(run)
                run.done.set()

    def _follow(self, run: _Run) -> None:
        """Iterate the generator; draw at most ten times a second, and the last record."""
        self._begin(run)
        total = self._total(run.values) if callable(self._total) else self._total
        self._progress.begin(total, run.values)
        generator = iter(self._generate(**run.values))
        drawn, last = 0, -REDRAW_SECONDS
        try:
            # A step of a big model takes seconds: the library's own computations look, in
            # the middle of a step, whether the run was stopped.
            with interruptible(run.stop.is_set):
                for record in generator:
                    run.records.append(record)
                    now = time.monotonic()
                    if now - last >= REDRAW_SECONDS:
                        drawn, last = len(run.records), now
                        self._draw(run)
                    if run.stop.is_set():
                        break
                else:
                    run.finished = True
                    if self._reached is not None and run.records:
                        run.reached = bool(self._reached(run.records, run.values))
        except Interrupted:
            if not run.stop.is_set():
                raise
        finally:
            if hasattr(generator, "close"):
                generator.close()
            if drawn < len(run.records):
                self._draw(run)

    def _begin(self, run: _Run) -> None:
        with self._drawing:
            former, self._drawn = self._drawn, run
            label = None
            if former is not None and len(former.records) >= (1 if former.finished else 2):
                self._count += 1
                self._moved |= {n for n, v in run.values.items() if v != former.values[n]}
                label = self._describe(former) or f"run {self._count}"
            for figure in self.figures:
                figure.begin(label)
            self._head.reached = False
            self._text.say("", busy=True)

    def _describe(self, run: _Run) -> str:
        """The settings by which the run differs from the others: 'λ = 0.3, μ = 1'."""
        moved = (c for c in self._controls.values() if c.name in self._moved)
        return ", ".join(control.describe(run.values[control.name]) for control in moved)

    def _draw(self, run: _Run) -> None:
        with self._drawing:
            for figure in self.figures:
                figure.draw(run.records, run.values)
            if self._readout is not None:
                self._text.say(str(self._readout(run.records, run.values)), busy=True)
        self._progress.count(len(run.records))

    def _report(self, run: _Run) -> None:
        self._text.say(self._text.text)
        ask_for_pictures(self.figures)
        count = f"{len(run.records)} record" + "s" * (len(run.records) != 1)
        if run.error is not None:
            kind, message = type(run.error).__name__, str(run.error)[:500]
            self._progress.say(f"Error after {count}: {kind}: {message}", error=True)
        elif run.finished:
            self._progress.say(
                f"Finished: {count} in {duration(self._progress.seconds)}.", full=True
            )
            self._head.reached = run.reached
        else:
            self._progress.say(f"Stopped after {count}.")
