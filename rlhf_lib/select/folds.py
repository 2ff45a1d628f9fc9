"""k-fold cross-validation: every sample is validated once, every class spread over all folds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def class_labels(labels_or_n: Sequence[int] | Tensor | int) -> Tensor:
    """Integer labels (n,) of a sequence or tensor; for a number n, n samples of one class.

    Raises ValueError for labels that are not whole numbers, or not in one dimension.
    """
    if isinstance(labels_or_n, int) and not isinstance(labels_or_n, bool):
        if labels_or_n < 2:
            raise ValueError(f"expected labels or at least 2 samples, got {labels_or_n}")
        return torch.zeros(labels_or_n, dtype=torch.long)
    labels = torch.as_tensor(labels_or_n).detach().cpu()
    if labels.ndim != 1 or len(labels) < 2:
        raise ValueError(f"expected at least two labels, got the shape {tuple(labels.shape)}")
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise ValueError(
            "expected classes, that is whole numbers, as labels: for a regression give the number "
            f"of samples, {len(labels)}, and the folds are not stratified"
        )
    return labels.long()


def stratified_folds(
    labels_or_n: Sequence[int] | Tensor | int, folds: int = 5, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """(training indices, validation indices) of each fold, both in ascending order.

    Every index is in one validation set; the counts of a class in two validation sets differ by
    one at most, and so do their sizes (Kohavi, 1995, recommends stratification: less bias and
    less variance than plain folds).

    labels_or_n: n class labels, or the number n for folds without classes (regression).
    seed: of the shuffle.

    Raises ValueError for fewer than two folds, or fewer samples of a class than folds.

    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> [sorted(labels[held].tolist()) for _, held in stratified_folds(labels, folds=2)]
    [[0, 1], [0, 1]]
    """
    labels = class_labels(labels_or_n)
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= len(labels):
        raise ValueError(
            f"expected from 2 folds to {len(labels)}, the number of samples, got {folds!r}"
        )
    classes, counts = labels.unique(return_counts=True)
    if int(counts.min()) < folds:
        rare = int(classes[counts.argmin()])
        raise ValueError(
            f"class {rare} has {int(counts.min())} samples, fewer than the {folds} folds: take at "
            "most as many folds, or give the number of samples instead of labels for folds "
            "without classes"
        )
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    # Sorted by class and dealt out like cards: no fold gets two of a class more than another.
    dealt = shuffled[labels[shuffled].argsort(stable=True)]
    owner = torch.empty_like(labels)
    owner[dealt] = torch.arange(len(labels)) % folds
    return [((owner != k).nonzero()[:, 0], (owner == k).nonzero()[:, 0]) for k in range(folds)]
