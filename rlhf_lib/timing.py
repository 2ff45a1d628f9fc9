"""Seconds: of the clock on the wall and of this process on its processors, taken in one way."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

Result = TypeVar("Result")


@dataclass(frozen=True)
class Seconds:
    """wall: by the clock. cpu: of this process, all its threads together."""

    wall: float
    cpu: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True)
class Rounds:
    """The seconds of one call in each round: `wall` and `cpu`, a number a round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> Seconds:
        """For a machine with other work."""
        return Seconds(statistics.median(self.wall), statistics.median(self.cpu))

    @property
    def least(self) -> Seconds:
        """What the call takes when nothing disturbs it."""
        return Seconds(min(self.wall), min(self.cpu))


class Stopwatch:
    """Runs from its construction on."""

    def __init__(self):
        self._start = _now()

    @property
    def seconds(self) -> Seconds:
        """Since the construction, without what was `left_out`."""
        return _now() - self._start

    @contextmanager
    def left_out(self) -> Generator[None]:
        """What is done in here does not count."""
        stopped = _now()
        try:
            yield
        finally:
            self._start += _now() - stopped


def timed(call: Callable[[], Result]) -> tuple[Seconds, Result]:
    """(seconds, result) of one call, with what it left to a GPU to do."""
    _finish()
    watch = Stopwatch()
    result = call()
    _finish()
    return watch.seconds, result


def rounds(
    calls: Mapping[str, Callable[[], object]], repeats: int, *, warmup: int = 1
) -> dict[str, Rounds]:
    """The seconds of each call, taken in turn, so that a busy spell hits all of them alike.

    Args:
        calls: functions without arguments, by name.
        repeats: measured rounds, at least 1. warmup: rounds before these, not measured.

    >>> taken = rounds({"sum": lambda: sum(range(1000)), "nothing": lambda: None}, 5)
    >>> taken["sum"].median.cpu > taken["nothing"].least.cpu >= 0
    True
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"expected repeats >= 1 and warmup >= 0, got {repeats} and {warmup}")
    for _ in range(warmup):
        for call in calls.values():
            call()
    taken: dict[str, list[Seconds]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            taken[name].append(timed(call)[0])
    return {
        name: Rounds(tuple(s.wall for s in each), tuple(s.cpu for s in each))
        for name, each in taken.items()
    }


def _now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def _finish() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
