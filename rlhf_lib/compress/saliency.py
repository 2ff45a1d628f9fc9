"""What it would cost to set a weight to zero: magnitude, and LeCun's curvature-aware saliency."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..curvature.diagonals import (
    empirical_fisher_diagonal,
    gauss_newton_diagonal,
    hutchinson_diagonal,
)
from ..curvature.operators import HessianOperator
from ..objective.parameters import unflatten
from ..objective.task_loss import TaskLoss

CURVATURES = ("ggn", "hessian", "fisher")


def saliencies(
    weights: dict[str, Tensor],
    by: str,
    task: TaskLoss | None,
    *,
    curvature: str = "ggn",
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Scores of every weight, like the weights; the least are pruned first.

    "magnitude": |theta_i|.
    "obd": (1/2) h_ii theta_i^2, what a quadratic model with a diagonal matrix at a minimum says the
        loss rises by (LeCun, Denker and Solla, 1990, equation 2). h is the diagonal of the
        Gauss-Newton matrix, exactly ("ggn"), of the empirical Fisher matrix ("fisher"), or of the
        Hessian, estimated by ``samples`` products ("hessian"); negative estimates count as 0.
    """
    if by == "magnitude":
        return {name: w.detach().abs() for name, w in weights.items()}
    assert task is not None  # see task_loss
    trained = list(weights.values())
    frozen = [w for w in trained if not w.requires_grad]
    for w in frozen:  # their curvature counts although they are not trained
        w.requires_grad_(True)
    try:
        if curvature == "hessian":
            operator = HessianOperator(task, trained, keep_graph=False)
            h = hutchinson_diagonal(operator, samples=samples, generator=generator)
        else:
            ggn = curvature == "ggn"
            h = (gauss_newton_diagonal if ggn else empirical_fisher_diagonal)(task, trained)
    finally:
        for w in frozen:
            w.requires_grad_(False)
    pieces = unflatten(h.clamp_(min=0), trained)
    return {
        name: piece.view_as(w) * _square(w) / 2
        for (name, w), piece in zip(weights.items(), pieces, strict=True)
    }


def _square(weight: Tensor) -> Tensor:
    """In float32 at least: half precision has no room for the squares of small weights."""
    weight = weight.detach()
    return weight.to(torch.promote_types(weight.dtype, torch.float32)).square()


def task_loss(
    loss_fn: Callable | None, batches: Iterable | None, by: str, count: Callable | str | None = None
) -> TaskLoss | None:
    """The loss that ``by`` asks for. Raises ValueError where it is missing."""
    if loss_fn is None and not (batches is None and count is None):
        raise ValueError("expected loss_fn with batches and count, got these alone")
    if loss_fn is None and by != "magnitude":
        raise ValueError(
            f"expected a loss with by={by!r}, got none: pass loss_fn=, which returns (mean loss, "
            "outputs) of a batch, and batches=, as a task's loss_fn and batches(task.training, 32)"
        )
    if isinstance(loss_fn, TaskLoss) and not (batches is None and count is None):
        raise ValueError("expected a TaskLoss alone, got batches or count, which it has, beside it")
    given = loss_fn is None or isinstance(loss_fn, TaskLoss)
    task = loss_fn if given else TaskLoss(loss_fn, batches, count=count)
    return None if by == "magnitude" else task
