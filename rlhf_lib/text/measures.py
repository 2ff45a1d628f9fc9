"""What a regularizer does, in numbers: size, distance, zeros; calibration of the predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import whole
from ..regularizers import penalized
from .task import Task


@torch.no_grad()
def measure_weights(task: Task) -> dict[str, float]:
    """Of the trained parameters, now.

    weight_norm: 2-norm of all. distance: 2-norm of how far they are from where they started.
    zeros: share of exact zeros, and unmoved: share still exactly where they started, both among
    the penalized ones (weights, not biases nor LayerNorm).
    """
    trained = task.trained()
    weights = [pair for pair, flag in zip(trained, penalized(trained), strict=True) if flag]
    count = sum(p.numel() for _, p in weights)
    start = task._start
    return {
        "weight_norm": sum(float(p.pow(2).sum()) for _, p in trained) ** 0.5,
        "distance": task.distance(),
        "zeros": sum(int((p == 0).sum()) for _, p in weights) / count,
        "unmoved": sum(int((p == start[name]).sum()) for name, p in weights) / count,
    }


def outputs_of(task: Task, data: dict[str, Tensor]) -> Tensor:
    """The task's outputs for a data set without dropout, one after the other: logits (n, C)."""
    return torch.cat([outputs for _, _, outputs in task.outputs(data)])


def calibration_error(logits: Tensor, labels: Tensor | Sequence[int], bins: int = 10) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins of confidence.

    logits: (n, C). labels: (n,) class indices. Confidence is the largest probability, bins are of
    equal width and weighted by how many samples they hold (Guo et al., 2017, eq. 3). 0 is best;
    with few samples in a bin chance alone keeps it above 0.
    """
    from ..quiet import quiet

    with quiet():
        from torchmetrics.functional.classification import multiclass_calibration_error

    labels, bins = _labels_of(logits, labels), whole("bins", bins, 1)
    classes = logits.shape[1]
    return float(multiclass_calibration_error(logits.softmax(1), labels, classes, n_bins=bins))


def brier_score(logits: Tensor, labels: Tensor | Sequence[int]) -> float:
    """Mean squared distance of the probabilities to the truth, over classes summed (Brier, 1950).

    logits: (n, C). labels: (n,). From 0 to 2; always 1/2 on two classes gives 1/2.
    """
    truth = torch.nn.functional.one_hot(_labels_of(logits, labels), logits.shape[1])
    return float((logits.softmax(1) - truth).pow(2).sum(1).mean())


def _labels_of(logits: Tensor, labels: Tensor | Sequence[int]) -> Tensor:
    """The labels as a tensor, where they fit the logits. Raises TypeError or ValueError."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise TypeError(f"expected logits as a float tensor, got {type(logits).__name__}")
    if logits.ndim != 2 or not logits.numel():
        raise ValueError(f"expected logits of shape (n, classes), got {tuple(logits.shape)}")
    try:
        found = torch.as_tensor(labels, device=logits.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"expected labels as integers, got {type(labels).__name__}") from error
    n, classes = logits.shape
    if found.shape != (n,) or found.is_floating_point() or found.is_complex():
        raise ValueError(
            f"expected labels as {n} integers, one for each row of logits, got shape "
            f"{tuple(found.shape)} of {found.dtype}"
        )
    found = found.long()
    if not 0 <= int(found.min()) <= int(found.max()) < classes:
        raise ValueError(
            f"expected labels from 0 to {classes - 1}, got {int(found.min())} to {int(found.max())}"
        )
    return found
