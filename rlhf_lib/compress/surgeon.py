"""Optimal brain surgeon: prune, and let the weights that stay make up for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ..arguments import symmetric, vector, whole
from ..objective.task_loss import TaskLoss
from .weights import Matrix


@torch.no_grad()
def optimal_brain_surgeon(
    theta: Tensor, hessian: Tensor, count: int
) -> tuple[Tensor, list[int], list[float]]:
    """Set ``count`` weights to zero one by one, moving the others after each (toys).

    The weight q with the least theta_q^2 / (2 [H^-1]_qq) goes, and the others move by
    -theta_q / [H^-1]_qq times column q of H^-1, the inverse over the weights still there (Hassibi
    and Stork, 1993, equation 5). On a quadratic at its minimum the loss rises by just the sum of
    the saliencies.

    Args:
        theta: shape (n,). hessian: positive definite, (n, n). count: 0 <= count <= n.

    Returns:
        The new theta, the pruned indices in order, and their saliencies.

    Raises ValueError for shapes or a count that do not fit, and where H is not positive definite.
    """
    n = vector("theta", theta, finite=True).numel()
    if not isinstance(hessian, Tensor):
        raise TypeError(f"expected hessian as a tensor (n, n), got {type(hessian).__name__}")
    symmetric("hessian", hessian, like=theta)
    if not whole("count", count, 0) <= n:
        raise ValueError(f"count: expected 0 to {n}, the number of weights, got {count}")
    theta, inverse = theta.clone(), _inverse(hessian)
    left = torch.ones(n, dtype=torch.bool, device=theta.device)
    order, cost = [], []
    for _ in range(count):
        saliency = theta.square() / (2 * inverse.diagonal())
        q = int(saliency.masked_fill(~left, torch.inf).argmin())
        order.append(q)
        cost.append(float(saliency[q]))
        column = inverse[:, q].clone()
        theta -= theta[q] / column[q] * column
        inverse -= torch.outer(column, column) / column[q]
        left[q] = False
        theta[~left] = 0.0
        inverse[q, q] = 1.0  # so that the saliency of a pruned weight is not 0 / 0
    return theta, order, cost


def _inverse(matrix: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info):
        raise ValueError(
            "expected a positive definite matrix, got another: add damping to its diagonal"
        )
    return torch.cholesky_inverse(factor)


@torch.no_grad()
def input_second_moments(
    layers: dict[str, nn.Linear], task: TaskLoss, damping: float = 0.01
) -> dict[str, Tensor]:
    """For each layer X'X / N of its inputs X (N, d), plus ``damping`` times its mean diagonal.

    With it (1/2) tr((W - V) M (W - V)') is half the mean squared change of the layer's outputs when
    its weights W become V: a Hessian that all rows of W share. (d, d) in float64. Every row of a
    batch counts, also what stands at padded places.
    """
    moments = {
        name: layer.weight.new_zeros(layer.in_features, layer.in_features, dtype=torch.float64)
        for name, layer in layers.items()
    }
    counts = dict.fromkeys(layers, 0)

    def watch(name: str) -> Callable[[nn.Module, tuple], None]:
        def hook(module: nn.Module, inputs: tuple) -> None:
            x = inputs[0].reshape(-1, layers[name].in_features)
            moments[name] += (x.T @ x).double()
            counts[name] += len(x)

        return hook

    task.compare()
    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(watch(name)).remove)
        task.value()
    unseen = [name for name, count in counts.items() if not count]
    if unseen:
        raise ValueError(f"the loss does not use {', '.join(unseen[:3])}: nothing is known of it")
    for name, moment in moments.items():
        if not bool(moment.isfinite().all()):
            raise ValueError(f"expected finite inputs, got NaN or infinity in those of {name}")
        moment /= counts[name]
        moment.diagonal().add_(damping * moment.diagonal().mean() + 1e-12)
    return moments


@torch.no_grad()
def operate(
    matrices: dict[str, Matrix],
    task: TaskLoss,
    fraction: float,
    gone: dict[str, Tensor],
    damping: float,
) -> dict[str, Tensor]:
    """Masks of linear layers whose weights have moved; none has if one cannot be operated on."""
    layers = {
        n: m for n, matrix in matrices.items() for m, _ in matrix.places if isinstance(m, nn.Linear)
    }
    moments = input_second_moments(layers, task, damping)
    new, keep = {}, {}
    for name, layer in layers.items():
        try:
            new[name], keep[name] = layer_surgery(
                layer.weight, moments.pop(name), fraction, gone.get(name)
            )
        except ValueError as error:
            raise ValueError(f"{name}, second moments of its inputs: {error}") from error
    for name, layer in layers.items():
        layer.weight.copy_(new.pop(name))
    return keep


@torch.no_grad()
def layer_surgery(
    weight: Tensor, moment: Tensor, fraction: float, gone: Tensor | None = None, *, block: int = 128
) -> tuple[Tensor, Tensor]:
    """Prune a layer's weights column by column; those to the right of one make up for it.

    All rows share one matrix M and one order of columns, so this takes one factorization and d
    updates (Frantar and Alistarh, 2023, section 3): at column i the surgeon's saliency and step
    are taken with M restricted to the columns from i on, while those before stay. Row i of U, with
    U'U = M^-1 upper triangular, holds all that is needed. Where a row's zeros all come first the
    result is the least-squares fit of the old outputs; elsewhere it is a little short of it.

    Args:
        weight: shape (rows, d). moment: M, (d, d). fraction: pruned of every ``block`` of columns,
            whose least saliencies w^2 / (2 [M_i:,i:^-1]_11) are compared with one another.
        gone: True where a weight is pruned already.

    Returns (the new weights, the mask of what is kept).
    """
    new = weight.detach().double().clone()
    keep = torch.ones_like(new, dtype=torch.bool) if gone is None else ~gone
    U = torch.linalg.cholesky(_inverse(moment), upper=True)
    for start in range(0, new.shape[1], block):
        here = slice(start, min(start + block, new.shape[1]))
        saliency = (new[:, here] / U.diagonal()[here]).square() / 2
        saliency = saliency.masked_fill(~keep[:, here], -1.0).reshape(-1)
        count = max(round(fraction * len(saliency)), int((saliency < 0).sum()))
        chosen = torch.ones_like(saliency, dtype=torch.bool)
        chosen[saliency.argsort(stable=True)[:count]] = False
        keep[:, here] = chosen.view(len(new), -1)
        steps = torch.zeros_like(new[:, here])
        for k, i in enumerate(range(here.start, here.stop)):
            steps[:, k] = torch.where(keep[:, i], 0.0, new[:, i]) / U[i, i]
            new[:, i : here.stop].addr_(steps[:, k], U[i, i : here.stop], alpha=-1)
        new[:, here.stop :] -= steps @ U[here, here.stop :]  # later columns, all at once
    return new.masked_fill_(~keep, 0.0).to(weight.dtype), keep
