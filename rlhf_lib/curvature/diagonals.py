"""Diagonals of the curvature, and the preconditioner that conjugate gradients makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..arguments import real, seeded, symmetric, vector, whole
from ..objective.task_loss import Outputs, TaskLoss, gradients
from ..per_sample.factor import SampleSpace
from .damped import Symmetric, matvec


class TypedSymmetric(Symmetric, Protocol):
    """A symmetric matrix that says what its vectors are: a tensor, or a curvature operator."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...


@torch.no_grad()
def hutchinson_diagonal(
    A: TypedSymmetric, *, samples: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """Estimate of the diagonal of A by products: the mean of z * (A z) over random signs z.

    Bekas, Kokiopoulou and Saad (2007), after Hutchinson (1990). Unbiased; the variance of entry i
    is the sum of the squares of row i beside the diagonal, over ``samples``. Entries can come out
    negative even for a positive definite A.

    Args:
        A: symmetric operator of shape (n, n), with ``dtype`` and ``device``.
        samples: products to spend.
        generator: of the signs; default torch's own.

    Returns:
        shape (n,).
    """
    samples = whole("samples", samples, 1)
    symmetric("A", A)
    generator = seeded(generator)
    place = A.device if generator is None else generator.device
    total = torch.zeros(A.shape[0], dtype=A.dtype, device=A.device)
    product = torch.empty_like(total)
    for _ in range(samples):
        bits = torch.randint(2, total.shape, generator=generator, device=place, dtype=torch.int8)
        z = bits.to(total).mul_(2).sub_(1)
        product = matvec(A, z, product)
        total.addcmul_(z, product, value=1 / samples)
    return total


def gauss_newton_diagonal(
    task: TaskLoss, params: Sequence[Tensor], *, check: str = "redo"
) -> Tensor:
    """Diagonal of the Gauss-Newton matrix of the task, exactly; shape (n,).

    It takes one backward pass for every direction in which a sample's loss curves (classes - 1 for
    cross-entropy), and one for each sample where the samples act on one another inside the model;
    see :class:`~rlhf_lib.per_sample.SampleSpace` for what it asks of the loss, and for ``check``.
    """
    return SampleSpace(task, params, check=check).diagonal()


def empirical_fisher_diagonal(
    task: TaskLoss, params: Sequence[Tensor], *, check: str = "redo"
) -> Tensor:
    """Mean over the samples of their squared gradients, shape (n,): Martens' (2010, section 4.7).

    It is the diagonal of the empirical Fisher matrix, (1/N) sum_i grad_i grad_i', with the
    gradients of the samples' own losses. The task must be a mean over its samples, or a
    sum by ``count="sum"``.

    Raises:
        ValueError: the closure returns no outputs, at which the samples could be told apart.
    """

    def slope(loss: Tensor, outputs: Outputs) -> list[Outputs]:
        if not outputs or any(o.shape[:1] != outputs[0].shape[:1] or o.ndim == 0 for o in outputs):
            raise ValueError(
                "expected (loss, outputs) from the closure, samples first, got no outputs: return "
                "(loss, outputs), which per-sample gradients need"
            )
        return [gradients(loss, outputs)]

    space = SampleSpace(task, params, slope, check=check)
    # A row is the sample's gradient, of a mean over the number of samples.
    return space.diagonal() * (1 / space.rows if task.summed else space.rows)


def diagonal_preconditioner(
    diagonal: Tensor, shift: float | Tensor = 0.0, *, exponent: float = 0.75
) -> Tensor:
    """Inverse of (diagonal + shift)^exponent, shape (n,), for ``conjugate_gradient``.

    Martens (2010, section 4.7): the exponent below 1 tempers a diagonal that is only an estimate.
    Negative entries of an estimate count as 0.

    Raises:
        ValueError: an entry of the sum is not positive; shift is the damping plus the penalty's
            curvature, and has to be if the diagonal has zeros.
    """
    vector("diagonal", diagonal, finite=True)
    if isinstance(shift, Tensor) and shift.ndim:
        vector("shift", shift, like=diagonal, finite=True)
    else:
        real("shift", shift)
    if not 0 <= real("exponent", exponent) <= 1:
        raise ValueError(f"expected 0 <= exponent <= 1, got {exponent}")
    total = diagonal.clamp(min=0) + shift
    if not bool((total > 0).all()):
        raise ValueError(
            "expected diagonal + shift > 0 in every entry, got "
            f"{float(total.min()):.3g}: pass the damping as shift"
        )
    return total.pow_(-exponent)
