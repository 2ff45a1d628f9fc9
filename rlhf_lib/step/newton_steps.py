"""The steps that :func:`~rlhf_lib.step.newton` chooses from: smooth, orthant-wise, proximal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..regularizers import Regularizer
from ..solve.dense import (
    DirectResult,
    absolute_value,
    cholesky_solve,
    saddle_free_solve,
    solve_dense,
)
from ..solve.proximal import proximal_solve

DIRECTIONS = ("newton", "cholesky", "saddle-free")


@dataclass(frozen=True)
class Step:
    """A step before its length is known.

    Attributes:
        path: the trial point, shape (n,), at a step length t; t = 1 is the full step.
        slope: t -> what a line search compares the decrease with, negative for a descent.
        predicted: reduction that the undamped quadratic model promises for the full step.
        reason: why the solve stopped. jitter: how far it changed H, see DirectResult.
        products: products that the inner solve of a proximal step spent.
    """

    path: Callable[[float], Tensor]
    slope: Callable[[float], float]
    predicted: float
    reason: str
    jitter: float = 0.0
    products: int = 0


def smooth_step(theta: Tensor, gradient: Tensor, H: Tensor, damping: float, direction: str) -> Step:
    """theta - (H + mu I)^-1 gradient, H that of the whole objective, modified as asked."""
    solved = _solve(direction, _damped(H, damping), -gradient)
    d, slope = solved.x, float(gradient @ solved.x)
    return Step(
        lambda t: theta + t * d,
        lambda t: t * slope,
        -(slope + 0.5 * float(d @ (H @ d))),
        solved.reason,
        solved.jitter,
    )


def orthant_step(
    theta: Tensor, gradient: Tensor, H: Tensor, damping: float, direction: str, penalty: Regularizer
) -> Step:
    """A Newton step on the coordinates off the kink, projected onto theta's orthant.

    ``gradient`` is the minimum-norm subgradient and H the Hessian of the whole objective. The step
    has to descend, so "newton" takes the moduli of the free block's eigenvalues, too.
    """
    signs, stay = penalty.orthant(theta, -gradient)
    free = ~stay
    block = _damped(H, damping)[free][:, free]
    modified = "cholesky" if direction == "cholesky" else "saddle-free"
    solved = _solve(modified, block, -gradient[free])
    d = torch.zeros_like(theta)
    d[free] = solved.x

    def path(t: float) -> Tensor:
        return penalty.project(theta + t * d, signs)

    full = path(1.0) - theta
    predicted = -float(gradient @ full + 0.5 * full @ (H @ full))
    return Step(
        path, lambda t: float(gradient @ (path(t) - theta)), predicted, solved.reason, solved.jitter
    )


def proximal_step(
    theta: Tensor,
    gradient: Tensor,
    H: Tensor,
    damping: float,
    direction: str,
    penalty: Regularizer,
    *,
    rtol: float,
    atol: float,
) -> Step:
    """Minimize the quadratic model of the task plus the penalty itself, in the metric H + mu I.

    ``gradient`` and H are the task's alone. Tolerances are those of the inner solve.
    """
    A, jitter = _damped(H, damping), 0.0
    if direction == "cholesky":
        jitter = cholesky_solve(A, gradient).jitter
        A = _damped(A, jitter)
    elif direction == "saddle-free":
        jitter = saddle_free_solve(A, gradient).jitter
        A = absolute_value(A)
    solved = proximal_solve(
        A, gradient, penalty, theta, rtol=rtol, atol=atol, max_iter=100 * theta.numel() + 1000
    )
    d = solved.direction
    return Step(
        # At t = 1 the point itself, in which entries at a centre other than 0 are there exactly.
        lambda t: solved.point if t == 1 else theta + t * d,
        lambda t: t * solved.decrement,
        -(solved.decrement + 0.5 * float(d @ (H @ d))),
        solved.reason,
        jitter,
        solved.iterations,
    )


def _damped(H: Tensor, damping: float) -> Tensor:
    return H + damping * torch.eye(len(H), dtype=H.dtype, device=H.device)


def _solve(direction: str, H: Tensor, b: Tensor) -> DirectResult:
    if direction == "cholesky":
        return cholesky_solve(H, b)
    if direction == "saddle-free":
        return saddle_free_solve(H, b)
    return DirectResult(*solve_dense(H, b))
