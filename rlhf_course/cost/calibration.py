"""Seconds and memory from counts: six constants of a machine, fitted to a few measured runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from rlhf_lib.work import Work

_COUNTS = ("flop", "operand", "element", "vector", "call")
_LOOSE = ("graph", "passing")  # made of many tensors of many sizes


@dataclass(frozen=True)
class Machine:
    """Seconds for each count of a :class:`~rlhf_lib.work.Work`, and the allocator's slack.

    Attributes:
        flop: of one floating-point operation in a matrix product; 1 / flop is the machine's rate.
        operand: of a number that a matrix product reads or writes (small products wait for these).
        element: of a number that another operation reads or writes.
        vector: of a number moved in a vector as long as the parameters.
        call: of calling an operation.
        slack: memory that the process holds for each byte of activations in use: many tensors of
            many sizes leave gaps that no other fits in. Vectors have none.

    Raises:
        ValueError: a constant below 0, all of the first five 0, or a slack below 1.
    """

    flop: float = 0.0
    operand: float = 0.0
    element: float = 0.0
    vector: float = 0.0
    call: float = 0.0
    slack: float = 1.0

    def __post_init__(self):
        if not self.slack >= 1:
            raise ValueError(f"expected a slack of at least 1, got {self.slack}")
        if not all(0 <= c < float("inf") for c in self.constants) or not any(self.constants):
            raise ValueError(f"expected constants of at least 0 and one above 0, got {self}")

    @property
    def constants(self) -> tuple[float, ...]:
        """In the order of :attr:`Work.numbers`."""
        return tuple(getattr(self, name) for name in _COUNTS)

    def seconds(self, work: Work) -> float:
        """Predicted seconds."""
        return sum(c * x for c, x in zip(self.constants, work.numbers, strict=True))

    def parts(self, work: Work) -> dict[str, float]:
        """The same, by the constants' names."""
        products = (c * x for c, x in zip(self.constants, work.numbers, strict=True))
        return dict(zip(_COUNTS, products, strict=True))

    def peak_bytes(self, memory: Mapping[str, int]) -> float:
        """Resident bytes for what :meth:`Transformer.memory` counts."""
        return sum(b * (self.slack if key in _LOOSE else 1) for key, b in memory.items())

    @classmethod
    def fit(
        cls,
        runs: Iterable[tuple[Work, float]],
        peaks: Iterable[tuple[Mapping[str, int], float]] = (),
    ) -> Machine:
        """The constants with the least sum of squared relative errors, none below 0.

        Args:
            runs: work and the seconds that it took, five at least, of unlike proportions: small and
                large hidden sizes, few and many tokens. Least of some repeats, of a process's own
                CPU time on one thread, where other load is about.
            peaks: counted memory and the resident bytes that were seen at the peak.

        Raises:
            ValueError: fewer than five runs, or seconds that are not above 0.
        """
        runs = list(runs)
        if len(runs) < len(_COUNTS):
            raise ValueError(
                f"expected at least {len(_COUNTS)} runs for as many constants, got {len(runs)}"
            )
        if not all(0 < seconds < float("inf") for _, seconds in runs):
            raise ValueError(f"expected seconds above 0, got {[seconds for _, seconds in runs]}")
        rows = torch.tensor([work.numbers for work, _ in runs], dtype=torch.float64)
        rows = rows / torch.tensor([seconds for _, seconds in runs], dtype=torch.float64)[:, None]
        constants = _non_negative_least_squares(rows, torch.ones_like(rows[:, 0]))
        return cls(*constants, slack=_slack(list(peaks)))


def _slack(peaks: list[tuple[Mapping[str, int], float]]) -> float:
    """The slack of least squared relative errors, 1 without peaks."""
    above = below = 0.0
    for memory, seen in peaks:
        loose = sum(b for key, b in memory.items() if key in _LOOSE) / seen
        tight = sum(b for key, b in memory.items() if key not in _LOOSE) / seen
        above += loose * (1 - tight)
        below += loose * loose
    return max(1.0, above / below) if below else 1.0


def _non_negative_least_squares(A: torch.Tensor, b: torch.Tensor) -> list[float]:
    """argmin |Ax - b| over x >= 0, by trying each set of free coordinates: there are few."""
    n = A.shape[1]
    scale = A.norm(dim=0)
    scale = torch.where(scale > 0, scale, 1.0)
    best, least = [0.0] * n, float("inf")
    for mask in range(1, 2**n):
        free = [i for i in range(n) if mask >> i & 1]
        columns = A[:, free] / scale[free]
        x = torch.linalg.lstsq(columns, b[:, None], driver="gelsd").solution[:, 0]
        error = float((columns @ x - b).norm())
        # Of equally good sets the first, which is the smallest of a chain, stays.
        if bool((x >= 0).all()) and error < least * (1 - 1e-12):
            least, best = error, [0.0] * n
            for i, value in zip(free, x / scale[free], strict=True):
                best[i] = float(value)
    return best
