"""Paths computed here or by workers, each kept in a file as it comes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..interrupt import checkpoint
from .journal import Journal
from .result import LambdaPath

Split = tuple[int, int, Tensor, Tensor]  # seed, fold, training and validation indices


def is_path(row: Mapping[str, Any], folds: int, scores: int) -> bool:
    """Whether a row of a file can be a path of so many folds, with so many scores."""
    found = row.get("scores")
    numbers = [row.get("seed"), row.get("fold")]
    return (
        not any(isinstance(n, bool) or not isinstance(n, int) for n in numbers)
        and 0 <= row["fold"] < folds
        and isinstance(found, list)
        and len(found) == scores
        and all(isinstance(one, dict) and one for one in found)
        and all(_is_number(v) for one in found for v in one.values())
    )


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and value.bit_length() < 1024)


def finished(
    do: Callable[[Split], LambdaPath],
    splits: Sequence[Split],
    workers: int | None,
    journal: Journal,
) -> Iterator[list[LambdaPath]]:
    """All paths so far, in the order of the splits, after each one; those on disk at once."""
    order = [split[:2] for split in splits]
    done = {}
    for row in journal.rows:
        path = LambdaPath(row["seed"], row["fold"], tuple(row["scores"]))
        # Two processes may have computed the same: what was reported first stays.
        done.setdefault((path.seed, path.fold), path)
    todo = [split for split in splits if split[:2] not in done]

    def paths():
        return [done[key] for key in order if key in done]

    if len(todo) < len(splits):
        yield paths()
    if todo:
        journal.check_writable()
    for path in _computed(do, todo, workers):
        journal.write({"seed": path.seed, "fold": path.fold, "scores": list(path.scores)})
        done[path.seed, path.fold] = path
        yield paths()


def _computed(do, splits, workers) -> Iterator[LambdaPath]:
    if not splits:
        return
    if workers == 1:
        for i, split in enumerate(splits):
            checkpoint("path", i + 1, len(splits))
            yield do(split)
        return
    from joblib import Parallel, delayed

    checkpoint("path", 1, len(splits))
    results = Parallel(n_jobs=workers, return_as="generator_unordered")(
        delayed(do)(split) for split in splits
    )
    try:
        for i, path in enumerate(results):
            yield path
            checkpoint("path", min(i + 2, len(splits)), len(splits))
    finally:
        with warnings.catch_warnings():
            # joblib warns of results that nobody took: those of paths cut off by a stop.
            warnings.simplefilter("ignore", UserWarning)
            results.close()
