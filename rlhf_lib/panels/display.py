"""What a panel shows of its runs: figures, read-out, progress, and whether the goal was reached."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rlhf_lib.panels.controls import Control
from rlhf_lib.panels.frame import Head, LiveText, Progress, duration
from rlhf_lib.panels.player import Player
from rlhf_lib.panels.run import Run
from rlhf_lib.panels.saving import ask_for_pictures

REPLAYED = "replayed"  # among a figure's values while a run is gone through once more


class Display:
    """One run in the figures, over what former runs have left there, and words on it.

    `lock` is held while figures are written. `preview_name` is that of a preview under its run.
    """

    def __init__(
        self,
        figures: Sequence[Any],
        controls: Mapping[str, Control],
        readout: Callable[[list[Any], dict[str, Any]], str] | None,
        *,
        title: str,
        goal: str,
        preview_name: str,
        play: bool,
    ):
        self.figures, self._controls, self._readout = figures, controls, readout
        self.head = Head(title=title, goal=goal and f"Goal: {goal}")
        self.progress, self.text = Progress(), LiveText()
        self.player = Player() if play else None
        self.lock = threading.RLock()
        self.run: Run | None = None  # the one in the figures
        self._preview_name = preview_name
        self._moved: set[str] = set()  # controls by which the kept runs differ
        self._count = 0
        self._replayed = False  # a part of the run is shown

    def begin(self, run: Run) -> None:
        """What is drawn becomes that of a former run."""
        with self.lock:
            if self._replayed and self.run is not None:
                self._replayed = False
                self._put(self.run.records, self.run.values)
            former, self.run = self.run, run
            label = None
            if former is not None and former.preview:
                label = (run.continues(former) and self._preview_name) or None
            elif former is not None and len(former.records) >= (1 if former.finished else 2):
                self._count += 1
                self._moved |= {n for n, v in run.values.items() if v != former.values[n]}
                self._moved |= set(run.held)
                label = self._describe(former) or f"run {self._count}"
            for figure in self.figures:
                if self._preview_name and label != self._preview_name:
                    figure.forget(self._preview_name)
                figure.begin(label)
            self.head.reached = False
            self.text.say("", busy=True)

    def draw(self, run: Run) -> None:
        """Show the records so far."""
        with self.lock, ExitStack() as sent:
            if run is not self.run:  # a value under the hand: one message to each figure
                for widget in (self.text, *(figure.widget for figure in self.figures)):
                    sent.enter_context(widget.hold_sync())
                if run.continues(self.run):
                    self.run = run
                else:
                    self.begin(run)
                    self.progress.say("A preview…" if run.preview else "Following…", busy=True)
            run.drawn = len(run.records)
            self._put(run.records, run.values)
            self._say(run.records, run.values, busy=True)

    def adopt(self, run: Run) -> None:
        """Show a run that was not made just now as the one in the figures."""
        self.run = run
        self.progress.begin(None, run.values)
        self.draw(run)

    def replay(self, step: int) -> None:
        """Show the run as it was at this record."""
        run = self.run
        if run is not None and step < len(run.records):
            self._replayed = step + 1 < len(run.records)
            values = run.values | {REPLAYED: True} if self._replayed else run.values
            self._put(run.records[: step + 1], values)
            self._say(run.records[: step + 1], run.values)

    def end(self, run: Run) -> None:
        """Say how a run has ended."""
        self.text.say(self.text.text)
        ask_for_pictures(self.figures)
        if self.player is not None:
            self.player.load(len(run.records))
        count = f"{len(run.records)} record" + "s" * (len(run.records) != 1)
        if run.error is not None:
            kind, message = type(run.error).__name__, str(run.error)[:500]
            self.progress.say(f"Error after {count}: {kind}: {message}", error=True)
        elif run.finished:
            self.progress.say(f"Finished: {count} in {duration(run.seconds)}.", full=True)
            self.head.reached = run.reached
        else:
            self.progress.say(f"Stopped after {count}.")

    def clear(self) -> None:
        """Take away what former runs have left."""
        with self.lock:
            for figure in self.figures:
                figure.clear()
            self._moved.clear()

    def reset(self, first: Run | None) -> None:
        """Nothing but this run."""
        with self.lock:
            self.run = None
            for figure in self.figures:
                figure.begin(None)
            self.clear()
            self.head.reached = False
            if first is not None:
                self.adopt(first)
            self.text.say(self.text.text if first is not None else "")

    def _put(self, records: list[Any], values: dict[str, Any]) -> None:
        for figure in self.figures:
            figure.draw(records, values)

    def _say(self, records: list[Any], values: dict[str, Any], *, busy: bool = False) -> None:
        if self._readout is not None:
            self.text.say(str(self._readout(records, values)), busy=busy)

    def _describe(self, run: Run) -> str:
        """The settings by which the run differs from the others: 'λ = 0.3, μ = 1'."""
        moved = (c for c in self._controls.values() if c.name in self._moved)
        return ", ".join(control.describe(run.values[control.name]) for control in moved)
