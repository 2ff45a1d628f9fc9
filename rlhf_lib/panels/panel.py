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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets

from rlhf_lib.arguments import flag, function, listed, text_of, whole
from rlhf_lib.panels.align import align
from rlhf_lib.panels.controls import Control, NumberSlider, hear_drags
from rlhf_lib.panels.display import Display
from rlhf_lib.panels.frame import SIDE_BY_SIDE, answer_while_busy, assemble, button
from rlhf_lib.panels.grip import hear_grip
from rlhf_lib.panels.run import Run
from rlhf_lib.panels.saving import keep_pictures
from rlhf_lib.panels.show import close_all, display_data
from rlhf_lib.panels.worker import FRAME_SECONDS, Worker

RESET_SECONDS = 5.0
SLOW = 4  # times as long as a frame: it follows no more

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
        controls, figures = listed("controls", controls), listed("figures", figures)
        for name, text in (("title", title), ("goal", goal), ("preview_name", preview_name)):
            text_of(name, text)
        for name, value in (("on_release", on_release), ("play", play)):
            flag(name, value)
        if follow is not None:
            flag("follow", follow)
        if not callable(first):
            flag("first", first)
        function("generate", generate)
        for name, value in (("readout", readout), ("reached", reached), ("preview", preview)):
            if value is not None:
                function(name, value)
        if total is not None and not callable(total):
            whole("total", total, 0)
        keep = whole("keep", keep, 0)
        if not all(isinstance(control, Control) for control in controls):
            raise TypeError(f"expected controls, as slider(...) makes them, got {controls!r}")
        if not all(hasattr(figure, "draw") for figure in figures):
            raise TypeError(f"expected figures, as Figure(...) makes them, got {figures!r}")
        self._controls = {control.name: control for control in controls}
        if len(self._controls) < len(controls):
            names = [control.name for control in controls]
            raise ValueError(f"expected controls of different names, got {', '.join(names)}")
        try:
            inspect.signature(generate).bind(**self.values)
        except TypeError as error:
            names = ", ".join(self._controls)
            raise TypeError(
                f"generate cannot be called with the controls {names}: expected parameters of "
                f"these names, got {error}"
            ) from None
        self.figures = list(figures)
        for figure in self.figures:
            figure.keep = keep
        self._title, self._on_release, self._first = title, on_release, first
        self._follow_it, self._follows, self._previews = follow, bool(follow), preview is not None
        self._first_run: Run | None = None  # what was drawn when the panel was shown
        for i in range(0, len(self.figures), SIDE_BY_SIDE):
            align(self.figures[i : i + SIDE_BY_SIDE])

        self._display = display = Display(
            self.figures,
            self._controls,
            readout,
            title=title,
            goal=goal,
            preview_name=preview_name,
            play=play,
        )
        self._head, self._text, self._progress = display.head, display.text, display.progress
        self._player = display.player
        self._runs = Worker(
            generate, display, total=total, preview=preview, reached=reached, ended=self._ended
        ).runs
        self._blocking = self._put_off = False  # a cell waits for a run; another was asked for
        self._gestures = 0
        self._held: dict[str, Any] = {}  # where a hand holds controls just now
        self._setter: int | None = None  # thread that sets controls without starting runs

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
        if self._player is not None:
            hear_drags(self._player, lambda content: False, self._replay)
        self._manner = ipywidgets.Label()
        self._manner.add_class("rlhf-manner")
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
            if by := getattr(figure, "start_by", ()):
                pair = [self._controls[name] for name in by]
                hear_grip(figure.widget, pair, self._set, self._drag, self._on_change)
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
        self._display.reset(self._first_run)
        self._progress.say("The controls are back at their starting values. " + self._asked())

    def clear(self) -> None:
        """Take away the ghosts of former runs."""
        self._display.clear()

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
        return list(self._display.run.records) if self._display.run else []

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
        if self._previews:
            return PREVIEWS
        return FOLLOWS if self._follows else RELEASES

    def close(self) -> None:
        """Stop the run, and take the panel's widgets out of page and kernel; its records stay.

        In JupyterLab that is done when the cell that shows the panel is run again and shows
        another one.
        """
        self.stop()
        close_all(self.widget)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        if self.widget.comm is None:
            return {"text/plain": f"Panel: {self._title} (closed: run the cell that makes it)"}
        self.show_first()
        title = f"Panel: {self._title or 'run this cell to see it'}"
        keep_pictures(self.widget, self.figures)
        return display_data(self.figures, title, self.text, self.widget, self.close, **kwargs)

    def show_first(self) -> None:
        """Draw the first state, unless something is drawn already. Raises what its run raises.

        It is no run of the reader's: no goal counts as reached by it.
        """
        if self._runs.run is not None or self._display.run is not None:
            return
        if not self._first:
            for figure in self.figures:
                figure.begin(None)  # axes and what does not move
            return
        if callable(self._first):
            run = Run(self.values)
            run.records, run.finished = list(self._first(run.values)), True
            self._display.adopt(run)
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

    def _replay(self, step: int, answer: Callable[[], None]) -> None:
        with self._display.lock:
            if self.wait(0):
                self._display.replay(step)
        answer()

    def _drag(self, values: dict[str, Any], answer: Callable[[], None]) -> None:
        if self._blocking or self.manner not in (FOLLOWS, PREVIEWS):
            return answer()
        if not self._held:
            self._gestures += 1
        self._held |= values
        values = self.values | self._held
        preview = self.manner == PREVIEWS
        held = tuple(self._held)
        self._runs.ask(
            Run(values, gesture=self._gestures, held=held, preview=preview, answer=answer)
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

    def _ended(self, run: Run) -> None:
        self._display.end(run)
        if run.finished and run.error is None and self._follow_it is None:
            # It keeps following while it gets a little slower: it should not come and go.
            self._follows = run.seconds <= FRAME_SECONDS * (SLOW if self._follows else 1)
            self._say_manner()
