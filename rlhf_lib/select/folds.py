"""k-fold cross-validation: every sample is validated once, every class spread over all folds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import torch
from torch import Tensor

from ..arguments import seed_of, whole

Labels = Sequence | Tensor | int


def class_labels(labels_or_n: Labels) -> Tensor:
    """Integer labels (n,) of a sequence, array or tensor; for a number n, n samples of one class.

    Texts become the numbers of their sorted different values.

    Raises ValueError for labels that are neither whole numbers nor texts, or not in one dimension.
    """
    return _coded(labels_or_n)[0]


def stratified_folds(
    labels_or_n: Labels, folds: int = 5, seed: int = 0, groups: Sequence | Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """(training indices, validation indices) of each fold, both in ascending order.

    Every index is in one validation set; the counts of a class in two validation sets differ by
    one at most, and so do their sizes (Kohavi, 1995, recommends stratification: less bias and
    less variance than plain folds).

    labels_or_n: n class labels, or the number n for folds without classes (regression).
    seed: of the shuffle.
    groups: one number or text for each sample: samples of one group (windows of a text, visits of
        a patient) come into the same fold. Sizes and classes are then only as even as the groups
        let them be: from the largest on, each goes where its classes have been dealt least.

    Raises ValueError for fewer than two folds, fewer samples of a class (or fewer groups) than
    folds, groups of another number, or a class that one fold holds all of.

    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> [sorted(labels[held].tolist()) for _, held in stratified_folds(labels, folds=2)]
    [[0, 1], [0, 1]]
    """
    labels, names = _coded(labels_or_n)
    folds = whole("folds", folds)
    if not 2 <= folds <= len(labels):
        raise ValueError(
            f"expected from 2 folds to {len(labels)}, the number of samples, got {folds}"
        )
    classes, coded, counts = labels.unique(return_inverse=True, return_counts=True)
    said = [names[c] if names else c for c in classes.tolist()]
    generator = torch.Generator().manual_seed(seed_of("seed", seed))
    if groups is not None:
        owner = _grouped(coded, group_codes(groups, len(labels)), folds, generator)
        for k in range(folds):
            missing = counts == coded[owner == k].bincount(minlength=len(counts))
            if len(counts) > 1 and bool(missing.any()):
                raise ValueError(
                    f"class {said[int(missing.nonzero()[0, 0])]} has all of its samples in groups "
                    "of one fold, which would be trained without it: take fewer folds, or give the "
                    "number of samples instead of labels"
                )
    else:
        if int(counts.min()) < folds:
            raise ValueError(
                f"class {said[int(counts.argmin())]} has {int(counts.min())} samples, fewer than "
                f"the {folds} folds: take at most as many folds, or give the number of samples "
                "instead of labels for folds without classes"
            )
        shuffled = torch.randperm(len(labels), generator=generator)
        # Sorted by class and dealt out like cards: no fold gets two of a class more than another.
        dealt = shuffled[labels[shuffled].argsort(stable=True)]
        owner = torch.empty_like(labels)
        owner[dealt] = torch.arange(len(labels)) % folds
    return [((owner != k).nonzero()[:, 0], (owner == k).nonzero()[:, 0]) for k in range(folds)]


def group_codes(groups: Sequence | Tensor, samples: int) -> Tensor:
    """Numbers from 0 for the groups of the samples, (n,). Raises ValueError for another number."""
    codes = _coded(groups, "groups")[0] if not isinstance(groups, int) else torch.empty(0)
    if len(codes) != samples:
        raise ValueError(
            f"groups: expected one for each of the {samples} samples, got {len(codes)}"
        )
    return codes.unique(return_inverse=True)[1]


def _grouped(labels: Tensor, groups: Tensor, folds: int, generator: torch.Generator) -> Tensor:
    """The fold of each sample, (n,); `labels` and `groups` are numbers from 0."""
    number = int(groups.max()) + 1
    if number < folds:
        raise ValueError(f"expected at least {folds} groups for {folds} folds, got {number}")
    held = torch.zeros(number, int(labels.max()) + 1, dtype=torch.float64)
    held.index_put_((groups, labels), torch.ones(len(labels), dtype=held.dtype), accumulate=True)
    shuffled = torch.randperm(number, generator=generator)
    order = shuffled[held[shuffled].sum(1).argsort(descending=True, stable=True)]
    # The least sum of squares of the classes' shares over the folds is the most even deal; adding
    # group g to fold k raises it by 2 share_k' share_g and what is the same for every fold.
    shares, dealt, sizes = held / held.sum(0), held.new_zeros(folds, held.shape[1]), [0.0] * folds
    owner = torch.empty(number, dtype=torch.long)
    for g in order.tolist():
        cost = (dealt @ shares[g]).tolist()
        k = min(range(folds), key=lambda k: (cost[k], sizes[k]))
        owner[g], sizes[k] = k, sizes[k] + float(held[g].sum())
        dealt[k] += shares[g]
    return owner[groups]


def _coded(values: Any, what: str = "labels") -> tuple[Tensor, list | None]:
    """Whole numbers (n,), and what they stand for where they were texts."""
    if isinstance(values, bool) or values is None or isinstance(values, str):
        raise ValueError(f"{what}: expected one for each sample, got {values!r}")
    if getattr(values, "ndim", 0) == 0 and hasattr(values, "__index__"):
        if (n := index(values)) < 2:
            raise ValueError(f"expected {what} or at least 2 samples, got {n}")
        return torch.zeros(n, dtype=torch.long), None
    if not isinstance(values, Tensor):
        if not isinstance(values, Iterable):
            raise TypeError(f"{what}: expected one for each sample, got {values!r}")
        # An array or a series of another library, whose index is not asked for.
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        if values and all(isinstance(value, str) for value in values):
            names = sorted(set(values))
            number = {name: i for i, name in enumerate(names)}
            return torch.tensor([number[value] for value in values]), names
    try:
        numbers = torch.as_tensor(values).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{what}: expected whole numbers or texts, one for each sample: {error}"
        ) from None
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"expected at least two {what}, got the shape {tuple(numbers.shape)}")
    if numbers.is_complex() or (
        numbers.is_floating_point() and not torch.equal(numbers, numbers.round())
    ):
        raise ValueError(
            f"expected classes, that is whole numbers or texts, as {what}, got others (or NaN): "
            f"for a regression give the number of samples, {len(numbers)}, and the folds are not "
            "stratified"
        )
    return numbers.long(), None
