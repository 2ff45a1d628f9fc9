"""What a curvature product costs on one's own model, in gradients: counted, not timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def product_in_gradients(
    operator: Any, loss: Callable[[], Tensor], params: Iterable[Tensor]
) -> float:
    """Floating-point operations of one product `operator @ v` over those of one gradient.

    Those of matrix products alone are counted, as torch's FlopCounterMode does. For deep networks
    the ratio tends to 2 for the Hessian and 4/3 for the Gauss-Newton matrix, with the forward pass
    kept; a network of few layers costs less, as its first layer needs no derivative by its inputs.

    Args:
        operator: with `operator @ v` for v of shape (p,), on the same samples as `loss`.
        loss: computes the loss anew. params: by which the gradient is taken, p numbers in all.
    """
    params = list(params)
    v = torch.ones(sum(p.numel() for p in params), dtype=params[0].dtype)
    return flops(lambda: operator @ v) / flops(lambda: torch.autograd.grad(loss(), params))


def forward_in_gradients(loss: Callable[[], Tensor], params: Iterable[Tensor]) -> float:
    """The same of one evaluation of `loss`: for deep networks 1/3, for shallow ones more."""
    params = list(params)
    return flops(loss) / flops(lambda: torch.autograd.grad(loss(), params))


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products that `run()` makes."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
