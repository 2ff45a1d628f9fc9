"""The thread of a panel that makes its runs, one after the other, and has them drawn meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rlhf_lib.interrupt import followed
from rlhf_lib.panels.display import Display
from rlhf_lib.panels.run import Latest, Run

REDRAW_SECONDS = 0.1
# A run that takes no longer follows the hand. One under the hand that takes longer all the same is
# drawn as far as it is, and makes way when the hand has moved on.
FRAME_SECONDS = 0.05

Values = dict[str, Any]


class Worker:
    """Makes runs of `generate(**values)`, or previews of them, and shows them in a display.

    `ended(run)` is called at the end of a run that was asked for last, before those who wait for it
    go on. The other arguments are told at `Panel`.
    """

    def __init__(
        self,
        generate: Callable[..., Iterable[Any]],
        display: Display,
        *,
        total: int | Callable[[Values], int | None] | None,
        preview: Callable[[Values], Iterable[Any]] | None,
        reached: Callable[[list[Any], Values], Any] | None,
        ended: Callable[[Run], None],
    ):
        self._generate, self._display, self._preview = generate, display, preview
        self._total, self._reached, self._ended = total, reached, ended
        self.runs = Latest(self._work)

    def _work(self, run: Run) -> None:
        try:
            if not run.stop.is_set():
                drawn = self._display.run
                if run.held:
                    self._show_held(run)
                elif drawn and run.continues(drawn) and not drawn.preview:
                    self._conclude(run, drawn)
                else:
                    self._go(run)
            if run.finished and not run.held and run.records and self._reached is not None:
                run.reached = bool(self._reached(run.records, run.values))
        except BaseException as error:
            run.error = error
        finally:
            self._end(run)

    def _end(self, run: Run) -> None:
        """Say how it ended; whoever waits goes on whatever happens, or waits for ever."""
        try:
            run.answer()
            with self.runs.lock:  # so that stop() cannot say "Stopping" after the end
                if run is self.runs.run and (run.error or not run.held):
                    self._ended(run)
        except Exception as error:
            run.error = run.error or error
        finally:
            run.done.set()

    def _go(self, run: Run) -> None:
        """Make a run; draw at most ten times a second, and the last record."""
        self._display.begin(run)
        progress = self._display.progress
        progress.begin(
            self._total(run.values) if callable(self._total) else self._total, run.values
        )
        due = 0.0

        def each() -> None:
            nonlocal due
            if (begun := time.monotonic()) >= due:
                self._display.draw(run)
                progress.count(len(run.records))
                ended = time.monotonic()
                # Many records take long to draw: drawing gets half of the time, at most.
                due = ended + max(REDRAW_SECONDS, ended - begun)

        with followed(progress.within):
            self._follow(run, self._generate(**run.values), run.stop.is_set, each)

    def _show_held(self, run: Run) -> None:
        """Draw what a value under the hand gives, as far as it has come where that takes long."""
        preview = self._preview if run.preview else None
        made = self._generate(**run.values) if preview is None else preview(run.values)
        due, wait = time.monotonic() + FRAME_SECONDS, FRAME_SECONDS

        def leave() -> bool:
            return run.stop.is_set() or (wait == REDRAW_SECONDS and self.runs.waiting)

        def each() -> None:
            nonlocal due, wait
            if (begun := time.monotonic()) > due:
                wait = REDRAW_SECONDS
                self._display.draw(run)
                run.answer()
                ended = time.monotonic()
                due = ended + max(wait, ended - begun)

        self._follow(run, made, leave, each)

    def _conclude(self, run: Run, shown: Run) -> None:
        """The hand rests where it was followed to: that value's run is the one that counts."""
        if shown.finished and shown.values == run.values:
            run.records, run.seconds, run.finished = shown.records, shown.seconds, True
            self._display.run = run
        else:
            self._follow(run, self._generate(**run.values), run.stop.is_set, lambda: None)
        self._display.progress.set(run.values)

    def _follow(
        self, run: Run, made: Iterable[Any], leave: Callable[[], bool], each: Callable[[], None]
    ) -> None:
        """Gather the records, and draw the last one."""
        try:
            run.gather(made, leave, each)
        finally:
            if run.drawn < len(run.records):
                self._display.draw(run)
