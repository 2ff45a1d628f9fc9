"""Seconds of one call, medians over rounds, and errors as words."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter

import torch

from rlhf_lib.timing import Seconds
from rlhf_lib.timing import timed as both


@dataclass(frozen=True)
class Mode:
    """How time is taken: `threads` of torch (None leaves them), CPU or wall seconds."""

    key: str
    title: str
    threads: int | None
    clock: Callable[[Seconds], float]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Torch's threads as this mode wants them."""
        before = torch.get_num_threads()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


CPU, WALL = attrgetter("cpu"), attrgetter("wall")
CPU_1 = Mode("cpu-1", "CPU seconds, 1 thread", 1, CPU)
WALL_2 = Mode("wall-2", "wall seconds, 2 threads", 2, WALL)
CUDA = Mode("cuda", "wall seconds, GPU synchronised", None, WALL)


def modes(device: str) -> tuple[Mode, ...]:
    """The modes that mean something on a device."""
    return (CUDA,) if device == "cuda" else (CPU_1, WALL_2)


def timed(run: Callable, mode: Mode) -> tuple[float, object]:
    """(seconds, result) of one call."""
    seconds, result = both(run)
    return mode.clock(seconds), result


def settled(run: Callable, mode: Mode) -> float:
    """Median seconds of three calls: the first may find the caches cold."""
    return statistics.median(timed(run, mode)[0] for _ in range(3))


def summary(seconds: list[float], units: list[float]) -> dict[str, float]:
    """Median seconds over the rounds; median, least and most of the ratio to the round's unit."""
    ratios = [s / u for s, u in zip(seconds, units, strict=True)]
    return {
        "seconds": round(statistics.median(seconds), 6),
        "ratio": round(statistics.median(ratios), 4),
        "least": round(min(ratios), 4),
        "most": round(max(ratios), 4),
    }


def failure(error: BaseException) -> str:
    """Type and first line of the message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
