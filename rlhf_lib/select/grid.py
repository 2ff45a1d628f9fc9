"""A grid of lambdas that begins where a penalty leaves nothing but zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ..arguments import real, whole
from ..curvature import HessianOperator, lanczos
from ..objective.parameters import assign, flatten
from ..regularizers import Regularizer, make_regularizer
from ..regularizers.base import pairs

RITZ_STEPS = 12  # enough for the largest eigenvalue, to a few percent


def lambda_grid(
    loss_fn: Callable,
    params: Iterable,
    batches: Iterable | None = None,
    *,
    regularizer: str | Regularizer = "l1",
    number: int = 20,
    ratio: float = 1e-3,
    count: Callable[[Any], float] | None = None,
) -> list[float]:
    """Lambdas in falling order, equally spaced by their logarithms, for :func:`select_lambda`.

    With a kink (L1, elastic net, group lasso) the largest is the least lambda at which all that is
    penalized is zero, or at the centre of "l1sp" (Friedman, Hastie and Tibshirani, 2010, section
    2.5: max |gradient at 0| for L1). What is not penalized stays where it is: fit an intercept
    first, for the grid to begin exactly there. Without a kink (L2) there is no such lambda, and the
    largest is the largest eigenvalue of the loss's Hessian here: along every eigenvector it
    shrinks by half or more.

    Args:
        loss_fn, params, batches, count: as for :class:`~rlhf_lib.HessianOperator`; parameters as
            (name, tensor) pairs, where names say what is penalized. They are put back.
        regularizer: the penalty, by its name or as an object.
        number: how many. ratio: of the smallest to the largest, in (0, 1).

    Raises ValueError for a loss that is flat here, for a number or ratio out of range.
    """
    number, ratio = whole("number", number, 1), real("ratio", ratio)
    if not 0 < ratio < 1:
        raise ValueError(f"ratio: expected a number between 0 and 1, got {ratio:g}")
    named = pairs(params)
    tensors = [p for _, p in named]
    penalty = make_regularizer(regularizer)
    if penalty is None:
        raise ValueError("regularizer: expected a penalty, got None")
    penalty = penalty.on(named)
    here = flatten(p.detach() for p in tensors).clone()
    center = torch.zeros_like(here) if penalty.center is None else penalty.center
    kinks = penalty.at_kink(center)
    start = torch.where(kinks, center, here)
    try:
        assign(tensors, start)
        hessian = HessianOperator(loss_fn, tensors, batches, count=count)
        if bool(kinks.any()):
            largest = _least_that_holds(penalty, hessian.gradient, start, kinks)
        else:
            generator = torch.Generator().manual_seed(0)
            found = lanczos(hessian, min(RITZ_STEPS, len(here)), generator=generator)
            largest = float(found.ritz_values.max())
    finally:
        assign(tensors, here)
    if not largest > 0:
        raise ValueError(
            "expected a loss with a gradient where everything penalized is zero, or a Hessian with "
            "a positive eigenvalue for L2, got one that is flat there"
        )
    return [largest * ratio ** (i / max(number - 1, 1)) for i in range(number)]


def _least_that_holds(
    penalty: Regularizer, gradient: Tensor, theta: Tensor, kinks: Tensor
) -> float:
    """The least lambda at which no entry leaves its kink, to a relative 1e-12; 0 without a
    gradient."""
    weights, gradient = penalty._w(theta).double(), gradient.double()
    bound = penalty._with(center=None if penalty.center is None else penalty.center.double())

    def holds(value: float) -> bool:
        scaled = bound._with(weights=weights * value)
        return not bool(scaled.subgradient(gradient, theta.double())[kinks].any())

    high = float(gradient[kinks].abs().max())
    if high == 0:
        return 0.0
    while not holds(high):
        high *= 2
    while holds(high / 2):
        high /= 2
    low = high / 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
