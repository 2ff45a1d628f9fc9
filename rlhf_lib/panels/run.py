"""One run of a panel, and the thread that makes the run asked for last and skips those before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from rlhf_lib.interrupt import Interrupted, interruptible


class Run:
    """One pass through a generator, with the values it was started with.

    `gesture` numbers the movement of a hand that it belongs to; `held`
    names the controls that the hand holds: a value under it is drawn and not announced, and
    `answer()` is called when it has been drawn.
    """

    def __init__(
        self,
        values: dict[str, Any],
        *,
        gesture: int | None = None,
        held: Collection[str] = (),
        preview: bool = False,
        answer: Callable[[], None] = lambda: None,
    ):
        self.values, self.gesture, self.held, self.preview = values, gesture, held, preview
        self._answer: Callable[[], None] | None = answer
        self.records: list[Any] = []
        self.error: BaseException | None = None
        self.drawn = 0  # records that the figures show
        self.seconds = 0.0  # that the generator has taken
        self.finished = False  # the generator came to its end
        self.reached = False  # and the goal was reached
        self.stop = threading.Event()
        self.done = threading.Event()

    def continues(self, former: Run | None) -> bool:
        """Whether the same hand has asked for both."""
        return former is not None and self.gesture is not None and self.gesture == former.gesture

    def gather(
        self, made: Iterable[Any], leave: Callable[[], bool], each: Callable[[], None]
    ) -> None:
        """Take records until their end or until `leave()`; `each()` after each of them."""
        records, drawing = iter(made), 0.0
        since = time.monotonic()
        try:
            # A step of a big model takes seconds: the library's own computations look, in
            # the middle of a step, whether the run was stopped.
            with interruptible(leave):
                for record in records:
                    self.records.append(record)
                    now = time.monotonic()
                    each()
                    drawing += time.monotonic() - now
                    if leave():
                        break
                else:
                    self.finished = True
                self.seconds = time.monotonic() - since - drawing
        except Interrupted:
            if not leave():
                raise
        finally:
            if hasattr(records, "close"):
                records.close()

    def answer(self) -> None:
        """Tell the page that it may send its next value; once."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer()


class Latest:
    """Makes runs by `work(run)`, one at a time; of those that wait only the latest.

    `lock` is held while a run is asked for or ends.
    """

    def __init__(self, work: Callable[[Run], None]):
        self.lock = threading.Lock()
        self.run: Run | None = None  # asked for last, perhaps still waiting
        self._next: Run | None = None
        self._work, self._working = work, False

    @property
    def waiting(self) -> bool:
        """Whether a newer run waits for the end of the one that is made."""
        return self._next is not None

    def ask(self, run: Run) -> bool:
        """Make this run; whether another one must end first. A run for another hand, or for none,
        stops the one before."""
        with self.lock:
            former, self.run = self.run, run
            if former is not None and not run.continues(former):
                former.stop.set()
            skipped, self._next = self._next, run
            busy, self._working = self._working, True
        if skipped is not None:
            skipped.answer()
            skipped.done.set()
        if not busy:
            threading.Thread(target=self._loop, daemon=True).start()
        return busy

    def _loop(self) -> None:
        while True:
            with self.lock:
                run, self._next = self._next, None
                if run is None:
                    self._working = False
                    return
            self._work(run)
