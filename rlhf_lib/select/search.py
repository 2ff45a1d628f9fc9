"""Choose lambda by cross-validation: paths over folds and seeds, one-standard-error rule, nested.

A *path* is one training set fitted for every lambda, from the largest to the smallest, each fit
starting where the last one ended (Friedman, Hastie and Tibshirani, 2010, section 2.5). Every fold
of every seed is one path; paths are what is computed in parallel and what is kept on disk.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from ..interrupt import checkpoint
from .candidates import Fit, LambdaSearch, checked, fingerprint, splits_of
from .folds import stratified_folds
from .journal import Journal
from .result import LambdaPath, LambdaSelection, NestedSelection


def select_lambda(
    fit: Fit,
    labels_or_n: Sequence[int] | Tensor | int,
    lambdas: Iterable[float],
    *,
    progress: Callable[[LambdaSelection], Any] | None = None,
    **options,
) -> LambdaSelection:
    """Cross-validate all lambdas and choose one.

    Args:
        fit: ``fit(train, validation, lambdas, seed)``: two tensors of indices, lambdas in falling
            order, an int. Yields for each lambda in turn its score on the validation samples: a
            number, or a dict of numbers (``{"loss": ..., "accuracy": ...}``). As a generator it
            keeps the model between lambdas, which makes the path warm-started. Whatever learns
            from data (scaling, feature selection, early stopping) belongs inside, on ``train``.
        labels_or_n: a class for each sample, for stratified folds; or the number of samples.
        lambdas: different numbers >= 0, in any order.
        progress: called with the selection so far after each finished path.
        options: of :func:`iterate_lambda`, which is the same as a generator.

    Raises:
        ValueError: lambdas that are negative or double, too few samples of a class, a journal of
            other settings, an unknown rule.

    >>> def fit(train, validation, lambdas, seed):
    ...     for value in lambdas:
    ...         yield (value - 0.1) ** 2
    >>> select_lambda(fit, 10, [0.01, 0.1, 1.0]).chosen
    0.1
    """
    for selection in iterate_lambda(fit, labels_or_n, lambdas, **options):
        if progress is not None:
            progress(selection)
    return selection


def iterate_lambda(
    fit: Fit,
    labels_or_n: Sequence[int] | Tensor | int,
    lambdas: Iterable[float],
    *,
    folds: int = 5,
    seeds: Iterable[int] = (0,),
    rule: str = "1se",
    metric: str = "loss",
    maximize: bool = False,
    warm_start: bool = True,
    workers: int | None = 1,
    resume: str | os.PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[LambdaSelection]:
    """Yield the selection so far after each finished path; see :func:`select_lambda`.

    Args:
        folds: parts that the samples are dealt into, K.
        seeds: each one draws other folds, and is handed to ``fit``.
        rule: "1se", the largest lambda within one standard error of the best; or "min".
        metric: which of the scores to choose by; the smallest is best unless ``maximize``.
        warm_start: False calls ``fit`` once for each lambda, so that every fit starts afresh.
        workers: 1 computes here; another number is joblib's n_jobs (-1: all cores), and None
            leaves it to ``joblib.parallel_config``, also with its Dask back end. ``fit`` and its
            data are then sent to other processes.
        resume: a file that finished paths are kept in. The same call reads them from it instead
            of computing them; seeds may have been added. With files of other settings it refuses.
        settings: JSON values that name what ``fit`` does (data, optimizer, steps): part of what
            must agree with the file, because the code of ``fit`` itself is not compared.

    In an :func:`~rlhf_lib.interrupt.interruptible` block it stops between two fits; with workers,
    between two paths.
    """
    labels, search, seeds = checked(
        fit, labels_or_n, lambdas, seeds, rule, metric, maximize, warm_start
    )
    asked = fingerprint(labels, search, settings) | {"folds": folds}
    splits = splits_of(labels, folds, seeds)
    journal = Journal(resume, asked)
    do = partial(_one_path, search)
    return (
        search.selection(paths, folds, len(splits))
        for paths in _finished(do, splits, workers, journal)
    )


def nested_select_lambda(
    fit: Fit,
    labels_or_n: Sequence[int] | Tensor | int,
    lambdas: Iterable[float],
    *,
    progress: Callable[[NestedSelection], Any] | None = None,
    **options,
) -> NestedSelection:
    """An honest score of *choosing* lambda: the whole of select_lambda inside each outer fold.

    Each outer fold is put aside; lambda is chosen by cross-validation within the rest; the rest is
    fitted with it (along the path from the largest lambda, if warm-started) and scored once on
    the fold. No sample that judges has helped to choose (Stone, 1974; Varma and Simon, 2006). The
    score belongs to the procedure, not to one lambda: the folds may choose different ones.

    Arguments as for :func:`select_lambda`; ``options`` are those of :func:`iterate_nested`.
    """
    for selection in iterate_nested(fit, labels_or_n, lambdas, **options):
        if progress is not None:
            progress(selection)
    return selection


def iterate_nested(
    fit: Fit,
    labels_or_n: Sequence[int] | Tensor | int,
    lambdas: Iterable[float],
    *,
    outer_folds: int = 5,
    folds: int = 5,
    seeds: Iterable[int] = (0,),
    rule: str = "1se",
    metric: str = "loss",
    maximize: bool = False,
    warm_start: bool = True,
    workers: int | None = 1,
    resume: str | os.PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[NestedSelection]:
    """Yield the nested selection so far after each outer fold; see :func:`nested_select_lambda`.

    outer_folds: folds that judge; folds: those within the rest, that choose. Costs about
    ``outer_folds * (folds + 1)`` paths for each seed. Workers and the file take whole outer folds.
    """
    labels, search, seeds = checked(
        fit, labels_or_n, lambdas, seeds, rule, metric, maximize, warm_start
    )
    asked = fingerprint(labels, search, settings) | {
        "outer_folds": outer_folds,
        "folds": folds,
        "rule": rule,
        "metric": metric,
        "maximize": maximize,
    }
    splits = splits_of(labels, outer_folds, seeds)
    for _, _, train, _ in splits:
        stratified_folds(labels[train], folds)  # too few samples are found before any fit
    journal = Journal(resume, asked)
    do = partial(_one_outer_fold, search, labels, folds)
    return (
        NestedSelection(tuple(paths), outer_folds, len(splits), metric)
        for paths in _finished(do, splits, workers, journal)
    )


def _one_path(search: LambdaSearch, split) -> LambdaPath:
    seed, fold, train, validation = split
    scores = search.scores(train, validation, search.lambdas, seed)
    return LambdaPath(seed, fold, tuple(scores))


def _one_outer_fold(search: LambdaSearch, labels: Tensor, folds: int, split) -> LambdaPath:
    seed, fold, train, validation = split
    inner = []
    for _, part, kept, left_out in splits_of(labels[train], folds, [seed]):
        scores = search.scores(train[kept], train[left_out], search.lambdas, seed)
        inner.append(LambdaPath(seed, part, tuple(scores)))
    chosen = search.selection(inner, folds, folds)
    lambdas = search.lambdas[: search.lambdas.index(chosen.chosen) + 1]
    if not search.warm_start:
        lambdas = lambdas[-1:]
    score = search.scores(train, validation, lambdas, seed)[-1]
    promised = {"chosen": chosen.chosen, "inner": chosen.chosen_row.mean}
    return LambdaPath(seed, fold, (score | promised,))


def _finished(do, splits, workers, journal: Journal) -> Iterator[list[LambdaPath]]:
    """All paths so far, in the order of the splits, after each one; those on disk at once."""
    order = [(seed, fold) for seed, fold, _, _ in splits]
    done = {}
    for row in journal.rows:
        path = LambdaPath(row["seed"], row["fold"], tuple(row["scores"]))
        done[path.seed, path.fold] = path
    todo = [split for split in splits if split[:2] not in done]

    def paths():
        return [done[key] for key in order if key in done]

    if len(todo) < len(splits):
        yield paths()
    for path in _computed(do, todo, workers):
        journal.write({"seed": path.seed, "fold": path.fold, "scores": list(path.scores)})
        done[path.seed, path.fold] = path
        yield paths()


def _computed(do, splits, workers) -> Iterator[LambdaPath]:
    if not splits:
        return
    if workers == 1:
        for split in splits:
            checkpoint()
            yield do(split)
        return
    from joblib import Parallel, delayed

    checkpoint()
    results = Parallel(n_jobs=workers, return_as="generator_unordered")(
        delayed(do)(split) for split in splits
    )
    try:
        for path in results:
            yield path
            checkpoint()
    finally:
        with warnings.catch_warnings():
            # joblib warns of results that nobody took: those of paths cut off by a stop.
            warnings.simplefilter("ignore", UserWarning)
            results.close()
