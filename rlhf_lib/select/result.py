"""What a search for lambda found: its table, the bands to plot, and the rule that chooses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

RULES = ("1se", "min")


@dataclass(frozen=True)
class LambdaPath:
    """One training set fitted for every lambda: fold `fold` of the folds drawn with `seed`.

    scores: for each lambda, from the largest to the smallest, a dict of numbers.
    """

    seed: int
    fold: int
    scores: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class LambdaRow:
    """One lambda: mean over all paths, its standard error, and each path's score, in order."""

    lambda_reg: float
    mean: float
    standard_error: float
    scores: tuple[float, ...]


def standard_error(seeds: Sequence[int], scores: Sequence[float]) -> float:
    """Standard error of the mean of K-fold scores, folds repeated with several seeds.

    The standard deviation over the K folds of one seed, divided by sqrt(K); over seeds the root
    mean square of these. It does *not* shrink with the number of seeds: they deal the same
    samples anew, and no new sample comes in. NaN with fewer than two folds.

    It is usually too small all the same: the K training sets share most of their samples, so that
    the scores of the folds are correlated, and no estimate from one round of K folds is unbiased
    for all data (Bengio and Grandvalet, 2004).
    """
    squares = []
    scaled, power = _scaled(scores)
    for seed in dict.fromkeys(seeds):
        mine = [v for s, v in zip(seeds, scaled, strict=True) if s == seed]
        if len(mine) > 1 and all(map(math.isfinite, mine)):
            squares.append(statistics.variance(mine) / len(mine))
    if not squares:
        return math.nan
    return math.ldexp(math.sqrt(statistics.fmean(squares)) / 2, power) * 2


def mean(scores: Sequence[float]) -> float:
    """Their mean; NaN where one is not finite."""
    if not all(map(math.isfinite, scores)):
        return math.nan
    scaled, power = _scaled(scores)
    return math.ldexp(statistics.fmean(scaled), power)


def _scaled(scores: Sequence[float]) -> tuple[list[float], int]:
    """The scores over 2^p, at most 1, and p: squares of a loss over 1e154 are none that floats
    hold. A power of two changes no digit."""
    power = max((math.frexp(v)[1] for v in scores if math.isfinite(v)), default=0)
    return [math.ldexp(v, -power) for v in scores], power


def one_standard_error(
    lambdas: Sequence[float], means: Sequence[float], errors: Sequence[float]
) -> float:
    """The largest lambda whose mean score exceeds the least mean by at most its standard error.

    The simplest model that the data cannot tell from the best one (Breiman, Friedman, Olshen and
    Stone, 1984, section 3.4.3; Hastie, Tibshirani and Friedman, 2009, section 7.10). An error of
    NaN counts as 0. Raises ValueError where no mean is finite.
    """
    finite = [i for i, mean in enumerate(means) if math.isfinite(mean)]
    if not finite:
        raise ValueError("no lambda has a finite mean score: every fit has diverged")
    # Of two equal means the larger lambda is the simpler model.
    best = min(finite, key=lambda i: (means[i], -lambdas[i]))
    limit = means[best] + (0.0 if math.isnan(errors[best]) else errors[best])
    return max(lambdas[i] for i in finite if means[i] <= limit)


class Selection:
    """A score and its standard error for each lambda, and the rule that chooses among them.

    Attributes:
        lambdas: from the largest to the smallest. rule: "1se" or "min". maximize: the largest
            score is the best. metric: what the scores are.
    """

    if TYPE_CHECKING:  # fields of the frozen classes below, which a checker takes as read-only

        @property
        def lambdas(self) -> tuple[float, ...]: ...

        @property
        def rule(self) -> str: ...

        @property
        def metric(self) -> str: ...

        @property
        def maximize(self) -> bool: ...

    def table(self, metric: str | None = None) -> tuple[LambdaRow, ...]:
        """A row for each lambda, from the largest on, of this metric (default: the one chosen by).

        Raises ValueError for a metric that there is not.
        """
        raise NotImplementedError

    @cached_property
    def rows(self) -> tuple[LambdaRow, ...]:
        """The table of the metric chosen by."""
        return self.table()

    @property
    def best(self) -> float:
        """The lambda of the best mean score."""
        return self._by_rule("min")

    @property
    def chosen(self) -> float:
        """The lambda by the rule."""
        return self._by_rule(self.rule)

    @property
    def best_row(self) -> LambdaRow:
        """The row of `best`."""
        return self._row(self.best)

    @property
    def chosen_row(self) -> LambdaRow:
        """The row of `chosen`."""
        return self._row(self.chosen)

    @property
    def at_edge(self) -> bool:
        """The best lambda is the largest or the smallest tried: a better one may lie beyond."""
        return len(self.lambdas) > 1 and self.best in (self.lambdas[0], self.lambdas[-1])

    def bands(self, metric: str | None = None) -> dict[str, list[float]]:
        """Columns to plot: lambda, mean, low and high (one standard error below and above)."""
        rows = self.table(metric)
        return {
            "lambda": [r.lambda_reg for r in rows],
            "mean": [r.mean for r in rows],
            "low": [r.mean - r.standard_error for r in rows],
            "high": [r.mean + r.standard_error for r in rows],
        }

    def _row(self, value: float) -> LambdaRow:
        return self.rows[self.lambdas.index(value)]

    def _by_rule(self, rule: str) -> float:
        sign = -1 if self.maximize else 1
        means = [sign * row.mean for row in self.rows]
        errors = [row.standard_error if rule == "1se" else 0.0 for row in self.rows]
        return one_standard_error(self.lambdas, means, errors)

    def _made_of(self) -> str:
        """The last line of the table: what the scores come from."""
        raise NotImplementedError

    def __str__(self) -> str:
        lines = [f"{'lambda':>10}  {self.metric:>10}  {'std error':>10}"]
        for row in self.rows:
            marks = ["best"] * (row.lambda_reg == self.best)
            marks += [f"chosen ({self.rule})"] * (row.lambda_reg == self.chosen)
            line = f"{row.lambda_reg:>10.4g}  {row.mean:>10.4f}  {row.standard_error:>10.4f}"
            lines.append(f"{line}  {', '.join(marks)}".rstrip())
        lines.append(self._made_of())
        if self.at_edge:
            lines.append("The best lambda is at the edge of the grid: extend it.")
        return "\n".join(lines)


