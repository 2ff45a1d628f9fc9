"""A panel: controls, Run, Stop, and figures that follow a generator of records.

Callbacks of widgets only set flags and start a thread, so that the page never freezes.
One worker thread makes the runs, one after the other, because two may work on the same model, and
of several that wait only the latest. It alone writes to the figures while it runs.

While a control is dragged, the page sends a value, and the next one when that has been drawn. So
nothing queues: a slow machine, or a slow line, sees fewer of the values that the hand passes.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import ipywidgets

from rlhf_lib.interrupt import Interrupted, interruptible
from rlhf_lib.panels.align import align
from rlhf_lib.panels.controls import Control, NumberSlider, hear_drags
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
from rlhf_lib.panels.player import Player
from rlhf_lib.panels.run import Latest, Run
from rlhf_lib.panels.saving import ask_for_pictures, keep_pictures
from rlhf_lib.panels.show import display_data

REDRAW_SECONDS = 0.1
RESET_SECONDS = 5.0
# A run that takes no longer follows the hand. One under the hand that takes longer all the same is
# drawn as far as it is, and makes way when the hand has moved on.
FRAME_SECONDS = 0.05
SLOW = 4  # times as long: it follows no more

REPLAYED = "replayed"  # among a figure's values while a run is gone through once more

FOLLOWS = "follows your hand"
PREVIEWS = "previews while you drag, runs on release"
RELEASES = "runs on release"
PRESSES = "runs when you press Run"


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

    While a control is dragged, a panel whose runs take at most 50 ms follows it; `follow=True` or
    `False` says so whatever they take. `preview(values)`, quick as well, gives records to draw
    meanwhile where a run takes longer; with a `preview_name` they stay under it as a former run.
    Otherwise a panel acts on release. `manner` says which of these it does.

    With `play=True` there is a button that goes through the steps of a run once more. A figure with
    `start_by`, the names of two controls, lets a hand drag the start in the plot itself.
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
        follow: bool | None = None,
        preview: Callable[[dict[str, Any]], Iterable[Any]] | None = None,
        preview_name: str = "",
        play: bool = False,
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
        self._follow_it, self._preview, self._preview_name = follow, preview, preview_name
        self._follows = bool(follow)
        self._first_run: Run | None = None  # what was drawn when the panel was shown
        for i in range(0, len(self.figures), SIDE_BY_SIDE):
            align(self.figures[i : i + SIDE_BY_SIDE])

        self._runs = Latest(self._work)
        self._drawn: Run | None = None  # the one in the figures
        self._blocking = self._put_off = False  # a cell waits for a run; another was asked for
        self._gestures = 0
        self._held: dict[str, Any] = {}  # where a hand holds controls just now
        self._setter: int | None = None  # thread that sets controls without starting runs
        self._drawing = threading.RLock()  # held while figures are written
        self._moved: set[str] = set()  # controls by which the kept runs differ
        self._count = 0
        self._replayed = False  # a part of the run is shown

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
        self._player = Player() if play else None
        if self._player is not None:
            hear_drags(self._player, lambda content: False, self._replay)
        self._manner = ipywidgets.Label()
        self._manner.add_class("rlhf-manner")
        self._head = Head(title=title, goal=goal and f"Goal: {goal}")
        self.widget = assemble(
            self._head,
            [control.widget for control in controls],
            buttons,
            self._progress,
            self._manner,
            [figure.widget for figure in self.figures],
            self._text,
            self._player,
        )
        for figure in self.figures:
            if getattr(figure, "start_by", ()):
                self._listen_to_grip(figure)
        for control in controls:
            control.widget.observe(self._on_change, names="value")
            if isinstance(control.widget, NumberSlider):
                control.widget.on_drag(self._dragger(control.name))
                control.widget.observe(self._on_rest, names="rest")
        self._say_manner()

    # -- what a notebook or a test calls ------------------------------------------------

    def run(self, **values: Any) -> list[Any]:
        """Set these controls, run to the end and return the records.

        Controls not named go to their starting values, so that a call does not depend on what a
        reader chose before. Raises ValueError for an unknown name or a value out of range, and
        whatever the generator raised. If Stop is pressed meanwhile, the records so far are
        returned.
        """
        self._set(self._starts() | values)
        self._held, self._blocking, self._put_off = {}, True, False
        run = self._ask()
        try:
            run.done.wait()
        except KeyboardInterrupt:  # the notebook's own interrupt button
            run.stop.set()
            raise
        finally:
            self._blocking = False
            if self._put_off:
                self._ask()
        if run.error is not None:
            raise run.error
        return list(run.records)

    def stop(self) -> None:
        """Ask the run to stop; returns at once, `wait` waits for its end. It stops at its
        next record, or inside a step where the library's own computations look."""
        with self._runs.lock:
            run = self._runs.run
            if run is not None and not run.done.is_set():
                run.stop.set()
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
        run = self._runs.run
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
        return self._runs.run.error if self._runs.run else None

    @property
    def manner(self) -> str:
        """What it does while a control is dragged."""
        if not self._on_release:
            return PRESSES
        if self._preview is not None:
            return PREVIEWS
        return FOLLOWS if self._follows else RELEASES

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        self.show_first()
        title = f"Panel: {self._title or 'run this cell to see it'}"
        keep_pictures(self.widget, self.figures)
        return display_data(self.figures, title, self.text, self.widget, **kwargs)

    def show_first(self) -> None:
        """Draw the first state, unless something is drawn already. Raises what its run raises.

        It is no run of the reader's: no goal counts as reached by it.
        """
        if self._runs.run is not None or self._drawn is not None:
            return
        if not self._first:
            for figure in self.figures:
                figure.begin(None)  # axes and what does not move
            return
        if callable(self._first):
            run = Run(self.values)
            run.records, run.finished = list(self._first(run.values)), True
            self._drawn = run
            self._progress.begin(None, self.values)
            self._draw(run)
        else:
            self.run()
            assert self._runs.run is not None
            run = self._runs.run
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
        elif self._runs.run is None or self._runs.run.done.is_set():
            self._progress.say("The controls have changed. Press Run to see the effect.")

    def _on_rest(self, change: Any) -> None:
        # The hand has come back to where it began. An older rest may come after its first moves.
        if self._held and change["new"] > change["owner"].held_since:
            self._start()

    def _dragger(self, name: str) -> Callable[[float, Callable[[], None]], None]:
        """What a control of this name does while it is dragged."""
        check = self._controls[name].check
        return lambda value, answer: self._drag({name: check(value)}, answer)

    def _listen_to_grip(self, figure: Any) -> None:
        """Let a hand drag the start in the plot, where two sliders would set it."""
        plot, pair = figure.widget, [self._controls[name] for name in figure.start_by]
        plot.grip = True

        def placed(at: Sequence[float]) -> dict[str, Any]:
            """The sliders' nearest values, which they show as well."""
            values = {}
            for control, v in zip(pair, at, strict=True):
                nearest = min(control.widget.stops, key=lambda stop: abs(stop - v))
                values[control.name] = control.check(nearest)
            self._set(values)
            return values

        def rest(change: Any) -> None:
            placed(change["new"][1:])
            self._on_change(change)

        hear_drags(
            plot,
            lambda content: content["rest"] < plot.rest[0],
            lambda at, answer: self._drag(placed(at), answer),
        )
        plot.observe(rest, names="rest")

    def _replay(self, step: int, answer: Callable[[], None]) -> None:
        """Show the run as it was at this record."""
        with self._drawing:
            run = self._drawn
            if run is not None and self.wait(0) and step < len(run.records):
                self._replayed = step + 1 < len(run.records)
                values = run.values | {REPLAYED: True} if self._replayed else run.values
                for figure in self.figures:
                    figure.draw(run.records[: step + 1], values)
                if self._readout is not None:
                    self._text.say(str(self._readout(run.records[: step + 1], run.values)))
        answer()

    def _drag(self, values: dict[str, Any], answer: Callable[[], None]) -> None:
        if self._blocking or self.manner not in (FOLLOWS, PREVIEWS):
            return answer()
        if not self._held:
            self._gestures += 1
        self._held |= values
        values = self.values | self._held
        preview = self.manner == PREVIEWS
        self._runs.ask(
            Run(values, gesture=self._gestures, held=True, preview=preview, answer=answer)
        )

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

    def _start(self) -> Run | None:
        if not self._blocking:
            return self._ask()
        self._put_off = True  # the cell's own run is not for a hand to end
        return None

    def _ask(self) -> Run:
        gesture = self._gestures if self._held else None
        self._held = {}
        run = Run(self.values, gesture=gesture)
        if self._runs.ask(run) and gesture is None:
            self._progress.say("Waiting for the former run to end its step…", busy=True)
        return run

    def _say_manner(self) -> None:
        self._manner.value = self.manner
        for control in self._controls.values():
            if isinstance(control.widget, NumberSlider):
                control.widget.alive = self.manner in (FOLLOWS, PREVIEWS)

    # -- the worker ---------------------------------------------------------------------

    def _work(self, run: Run) -> None:
        try:
            if not run.stop.is_set():
                if run.held:
                    self._show_held(run)
                elif (drawn := self._drawn) and run.continues(drawn) and not drawn.preview:
                    self._conclude(run, drawn)
                else:
                    self._go(run)
            if run.finished and not run.held and run.records and self._reached is not None:
                run.reached = bool(self._reached(run.records, run.values))
        except BaseException as error:
            run.error = error
        finally:
            run.answer()
            with self._runs.lock:  # so that stop() cannot say "Stopping" after the end
                if run is self._runs.run and (run.error or not run.held):
                    self._report(run)
                run.done.set()

    def _go(self, run: Run) -> None:
        """Make a run; draw at most ten times a second, and the last record."""
        with self._drawing:
            self._begin(run)
        total = self._total(run.values) if callable(self._total) else self._total
        self._progress.begin(total, run.values)
        last = -REDRAW_SECONDS

        def each() -> None:
            nonlocal last
            if time.monotonic() - last >= REDRAW_SECONDS:
                last = time.monotonic()
                self._draw(run)
                self._progress.count(len(run.records))

        self._follow(run, self._generate(**run.values), run.stop.is_set, each)

    def _show_held(self, run: Run) -> None:
        """Draw what a value under the hand gives, as far as it has come where that takes long."""
        preview = self._preview if run.preview else None
        made = self._generate(**run.values) if preview is None else preview(run.values)
        since, wait = time.monotonic(), FRAME_SECONDS

        def leave() -> bool:
            return run.stop.is_set() or (wait == REDRAW_SECONDS and self._runs.waiting)

        def each() -> None:
            nonlocal since, wait
            if time.monotonic() - since > wait:
                since, wait = time.monotonic(), REDRAW_SECONDS
                self._draw(run)
                run.answer()

        self._follow(run, made, leave, each)

    def _conclude(self, run: Run, shown: Run) -> None:
        """The hand rests where it was followed to: that value's run is the one that counts."""
        if shown.finished and shown.values == run.values:
            run.records, run.seconds, run.finished = shown.records, shown.seconds, True
            self._drawn = run
        else:
            self._follow(run, self._generate(**run.values), run.stop.is_set, lambda: None)
        self._progress.set(run.values)

    def _follow(
        self, run: Run, made: Iterable[Any], leave: Callable[[], bool], each: Callable[[], None]
    ) -> None:
        """Gather records until their end or until `leave()`, and draw the last one; `each()` after
        each of them."""
        records, drawing = iter(made), 0.0
        since = time.monotonic()
        try:
            # A step of a big model takes seconds: the library's own computations look, in
            # the middle of a step, whether the run was stopped.
            with interruptible(leave):
                for record in records:
                    run.records.append(record)
                    now = time.monotonic()
                    each()
                    drawing += time.monotonic() - now
                    if leave():
                        break
                else:
                    run.finished = True
                run.seconds = time.monotonic() - since - drawing
        except Interrupted:
            if not leave():
                raise
        finally:
            if hasattr(records, "close"):
                records.close()
            if run.drawn < len(run.records):
                self._draw(run)

    def _begin(self, run: Run) -> None:
        """What is drawn becomes that of a former run."""
        if self._replayed and self._drawn is not None:
            self._replayed = False
            for figure in self.figures:
                figure.draw(self._drawn.records, self._drawn.values)
        former, self._drawn = self._drawn, run
        label = None
        if former is not None and former.preview:
            label = (run.continues(former) and self._preview_name) or None
        elif former is not None and len(former.records) >= (1 if former.finished else 2):
            self._count += 1
            self._moved |= {n for n, v in run.values.items() if v != former.values[n]}
            self._moved |= set(self._held)
            label = self._describe(former) or f"run {self._count}"
        for figure in self.figures:
            if self._preview_name and label != self._preview_name:
                figure.forget(self._preview_name)
            figure.begin(label)
        self._head.reached = False
        self._text.say("", busy=True)

    def _describe(self, run: Run) -> str:
        """The settings by which the run differs from the others: 'λ = 0.3, μ = 1'."""
        moved = (c for c in self._controls.values() if c.name in self._moved)
        return ", ".join(control.describe(run.values[control.name]) for control in moved)

    def _draw(self, run: Run) -> None:
        with self._drawing, ExitStack() as sent:
            if run is not self._drawn:  # a value under the hand: one message to each figure
                for widget in (self._text, *(figure.widget for figure in self.figures)):
                    sent.enter_context(widget.hold_sync())
                if run.continues(self._drawn):
                    self._drawn = run
                else:
                    self._begin(run)
                    self._progress.say("A preview…" if run.preview else "Following…", busy=True)
            run.drawn = len(run.records)
            for figure in self.figures:
                figure.draw(run.records, run.values)
            if self._readout is not None:
                self._text.say(str(self._readout(run.records, run.values)), busy=True)

    def _report(self, run: Run) -> None:
        self._text.say(self._text.text)
        ask_for_pictures(self.figures)
        if self._player is not None:
            self._player.load(len(run.records))
        count = f"{len(run.records)} record" + "s" * (len(run.records) != 1)
        if run.error is not None:
            kind, message = type(run.error).__name__, str(run.error)[:500]
            self._progress.say(f"Error after {count}: {kind}: {message}", error=True)
        elif run.finished:
            self._progress.say(f"Finished: {count} in {duration(run.seconds)}.", full=True)
            self._head.reached = run.reached
            if self._follow_it is None:
                # It keeps following while it gets a little slower: it should not come and go.
                self._follows = run.seconds <= FRAME_SECONDS * (SLOW if self._follows else 1)
                self._say_manner()
        else:
            self._progress.say(f"Stopped after {count}.")
