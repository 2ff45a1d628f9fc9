"""Directions that solve with the whole matrix: those of :func:`~rlhf_lib.step.newton`, for toys.

RLHFOptimizer takes them, too, at the price of n products a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..arguments import flag, real
from ..scaling import dot, norm
from ..solve.dense import (
    DirectResult,
    absolute_value,
    cholesky_solve,
    saddle_free_solve,
    solve_dense,
)
from ..solve.proximal import forcing_term, proximal_solve
from .model import LocalModel, Proposal


@dataclass(frozen=True)
class DenseDirection:
    """d = -(B + C + mu I)^-1 g; a kind says what to do where the matrix is not positive definite.

    Args:
        proximal: minimize the model with the penalty as it is (Lee, Sun and Saunders, 2014), in the
            metric of ``definite``, instead of keeping to an orthant.
        atol: residual below which the model of a proximal step is not minimized any further.

        scaled: in the variables D^(1/2) theta, D the largest modulus so far of each entry of the
            diagonal (More, 1978, section 3), and 1 where that is zero.

    Memory: ``first_norm``, of the first gradient, from which proximal steps have their tolerance;
    ``largest``, the diagonal of D.
    """

    proximal: bool = False
    atol: float = 0.0
    scaled: bool = False

    def __post_init__(self):
        flag("proximal", self.proximal), flag("scaled", self.scaled)
        real("atol", self.atol, 0.0)

    def solve(self, A: Tensor, b: Tensor) -> DirectResult:
        """x of A x = b, or of the matrix that takes A's place."""
        raise NotImplementedError

    def definite(self, A: Tensor) -> tuple[Tensor, float]:
        """The matrix that takes A's place as a metric, and the 2-norm of the change."""
        raise NotImplementedError

    def propose(self, model: LocalModel, memory: dict[str, Any]) -> Proposal:
        """Solve on the coordinates that are free, or by proximal steps."""
        H = model.matrix()
        scaled, unit, kept = H, torch.ones_like(model.theta), {}
        if self.scaled:
            largest = H.diagonal().abs().maximum(memory.get("largest", torch.zeros_like(unit)))
            kept = {"largest": largest}
            unit = torch.where(largest > 0, largest, 1.0).rsqrt()
            scaled = unit[:, None] * H * unit
        A = _plus(scaled, model.damping)
        if self.proximal:
            return self._proximal(model, memory, H, A, unit, kept)
        free = torch.ones_like(model.theta, dtype=torch.bool) if model.free is None else model.free
        solved = self.solve(A[free][:, free], -(unit * model.gradient)[free])
        d = torch.zeros_like(model.theta)
        d[free] = unit[free] * solved.x
        said = {"jitter": solved.jitter}
        return Proposal(
            d, solved.reason, dot(d, H @ d), type(self).__name__, extra=said, memory=kept
        )

    def _proximal(self, model, memory, H: Tensor, A: Tensor, unit: Tensor, kept) -> Proposal:
        size = norm(model.gradient)
        first_norm = memory.get("first_norm", size)
        metric, jitter = self.definite(A)
        solved = proximal_solve(
            metric / unit[:, None] / unit,
            model.task_gradient,
            model.penalty,
            model.theta,
            rtol=forcing_term(size, first_norm),
            atol=self.atol,
            max_iter=100 * len(A) + 1000,
        )
        d = solved.direction
        return Proposal(
            d,
            solved.reason,
            dot(d, H @ d),
            type(self).__name__,
            point=solved.point,
            decrement=solved.decrement,
            products=solved.iterations,
            extra={"jitter": jitter},
            memory={"first_norm": first_norm, **kept},
        )


class PlainNewton(DenseDirection):
    """The matrix as it is: the step of the textbook, which may lead to a saddle."""

    def solve(self, A, b):
        return DirectResult(*solve_dense(A, b))

    def definite(self, A):
        return A, 0.0


class ModifiedCholesky(DenseDirection):
    """A multiple of I is added, see :func:`~rlhf_lib.solve.dense.cholesky_solve`."""

    def solve(self, A, b):
        return cholesky_solve(A, b)

    def definite(self, A):
        jitter = cholesky_solve(A, A.new_zeros(len(A))).jitter
        return _plus(A, jitter), jitter


class SaddleFree(DenseDirection):
    """Eigenvalues by their moduli, see :func:`~rlhf_lib.solve.dense.saddle_free_solve`."""

    def solve(self, A, b):
        return saddle_free_solve(A, b)

    def definite(self, A):
        return absolute_value(A), saddle_free_solve(A, A.new_zeros(len(A))).jitter


def _plus(A: Tensor, mu: float) -> Tensor:
    return A + mu * torch.eye(len(A), dtype=A.dtype, device=A.device)
