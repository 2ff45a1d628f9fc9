"""Products that share no code and no trick with any contender: float64 and central differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlhf_lib.objective import assign, flatten

from .problems import Problem

STEP = 1e-3


class Truth:
    """H v and G v of a problem, by central differences in float64.

    Second derivatives by forward mode are wrong through LayerNorm in torch 2.13, and the library
    under test uses double backward, so neither is used here.
    """

    def __init__(self, problem: Problem):
        self.problem = problem.double()
        self.theta = flatten(p.detach() for p in self.problem.params).clone()

    def _along(self, f: Callable[[], Tensor], v: Tensor) -> Tensor:
        """d f(theta + t v) / dt at t = 0, extrapolated to order 4 (Richardson)."""
        params, h = self.problem.params, STEP / float(v.norm())

        def slope(step: float) -> Tensor:
            assign(params, self.theta + step * v)
            ahead = f()
            assign(params, self.theta - step * v)
            return (ahead - f()) / (2 * step)

        try:
            return (4 * slope(h / 2) - slope(h)) / 3
        finally:
            assign(params, self.theta)

    def hessian(self, v: Tensor) -> Tensor:
        """H v, shape (n,)."""
        return self._along(lambda: flatten(self.problem.gradient()), v.double())

    def gauss_newton(self, v: Tensor) -> Tensor:
        """G v = J' H_L J v, H_L of the mean cross-entropy being (diag(p) - p p') / n a sample."""
        problem = self.problem
        with torch.no_grad():
            jv = self._along(lambda: problem.module(problem.inputs), v.double())
        logits = problem.module(problem.inputs)
        p = logits.detach().softmax(1)
        hjv = (p * jv - p * (p * jv).sum(1, keepdim=True)) / len(p)
        return flatten(torch.autograd.grad(logits, problem.params, hjv))


def relative_error(value: Tensor, truth: Tensor) -> float:
    """2-norm of the difference over the 2-norm of the truth."""
    return float((value.double() - truth).norm() / truth.norm())


def relative_residual(truth: Truth, x: Tensor, b: Tensor, shift: float) -> float:
    """|b - (G + shift) x| / |b| with the independent G."""
    x, b = x.double(), b.double()
    return float((b - truth.gauss_newton(x) - shift * x).norm() / b.norm())
