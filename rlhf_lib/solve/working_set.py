"""Sparse linear models: proximal Newton steps on few columns, until the others have a say.

Most columns of a sparse model never move from their kink, and a pass over all of them tells which
should. So the problem is solved on a working set, which grows with the support (Massias, Gramfort
and Salmon, 2018; for Newton steps and other penalties Bertrand et al., 2022), and a column outside
is touched only when its violation of the optimality condition is among the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..arguments import function, real, vector, whole
from ..interrupt import checkpoint
from ..objective.task_loss import gradients
from ..regularizers import Regularizer, check_lambda
from .conjugate_gradient import CONVERGED, MAX_ITER
from .proximal import forcing_term, proximal_solve

LINE_SEARCH_FAILED = "line_search_failed"
_FIRST = 10  # columns in the first set
_ENOUGH = 0.3  # of the violation over all columns, to which a set is solved before it grows
# Multiplications of a Gram matrix take this part of the time of those of products, which go through
# the whole set for each: 10,000 rows, 100 to 1,000 columns, one thread.
_BLOCKED = 1 / 16


@dataclass(frozen=True)
class SparseMinimum:
    """What :func:`sparse_minimum` found.

    Attributes:
        theta: shape (p,), exact zeros included. outputs: X theta, shape (n,).
        value: mean loss + penalty. reason: "converged", "max_iter" or "line_search_failed".
        violation: largest entry of the minimum-norm subgradient. first_violation: that at zero.
        sets: how many columns each working set had. steps: Newton steps on all of them.
    """

    theta: Tensor = field(repr=False)
    outputs: Tensor = field(repr=False)
    value: float
    reason: str
    violation: float
    first_violation: float
    sets: tuple[int, ...]
    steps: int

    @property
    def converged(self) -> bool:
        """True if the violation met the tolerance."""
        return self.reason == CONVERGED


@torch.no_grad()
def sparse_minimum(
    loss: Callable[[Tensor], Tensor],
    X: Tensor,
    penalty: Regularizer,
    lambda_reg: float,
    *,
    start: Tensor | None = None,
    rtol: float = 1e-4,
    max_sets: int = 50,
    max_steps: int = 20,
) -> SparseMinimum:
    """Minimize mean loss(X theta) + lambda R(theta) for a penalty with kinks, in few columns.

    Args:
        loss: of each sample, (n,), from the outputs (n,); convex and twice differentiable. Each
            sample's depends on its own output alone.
        X: shape (n, p), a column for each weight; the transpose of a contiguous (p, n) is best. An
            intercept is a column of ones whose entry in the penalty's ``weight`` is 0.
        penalty: a sum over single weights, as L1() or ElasticNet().
        start: shape (p,), such as the minimum for a larger lambda; default zero.
        rtol: converged when no entry of the minimum-norm subgradient is larger than this times the
            largest at zero.
        max_sets: most working sets. max_steps: most Newton steps on one.

    Raises:
        ValueError: a penalty that couples weights, shapes that do not fit.

    >>> from rlhf_lib.regularizers import L1
    >>> X, y = torch.eye(3, dtype=torch.float64), torch.tensor([3.0, 0.1, -1.0]).double()
    >>> sparse_minimum(lambda z: (z - y) ** 2 / 2, X, L1(), 0.1).theta
    tensor([ 2.7000,  0.0000, -0.7000], dtype=torch.float64)
    """
    function("loss", loss)
    if not isinstance(X, Tensor) or X.ndim != 2 or not X.is_floating_point():
        raise TypeError(f"expected X as a floating-point tensor of shape (n, p), got {X!r:.80}")
    if not isinstance(penalty, Regularizer) or not penalty.separable:
        raise ValueError(
            f"expected a penalty that is a sum over single weights, such as L1(), got {penalty!r}"
        )
    check_lambda(real("lambda_reg", lambda_reg, finite=False))
    rtol, max_sets = real("rtol", rtol, 0.0), whole("max_sets", max_sets, 1)
    max_steps = whole("max_steps", max_steps, 1)
    columns = X.T.contiguous()
    theta = columns.new_zeros(len(columns))
    weights = penalty.on([theta], [lambda_reg]).weights
    assert weights is not None  # it is bound
    everywhere = replace(penalty, weight=weights).on([theta], [1.0])
    curved = _Loss(loss, columns.shape[1])
    slope, _ = curved.slope(columns.new_zeros(columns.shape[1]), bend=False)
    first = _largest(everywhere.subgradient(columns @ slope, theta))
    if start is not None:
        theta = vector("start", start, like=theta, finite=True).clone()
    z, sets, steps, reason, products = theta @ columns, [], 0, MAX_ITER, 10
    size = _FIRST
    while True:
        checkpoint()
        slope, _ = curved.slope(z, bend=False)
        residual = everywhere.subgradient(columns @ slope, theta).abs()
        violation = _largest(residual)
        if violation <= rtol * first:
            reason = CONVERGED
        if reason != MAX_ITER or len(sets) == max_sets:
            value = curved.value(z) + float(everywhere.value(theta))
            return SparseMinimum(theta, z, value, reason, violation, first, tuple(sets), steps)
        moving = ~everywhere.at_kink(theta)
        size = min(len(theta), max(size, 2 * int(moving.sum())))
        order = torch.where(moving, math.inf, residual).topk(size)
        chosen = order.indices[order.values > 0]
        sets.append(len(chosen))
        part = replace(penalty, weight=weights[chosen])
        found = _on_set(
            curved,
            columns[chosen],
            part,
            theta[chosen],
            z,
            max(rtol * first, _ENOUGH * violation),
            max_steps,
            products,
        )
        theta, z = theta.index_copy(0, chosen, found.theta), found.outputs
        steps, products = steps + found.steps, found.products
        if found.failed:
            reason = LINE_SEARCH_FAILED
        size = 2 * size


@dataclass
class _Part:
    theta: Tensor
    outputs: Tensor
    steps: int
    products: int  # of the last solve
    failed: bool


def _on_set(curved, A, penalty, u, z, goal: float, max_steps: int, products: int) -> _Part:
    """Proximal Newton steps on the rows of A, until no violation there is larger than the goal."""
    penalty, first = penalty.on([u], [1.0]), 0.0
    for steps in range(max_steps):
        slope, bend = curved.slope(z)
        gradient = A @ slope
        size = _largest(penalty.subgradient(gradient, u))
        first = first or size
        if size <= goal:
            return _Part(u, z, steps, products, False)
        dense = len(A) * _BLOCKED <= 2 * products
        solved = proximal_solve(
            (A * bend) @ A.T if dense else _Products(A, bend),
            gradient,
            penalty,
            u,
            rtol=forcing_term(size, first),
            atol=0.1 * goal,
        )
        products, along = max(solved.iterations, 1), solved.direction @ A
        value, length = curved.value(z) + float(penalty.value(u)), 1.0
        slack = 4 * torch.finfo(z.dtype).eps * abs(value)
        while True:
            new_u = solved.point if length == 1 else u + length * solved.direction
            new_z = z + length * along
            new = curved.value(new_z) + float(penalty.value(new_u))
            if new <= value + 1e-4 * length * solved.decrement + slack:
                break
            length /= 2
            if length < 1e-8:
                return _Part(u, z, steps, products, True)
        u, z = new_u, new_z
    return _Part(u, z, max_steps, products, False)


class _Loss:
    """The mean loss of outputs z, its slope there, and its second derivatives, sample by sample."""

    def __init__(self, loss: Callable[[Tensor], Tensor], n: int):
        self.loss, self.n = loss, n

    def _mean(self, z: Tensor) -> Tensor:
        found = self.loss(z)
        if not isinstance(found, Tensor) or found.shape != (self.n,):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"expected the loss of each sample, shape ({self.n},), got {got}")
        return found.mean()

    def value(self, z: Tensor) -> float:
        return float(self._mean(z))

    def slope(self, z: Tensor, *, bend: bool = True) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (slope,) = gradients(self._mean(z), [z], create_graph=bend)
            curvature = gradients(slope.sum(), [z])[0] if bend else slope
        return slope.detach(), curvature.detach()


class _Products:
    """A diag(bend) A' by its products."""

    def __init__(self, A: Tensor, bend: Tensor):
        self.A, self.bend, self.shape = A, bend, (len(A), len(A))

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.A @ (self.bend * (v @ self.A))


def _largest(residual: Tensor) -> float:
    return float(residual.abs().max())
