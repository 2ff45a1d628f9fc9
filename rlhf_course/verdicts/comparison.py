"""One comparison of two methods, seed by seed, and what it says at a given risk of error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .boundaries import levels

ALPHA = 0.05
FOR, AGAINST, SAME, OPEN = "for", "against", "no difference", "open"
# The least difference that matters, by unit, stated before the runs.
MARGINS = {"nats": 0.02, "decades": 0.1, "accuracy": 0.01, "F1": 0.01}


@dataclass(frozen=True)
class Comparison:
    """A list of *benefits*, one for each seed: positive where that seed speaks for the claim.

    What is compared is the same draw of data, labels and starting weights, once for each method,
    so the benefits are paired differences.

    Attributes:
        about: what is compared with what, on what, at equal what.
        benefits: one number for each seed, positive where it speaks for the claim.
        unit: of the benefits.
        exact: counted, not measured.
        of: what the benefits are one each of: "seeds", or the "rounds" of a benchmark.
        margin: the least difference that matters; None takes MARGINS' for the unit, 0 for another
            unit. With 0 a comparison never says "no difference".
        looks: the numbers of seeds after which the plan looks; () for one look, at all there are.
        by_item: mean benefit of each test item over the seeds, where all seeds are judged on the
            same items: then the items are a draw, too, and their spread belongs into the interval.
        primary: whether the verdict rests on it; others are shown beside.
    """

    about: str
    benefits: tuple[float, ...]
    unit: str
    exact: bool = False
    of: str = "seeds"
    margin: float | None = None
    looks: tuple[int, ...] = ()
    by_item: tuple[float, ...] = ()
    primary: bool = True

    @property
    def mean(self) -> float:
        """Mean benefit."""
        return sum(self.benefits) / len(self.benefits)

    @property
    def matters(self) -> float:
        """The least difference that matters, in the comparison's unit."""
        return MARGINS.get(self.unit, 0.0) if self.margin is None else self.margin

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the mean benefit by which it is judged alone, of 95 % over all looks."""
        return self.interval_at(ALPHA)

    def interval_at(self, alpha: float) -> tuple[float, float]:
        """The interval that errs in a share alpha of the cases, over all looks of the plan."""
        if self.exact:
            return self.mean, self.mean
        return interval(self.benefits, 1 - self.level(alpha), self.by_item)

    def level(self, alpha: float) -> float:
        """What this look may spend of alpha."""
        if not self.looks:
            return alpha
        passed = [k for k, n in enumerate(self.looks) if n <= len(self.benefits)]
        if not passed:
            raise ValueError(
                f"expected at least {self.looks[0]} seeds by the plan, got {len(self.benefits)}"
            )
        return levels(self.looks, alpha)[passed[-1]]

    @property
    def says(self) -> str:
        """ "for", "against", "no difference" or "open", judged alone."""
        return self.says_at(ALPHA)

    def says_at(self, alpha: float) -> str:
        """What it says at a risk of alpha.

        "For" and "against": the interval of level 1 - alpha lies on one side of 0. "No
        difference": that of level 1 - 2 alpha lies between -margin and margin, which is two
        one-sided tests at alpha each (Schuirmann, 1987); it goes before the others, as a difference
        that is there and does not matter is none that decides.
        """
        low, high = self.interval_at(2 * alpha)
        if -self.matters < low and high < self.matters:
            return SAME
        low, high = self.interval_at(alpha)
        return FOR if low > 0 else AGAINST if high < 0 else OPEN

    def __str__(self) -> str:
        low, high = self.interval
        if self.exact:
            return f"{self.about}: {self.mean:.3g} {self.unit}, counted: {self.says}"
        return (
            f"{self.about}: {self.mean:+.3g} [{low:+.3g}, {high:+.3g}] {self.unit}, "
            f"{len(self.benefits)} {self.of}: {self.says}"
        )


def interval(
    values: Sequence[float], level: float = 1 - ALPHA, by_item: Sequence[float] = ()
) -> tuple[float, float]:
    """Student's interval of the mean of independent values; all numbers for fewer than two, for a
    value that is not finite, and for values that are all the same; ties, all of them 0, are 0.

    by_item: means over the values for each of the items that all of them share. Seeds and items
        are crossed; the variance of the mean is then at most the sum of the two variances of means
        (Owen, 2007, on crossed random effects), and the degrees of freedom are Welch's.

    Raises ValueError for no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("expected at least one value, got none")
    if n == 1 or not all(map(math.isfinite, values)):
        return -math.inf, math.inf
    if len(set(values)) == 1 and values[0] and not by_item:
        return -math.inf, math.inf  # the same number each time says nothing of its spread
    parts = [(variance(some) / len(some), len(some) - 1) for some in (values, by_item) if some]
    total = sum(v for v, _ in parts)
    freedom = total**2 / sum(v**2 / f for v, f in parts) if total else n - 1
    mean = sum(values) / n
    half = student(level, freedom) * math.sqrt(total)
    return mean - half, mean + half


def variance(values: Sequence[float]) -> float:
    """With n - 1 below."""
    mean = sum(values) / len(values)
    return sum((x - mean) ** 2 for x in values) / (len(values) - 1)


@cache
def student(level: float, freedom: float) -> float:
    """t with P(|T| <= t) = level for Student's T."""
    from scipy.special import stdtrit  # here, as it takes a while

    return float(stdtrit(freedom, (1 + level) / 2))
