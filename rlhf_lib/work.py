"""The work of a computation, counted; and the prices by which `solver="auto"` chooses."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Literal, Protocol

# Vectors that an iteration of conjugate gradients reads and writes beside its product.
CG_MOVES = 12


@dataclass(frozen=True)
class Work:
    """What a machine has to do. All are plain numbers and add up.

    Attributes:
        flops: floating-point operations of matrix products, two for each multiplication.
        operands: numbers that matrix products read and write.
        elements: numbers that all other operations read and write.
        vectors: numbers moved, read and written, in vectors as long as the parameters, which no
            cache holds.
        calls: operations called.
    """

    flops: float = 0.0
    operands: float = 0.0
    elements: float = 0.0
    vectors: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self.numbers, other.numbers, strict=True)))

    def __mul__(self, factor: float) -> Work:
        return Work(*(factor * a for a in self.numbers))

    __rmul__ = __mul__

    def __radd__(self, other: Literal[0]) -> Work:
        return self if other == 0 else NotImplemented  # so that sum() works

    @property
    def numbers(self) -> tuple[float, ...]:
        """In the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))


class Prices(Protocol):
    """Anything that says how many seconds some work takes."""

    def seconds(self, work: Work) -> float:
        """Predicted seconds."""


_known: list[Prices] = []


def known() -> Prices | None:
    """What :func:`calibrated` names at present, None if there is nothing."""
    return _known[-1] if _known else None


@contextmanager
def calibrated(prices: Prices) -> Generator[Prices]:
    """Within the block `solver="auto"` goes by these seconds instead of counts alone.

    >>> class Fast:
    ...     def seconds(self, work):
    ...         return 1e-11 * work.flops
    >>> with calibrated(Fast()) as prices:
    ...     known() is prices
    True
    """
    _known.append(prices)
    try:
        yield prices
    finally:
        _known.remove(prices)
