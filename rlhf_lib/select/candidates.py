"""What a search for lambda is asked for: a fit, the lambdas, how to choose; checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from operator import index
from typing import Any

from torch import Tensor

from ..interrupt import checkpoint
from ..regularizers import check_lambda
from .folds import class_labels, stratified_folds
from .result import RULES, LambdaSelection

Fit = Callable[[Tensor, Tensor, list[float], int], Iterable[float | Mapping[str, float]]]


@dataclass(frozen=True)
class LambdaSearch:
    """What is asked for, checked: a fit, the lambdas in falling order, and how to choose."""

    fit: Fit
    lambdas: tuple[float, ...]
    rule: str
    metric: str
    maximize: bool
    warm_start: bool

    def scores(self, train: Tensor, validation: Tensor, lambdas, seed: int) -> list[dict]:
        """One dict of numbers for each lambda, of one path."""
        starts = [list(lambdas)] if self.warm_start else [[value] for value in lambdas]
        return [s for part in starts for s in self._path(train, validation, part, seed)]

    def _path(self, train, validation, lambdas, seed) -> list[dict]:
        found = self.fit(train, validation, list(lambdas), seed)
        if not isinstance(found, Iterable) or isinstance(found, Mapping):
            raise TypeError(
                "fit: expected a generator or a list with one score for each lambda, got "
                f"{type(found).__name__}"
            )
        scores = []
        for score in found:
            scores.append(self._numbers(score))
            if len(scores) < len(lambdas):  # a path that is complete is worth keeping
                checkpoint()
        if len(scores) != len(lambdas):
            raise ValueError(f"fit gave {len(scores)} scores for {len(lambdas)} lambdas")
        return scores

    def _numbers(self, score) -> dict[str, float]:
        if not isinstance(score, Mapping):
            return {self.metric: float(score)}
        if self.metric not in score:
            raise ValueError(
                f"fit gave scores named {', '.join(score)}, and metric={self.metric!r} is to be "
                "chosen by"
            )
        return {name: float(value) for name, value in score.items()}

    def selection(self, paths: Iterable, folds: int, total: int) -> LambdaSelection:
        """What these paths say."""
        return LambdaSelection(
            self.lambdas, tuple(paths), folds, total, self.rule, self.metric, self.maximize
        )


def splits_of(labels: Tensor, folds: int, seeds: Iterable[int]) -> list[tuple]:
    """(seed, fold, training indices, validation indices) of every fold of every seed."""
    return [
        (seed, k, *parts)
        for seed in seeds
        for k, parts in enumerate(stratified_folds(labels, folds, seed))
    ]


def checked(
    fit, labels_or_n, lambdas, seeds, rule, metric, maximize, warm_start
) -> tuple[Tensor, LambdaSearch, list[int]]:
    """Labels, search and seeds, or a ValueError that says what is wrong with them."""
    lambdas, seeds = [float(value) for value in lambdas], [index(seed) for seed in seeds]
    if not lambdas:
        raise ValueError("expected at least one lambda, got none")
    for value in lambdas:
        check_lambda(value)
    if len(set(lambdas)) < len(lambdas):
        double = next(v for v in lambdas if lambdas.count(v) > 1)
        raise ValueError(f"expected different lambdas, got {double:g} more than once")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"expected one seed or more, all different, got {seeds}")
    if rule not in RULES:
        raise ValueError(f"expected a rule out of {', '.join(RULES)}, got {rule!r}")
    falling = tuple(sorted(lambdas, reverse=True))
    search = LambdaSearch(fit, falling, rule, metric, maximize, warm_start)
    return class_labels(labels_or_n), search, seeds


def fingerprint(labels: Tensor, search: LambdaSearch, settings: Mapping | None) -> dict[str, Any]:
    """What must agree for scores on disk to be scores of this search, as JSON values."""
    return {
        "samples": len(labels),
        "labels": sha256(labels.numpy().tobytes()).hexdigest()[:16],
        "lambdas": list(search.lambdas),
        "warm_start": search.warm_start,
        "settings": dict(settings or {}),
    }
