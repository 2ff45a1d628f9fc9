"""From numbers to a verdict: what a claim needs, stated once for all claims.

A comparison is a list of *benefits*, one for each seed: positive where that seed speaks for the
claim. Its 95 % interval is Student's, mean ± t s / √n (two-sided, n - 1 degrees of freedom).

- The interval lies above 0: **for** the claim. Below 0: **against** it. Around 0: **open**.
- A claim is *supported* if all its comparisons are for it; *not supported* if one is against it and
  none for it. It *depends* if one is for it and one against it: on what the two differ in. Without
  any against it, and not all for it, it is *undecided*: more seeds would have to tell.

The intervals are not corrected for being many. What is counted, not measured (bytes, a derivative
that is zero), is exact: its interval is the number itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SUPPORTED, NOT_SUPPORTED, DEPENDS = "supported", "not supported", "depends"
UNDECIDED = "undecided"
NOT_TESTED, NOT_RECORDED = "not tested", "not recorded yet"
FOR, AGAINST, OPEN = "for", "against", "open"
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """One test of a claim.

    Attributes:
        about: what is compared with what, on what, at equal what.
        benefits: one number for each seed, positive where it speaks for the claim.
        unit: of the benefits.
        exact: counted, not measured.
        of: what the benefits are one each of: "seeds", or the "rounds" of a benchmark.
    """

    about: str
    benefits: tuple[float, ...]
    unit: str
    exact: bool = False
    of: str = "seeds"

    @property
    def mean(self) -> float:
        """Mean benefit."""
        return sum(self.benefits) / len(self.benefits)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean benefit."""
        return (self.mean, self.mean) if self.exact else interval(self.benefits)

    @property
    def says(self) -> str:
        """ "for", "against" or "open", by the interval alone."""
        low, high = self.interval
        return FOR if low > 0 else AGAINST if high < 0 else OPEN

    def __str__(self) -> str:
        low, high = self.interval
        if self.exact:
            return f"{self.about}: {self.mean:.3g} {self.unit}, counted: {self.says}"
        return (
            f"{self.about}: {self.mean:+.3g} [{low:+.3g}, {high:+.3g}] {self.unit}, "
            f"{len(self.benefits)} {self.of}: {self.says}"
        )


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Student's interval of the mean of independent values; all numbers for fewer than two.

    Raises ValueError for no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("expected at least one value, got none")
    if n == 1 or not all(map(math.isfinite, values)):
        return -math.inf, math.inf
    mean = sum(values) / n
    deviation = math.sqrt(sum((x - mean) ** 2 for x in values) / (n - 1))
    half = student(level, n - 1) * deviation / math.sqrt(n)
    return mean - half, mean + half


def verdict(comparisons: Iterable[Comparison]) -> str:
    """The word for a claim, from its comparisons alone; without any, it is not tested."""
    said = [c.says for c in comparisons]
    if not said:
        return NOT_TESTED
    if all(word == FOR for word in said):
        return SUPPORTED
    if AGAINST not in said:
        return UNDECIDED
    return DEPENDS if FOR in said else NOT_SUPPORTED


def student(level: float, freedom: int) -> float:
    """t with P(|T| <= t) = level for Student's T."""
    from scipy.stats import t  # here, as it takes a second

    return float(t.ppf((1 + level) / 2, freedom))
