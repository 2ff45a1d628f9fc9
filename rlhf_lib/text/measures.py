"""What a regularizer does, in numbers: size, distance, zeros; calibration of the predictions."""

from __future__ import annotations

import torch
from torch import Tensor

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


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 10) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins of confidence.

    logits: (n, C). labels: (n,) class indices. Confidence is the largest probability, bins are of
    equal width and weighted by how many samples they hold (Guo et al., 2017, eq. 3). 0 is best;
    with few samples in a bin chance alone keeps it above 0.
    """
    from ..quiet import quiet

    with quiet():
        from torchmetrics.functional.classification import multiclass_calibration_error

    classes = logits.shape[1]
    return float(multiclass_calibration_error(logits.softmax(1), labels, classes, n_bins=bins))


def brier_score(logits: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities to the truth, over classes summed (Brier, 1950).

    logits: (n, C). labels: (n,). From 0 to 2; always 1/2 on two classes gives 1/2.
    """
    truth = torch.nn.functional.one_hot(labels, logits.shape[1])
    return float((logits.softmax(1) - truth).pow(2).sum(1).mean())
