"""A search for lambda by cross-validation: its settings, checked once, and what runs by them.

A *path* is one training set fitted for every lambda, from the largest to the smallest, each fit
starting where the last one ended (Friedman, Hastie and Tibshirani, 2010, section 2.5). Every fold
of every seed is one path; paths are what is computed in parallel and what is kept on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from ..arguments import flag, real, seed_of, whole
from ..interrupt import checkpoint
from ..regularizers import check_lambda
from .folds import Labels, class_labels, group_codes, stratified_folds
from .journal import Journal
from .paths import Split, finished, is_path
from .result import RULES, LambdaPath, LambdaSelection, NestedSelection

Fit = Callable[[Tensor, Tensor, list[float], int], Iterable[float | Mapping[str, float]]]


class LambdaSearch:
    """A search for lambda. Iterating over it yields the selection so far after each finished path.

    Arguments and errors are those of :func:`select_lambda`, which runs a search to its end; a panel
    iterates, to show what is found on the way.

    >>> def fit(train, validation, lambdas, seed):
    ...     return [(value - 0.1) ** 2 for value in lambdas]
    >>> search = LambdaSearch(fit, 10, [0.01, 0.1, 1.0], folds=2)
    >>> [(selection.finished, selection.chosen) for selection in search]
    [(1, 0.1), (2, 0.1)]

    Attributes: the arguments; lambdas as a tuple in falling order, labels as a tensor (n,).
    """

    def __init__(
        self,
        fit: Fit,
        labels_or_n: Labels,
        lambdas: Iterable[float],
        *,
        folds: int = 5,
        groups: Sequence | Tensor | None = None,
        seeds: Iterable[int] = (0,),
        rule: str = "1se",
        metric: str = "loss",
        maximize: bool = False,
        warm_start: bool = True,
        workers: int | None = 1,
        resume: str | os.PathLike | None = None,
        settings: Mapping[str, Any] | None = None,
    ):
        if not callable(fit):
            raise TypeError(f"fit: expected a function, got {type(fit).__name__}")
        self.fit, self.labels = fit, class_labels(labels_or_n)
        self.groups = None if groups is None else group_codes(groups, len(self.labels))
        self.lambdas, self.seeds = falling(lambdas), _different(seeds)
        check_rule(rule)
        if workers is not None and whole("workers", workers) == 0:
            raise ValueError("expected a number of workers other than 0, or None, got 0")
        # Too few samples are found before any fit.
        stratified_folds(labels_or_n, folds, groups=self.groups)
        self.folds, self.rule, self.metric = int(folds), rule, metric
        self.maximize = flag("maximize", maximize)
        self.warm_start, self.workers = flag("warm_start", warm_start), workers
        if not isinstance(metric, str):
            raise TypeError(f"metric: expected the name of a score, got {metric!r}")
        if not isinstance(settings, Mapping | None):
            raise TypeError(f"settings: expected JSON values by name, got {settings!r}")
        if not isinstance(resume, str | os.PathLike | None):
            raise TypeError(f"resume: expected the name of a file, got {resume!r}")
        self.resume, self.settings = resume, dict(settings or {})

    def __iter__(self) -> Iterator[LambdaSelection]:
        splits = self._splits(self._all, self.folds, self.seeds)
        valid = partial(is_path, folds=self.folds, scores=len(self.lambdas))
        journal = Journal(self.resume, self._asked() | {"folds": self.folds}, valid)
        for paths in finished(self._path, splits, self.workers, journal):
            yield self._selection(paths, len(splits))

    def nested(self, outer_folds: int = 5) -> Iterator[NestedSelection]:
        """The nested selection so far after each outer fold; see :func:`nested_select_lambda`.

        Raises ValueError where the samples outside an outer fold are too few for the folds within.
        """
        splits = self._splits(self._all, outer_folds, self.seeds)
        for _, _, train, _ in splits:
            self._splits(train, self.folds, self.seeds[:1])
        choosing = {
            "outer_folds": outer_folds,
            "folds": self.folds,
            "rule": self.rule,
            "metric": self.metric,
            "maximize": self.maximize,
        }
        valid = partial(is_path, folds=outer_folds, scores=1)
        journal = Journal(self.resume, self._asked() | choosing, valid)
        return (
            NestedSelection(tuple(paths), outer_folds, len(splits), self.metric)
            for paths in finished(self._outer_fold, splits, self.workers, journal)
        )

    def _asked(self) -> dict[str, Any]:
        """What must agree for scores on disk to be scores of this search, as JSON values."""
        grouped = {} if self.groups is None else {"groups": _digest(self.groups)}
        return {
            "samples": len(self.labels),
            "labels": _digest(self.labels),
            **grouped,
            "lambdas": list(self.lambdas),
            "warm_start": self.warm_start,
            "settings": self.settings,
        }

    def _selection(self, paths: Iterable[LambdaPath], total: int) -> LambdaSelection:
        return LambdaSelection(
            self.lambdas, tuple(paths), self.folds, total, self.rule, self.metric, self.maximize
        )

    @property
    def _all(self) -> Tensor:
        return torch.arange(len(self.labels))

    def _splits(self, samples: Tensor, folds: int, seeds: Iterable[int]) -> list[Split]:
        """The folds of these samples, (n,), by each seed."""
        groups = None if self.groups is None else self.groups[samples]
        return [
            (seed, k, samples[kept], samples[left_out])
            for seed in seeds
            for k, (kept, left_out) in enumerate(
                stratified_folds(self.labels[samples], folds, seed, groups)
            )
        ]

    def _path(self, split: Split) -> LambdaPath:
        seed, fold, train, validation = split
        return LambdaPath(seed, fold, tuple(self._scores(train, validation, self.lambdas, seed)))

    def _outer_fold(self, split: Split) -> LambdaPath:
        seed, fold, train, validation = split
        inner = [self._path(part) for part in self._splits(train, self.folds, [seed])]
        found = self._selection(inner, self.folds)
        lambdas = self.lambdas[: self.lambdas.index(found.chosen) + 1]
        if not self.warm_start:
            lambdas = lambdas[-1:]
        score = self._scores(train, validation, lambdas, seed)[-1]
        promised = {"chosen": found.chosen, "inner": found.chosen_row.mean}
        return LambdaPath(seed, fold, (score | promised,))

    def _scores(self, train, validation, lambdas, seed) -> list[dict[str, float]]:
        """One dict of numbers for each lambda, of one path."""
        starts = [list(lambdas)] if self.warm_start else [[value] for value in lambdas]
        return [s for part in starts for s in self._fitted(train, validation, part, seed)]

    def _fitted(self, train, validation, lambdas, seed) -> list[dict[str, float]]:
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
            return {self.metric: real("a score of fit", score, finite=False)}
        if self.metric not in score:
            raise ValueError(
                f"fit gave scores named {', '.join(score)}, and metric={self.metric!r} is to be "
                "chosen by"
            )
        return {k: real(f"the score {k!r} of fit", v, finite=False) for k, v in score.items()}


def falling(lambdas: Iterable[float]) -> tuple[float, ...]:
    """Checked, and from the largest to the smallest."""
    if isinstance(lambdas, str) or not isinstance(lambdas, Iterable):
        raise TypeError(f"lambdas: expected a list of numbers, got {lambdas!r}")
    values = [real("lambdas", value, finite=False) for value in lambdas]
    if not values:
        raise ValueError("expected at least one lambda, got none")
    for value in values:
        check_lambda(value)
    if len(set(values)) < len(values):
        double = next(v for v in values if values.count(v) > 1)
        raise ValueError(f"expected different lambdas, got {double:g} more than once")
    return tuple(sorted(values, reverse=True))


def check_rule(rule: str) -> None:
    """Raises ValueError for another than the rules there are."""
    if rule not in RULES:
        raise ValueError(f"expected a rule out of {', '.join(RULES)}, got {rule!r}")


def _digest(codes: Tensor) -> str:
    return sha256(codes.numpy().tobytes()).hexdigest()[:16]


def _different(seeds: Iterable[int]) -> tuple[int, ...]:
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise TypeError(f"seeds: expected a list of whole numbers, got {seeds!r}")
    numbers = tuple(seed_of("seeds", seed) for seed in seeds)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"expected one seed or more, all different, got {list(numbers)}")
    return numbers
