"""Choose lambda in one call: cross-validation by one rule, and nested for an honest score of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from .closed_form import CRITERIA, HasPath, by_criterion
from .folds import Labels, class_labels
from .result import LambdaSelection, NestedSelection, Selection
from .search import Fit, LambdaSearch

Found = TypeVar("Found", LambdaSelection, NestedSelection)
Function = TypeVar("Function", bound=Callable)


def _shows_its_options(function: Function) -> Function:
    """Puts the keywords of LambdaSearch into the signature, where help() looks, for `**options`."""
    own = inspect.signature(function)
    shown = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    # As objects: their names mean something in the module of LambdaSearch alone.
    options = inspect.signature(LambdaSearch, eval_str=True).parameters.values()
    shown += [p for p in options if p.kind is p.KEYWORD_ONLY]
    vars(function)["__signature__"] = own.replace(parameters=shown)
    return function


@_shows_its_options
def select_lambda(
    fit: Fit | HasPath,
    labels_or_n: Labels,
    lambdas: Iterable[float],
    *,
    by: Literal["cv", "loo", "evidence"] = "cv",
    progress: Callable[[LambdaSelection], Any] | None = None,
    **options: Any,
) -> Selection:
    """Judge all lambdas, by cross-validation if not told otherwise, and choose one.

    Args:
        fit: ``fit(train, validation, lambdas, seed)``: two tensors of indices, lambdas in falling
            order, an int. Yields for each lambda in turn its score on the validation samples: a
            number, or a dict of numbers (``{"loss": ..., "accuracy": ...}``). As a generator it
            keeps the model between lambdas, which makes the path warm-started. Whatever learns
            from data (scaling, feature selection, early stopping) belongs inside, on ``train``.
            Or a linearized model (:func:`~rlhf_lib.linearize`), or its ``fold_fit(...)``.
        labels_or_n: a class for each sample, a number or a text, for stratified folds; or the
            number of samples.
        lambdas: different numbers >= 0, in any order; :func:`lambda_grid` makes them.
        by: "cv", or with a linearized model "loo" for leave-one-out in closed form (Rad and
            Maleki, 2020) and "evidence" for Laplace's (MacKay, 1992; Immer et al., 2021). These
            two fit each lambda once, to all samples; of the options they take ``rule``.
        progress: called with the selection so far after each finished path. To loop over these
            instead, iterate over a :class:`~rlhf_lib.select.LambdaSearch` of the other arguments.
        folds: parts that the samples are dealt into, K.
        groups: one number or text for each sample; those of one group (windows of one text, visits
            of one patient) are never on both sides of a fold. See ``stratified_folds``.
        seeds: each one draws other folds, and is handed to ``fit``.
        rule: "1se", the largest lambda within one standard error of the best; or "min".
        metric: which of the scores to choose by; the smallest is best unless ``maximize``.
        warm_start: False calls ``fit`` once for each lambda, so that every fit starts afresh.
        workers: 1 computes here; another number is joblib's n_jobs (-1: all cores), and None
            leaves it to ``joblib.parallel_config``, also with its Dask back end. ``fit`` and its
            data are then sent to other processes.
        resume: a file that finished paths are kept in. The same call reads them from it instead
            of computing them; seeds may have been added. With files of other settings it refuses;
            lines that are damaged are set aside with a warning, and computed again.
        settings: JSON values that name what ``fit`` does (data, optimizer, steps): part of what
            must agree with the file, because the code of ``fit`` itself is not compared.

    Returns:
        A :class:`~rlhf_lib.select.LambdaSelection`, or a CriterionSelection for by="loo" and
        "evidence": both with rows, bands, ``best`` and ``chosen``.

    Raises:
        ValueError: lambdas that are negative or double, too few samples of a class, a journal of
            other settings, an unknown rule or judge, options of folds where there are none.
        TypeError: an argument of another kind; by="loo" or "evidence" for what has no closed form.
        OSError: a ``resume`` that cannot be written to, before anything is computed.

    In an :func:`~rlhf_lib.interrupt.interruptible` block it stops between two fits; with workers,
    between two paths.

    >>> def fit(train, validation, lambdas, seed):
    ...     for value in lambdas:
    ...         yield (value - 0.1) ** 2
    >>> select_lambda(fit, 10, [0.01, 0.1, 1.0]).chosen
    0.1
    """
    if by in CRITERIA:
        samples = len(class_labels(labels_or_n))
        options |= {"progress": progress} if progress is not None else {}
        return by_criterion(fit, samples, lambdas, by, **options)
    if by != "cv":
        raise ValueError(f"expected by 'cv', {' or '.join(map(repr, CRITERIA))}, got {by!r}")
    return _last(LambdaSearch(_function(fit), labels_or_n, lambdas, **options), progress)


@_shows_its_options
def nested_select_lambda(
    fit: Fit,
    labels_or_n: Labels,
    lambdas: Iterable[float],
    *,
    outer_folds: int = 5,
    progress: Callable[[NestedSelection], Any] | None = None,
    **options: Any,
) -> NestedSelection:
    """An honest score of *choosing* lambda: the whole of select_lambda inside each outer fold.

    Each outer fold is put aside; lambda is chosen by cross-validation within the rest; the rest is
    fitted with it (along the path from the largest lambda, if warm-started) and scored once on
    the fold. No sample that judges has helped to choose (Stone, 1974; Varma and Simon, 2006). The
    score belongs to the procedure, not to one lambda: the folds may choose different ones.

    outer_folds: folds that judge; ``folds``: those within the rest, that choose. Costs about
    ``outer_folds * (folds + 1)`` paths for each seed. Workers and the file take whole outer folds;
    ``progress`` is called after each. All else is as for :func:`select_lambda`, errors included.
    """
    search = LambdaSearch(_function(fit), labels_or_n, lambdas, **options)
    return _last(search.nested(outer_folds), progress)


def _function(fit: Any) -> Fit:
    """What is called for a fold: a linearized model hands out its own."""
    return fit.fold_fit() if hasattr(fit, "fold_fit") else fit


def _last(selections: Iterable[Found], progress: Callable[[Found], Any] | None) -> Found:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: expected a function, got {progress!r}")
    for selection in selections:
        if progress is not None:
            progress(selection)
    return selection