@dataclass(frozen=True)
class LambdaSelection(Selection):
    """What the finished paths say; of all of them, or of those so far.

    Attributes:
        lambdas: from the largest to the smallest. paths: the finished ones.
        folds: K. total: paths there will be, folds times seeds.
        rule, metric, maximize: how `chosen` is chosen.
    """

    lambdas: tuple[float, ...]
    paths: tuple[LambdaPath, ...]
    folds: int
    total: int
    rule: str = "1se"
    metric: str = "loss"
    maximize: bool = False

    @property
    def finished(self) -> int:
        """How many paths are finished."""
        return len(self.paths)

    def table(self, metric: str | None = None) -> tuple[LambdaRow, ...]:
        """A row for each lambda, from the largest on, of this metric (default: the one chosen by).

        A score that is not finite, of a fit that diverged, makes the mean NaN: that lambda cannot
        be chosen. Raises ValueError for a metric that the fits did not score.
        """
        name, seeds = metric or self.metric, [p.seed for p in self.paths]
        unknown = next((p for p in self.paths if name not in p.scores[0]), None)
        if unknown is not None:
            there = ", ".join(unknown.scores[0])
            raise ValueError(f"expected a metric out of {there}, got {name!r}")
        rows = []
        for i, value in enumerate(self.lambdas):
            scores = tuple(p.scores[i][name] for p in self.paths)
            rows.append(LambdaRow(value, mean(scores), standard_error(seeds, scores), scores))
        return tuple(rows)

    def _made_of(self) -> str:
        return f"{self.finished} of {self.total} paths, {self.folds} folds"


@dataclass(frozen=True)
class CriterionSelection(Selection):
    """What a criterion says of each lambda by one fit to all samples, with none set aside.

    Attributes:
        lambdas: from the largest to the smallest.
        scores: (score, its standard error) for each, the least the best.
        metric: "loo", the leave-one-out loss, or "evidence", minus the log evidence per term.
        rule: how `chosen` is chosen.
    """

    lambdas: tuple[float, ...]
    scores: tuple[tuple[float, float], ...]
    metric: str
    rule: str = "1se"
    maximize: bool = field(default=False, init=False)

    def table(self, metric: str | None = None) -> tuple[LambdaRow, ...]:
        """A row for each lambda, from the largest on. Raises ValueError for another metric."""
        if metric not in (None, self.metric):
            raise ValueError(f"expected the metric {self.metric}, got {metric!r}")
        pairs = zip(self.lambdas, self.scores, strict=True)
        return tuple(LambdaRow(value, *score, score[:1]) for value, score in pairs)

    def _made_of(self) -> str:
        return "by one fit to all samples"


@dataclass(frozen=True)
class NestedSelection:
    """The outer folds so far: what was chosen without each, and the score on it.

    Attributes:
        paths: one for each outer fold; its one score holds the metric, "chosen" (the lambda) and
            "inner" (the mean that the inner cross-validation promised for it).
        folds: outer folds. total: outer folds there will be, over all seeds.
    """

    paths: tuple[LambdaPath, ...]
    folds: int
    total: int
    metric: str = "loss"

    @property
    def finished(self) -> int:
        """How many outer folds are finished."""
        return len(self.paths)

    @property
    def scores(self) -> tuple[float, ...]:
        """The score on each outer fold."""
        return tuple(p.scores[0][self.metric] for p in self.paths)

    @property
    def chosen(self) -> tuple[float, ...]:
        """The lambda chosen without each outer fold."""
        return tuple(p.scores[0]["chosen"] for p in self.paths)

    @property
    def mean(self) -> float:
        """The honest score of the procedure."""
        return mean(self.scores)

    @property
    def standard_error(self) -> float:
        """See :func:`standard_error`."""
        return standard_error([p.seed for p in self.paths], self.scores)

    @property
    def inner(self) -> float:
        """What the inner cross-validations promised, on average."""
        return mean([p.scores[0]["inner"] for p in self.paths])
