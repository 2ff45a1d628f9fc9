"""How long models take, measured side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..arguments import whole
from ..timing import rounds


@dataclass(frozen=True)
class Latency:
    """Seconds of one call.

    Attributes:
        wall, cpu: medians of wall time and of the process's CPU time (all its threads).
        low, high: quartiles of the CPU time.
    """

    wall: float
    cpu: float
    low: float
    high: float


@torch.inference_mode()
def latency(
    calls: dict[str, Callable[[], object]], *, repeats: int = 15, warmup: int = 2
) -> dict[str, Latency]:
    """Median seconds of each call, taken in turn, so that a busy spell hits all of them alike.

    calls: functions without arguments, such as ``lambda: model(**encoded)``, by name. On a machine
        with other work compare CPU times, as ratios.
    repeats: measured rounds, 2 at least. warmup: rounds before, not measured.
    """
    repeats, warmup = whole("repeats", repeats, 2), whole("warmup", warmup, 0)
    if not (isinstance(calls, dict) and calls and all(map(callable, calls.values()))):
        raise TypeError(f"expected a dict of functions by name, got {calls!r}")
    result = {}
    for name, taken in rounds(calls, repeats, warmup=warmup).items():
        low, middle, high = statistics.quantiles(taken.cpu, n=4, method="inclusive")
        result[name] = Latency(taken.median.wall, middle, low, high)
    return result
