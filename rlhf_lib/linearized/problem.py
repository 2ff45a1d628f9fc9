"""The objective of the linearized model in sample space, and the steps that minimize it.

    f(theta) = mean loss(y_0 + J (theta - theta_0)) + 1/2 sum_c lambda_c |theta_c - center_c|^2

The center is theta_0 (L2-SP) or zero (L2). Everything that the gradient of f is made of lies in the
span of the rows of J (and of theta_0, if the center is zero), so that

    theta_c - center_c = J_c' b_c    (+ s_c theta_0c)

with a coefficient for each training margin: theta itself, with its millions of entries, never
occurs. The gradient is J_c'(g + lambda_c b_c), g being the slope of the mean loss at the margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .factor import Factor
from .losses import OutputLoss


@dataclass(frozen=True)
class Block:
    """Cells that have one lambda, joined.

    Attributes:
        K: J J' of the n training margins, and of theta_0 as one row more where ``pulled`` to zero;
            then of the held-out margins, (n + e + h, n + e).
        lam: lambda. pulled: the center is zero and e = 1. size: how many parameters they are.
        cells: their numbers.
    """

    K: Tensor = field(repr=False)
    lam: float
    pulled: bool
    size: int
    cells: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """A theta, by its coefficients.

    Attributes:
        b: coefficients of each block, (blocks, n + e). u: K b, (blocks, n + e + h).
        norms: |theta_c - center_c|^2 of each block.
    """

    b: Tensor
    u: Tensor
    norms: Tensor


class Problem:
    """The objective for chosen samples, labels and lambdas.

    Args:
        base: the margins at the center, (n + h,), of the chosen training terms and the held-out.
        blocks: at least one; all with the same e.
        targets: of the training terms, (R, ...). m: margins of a term.
        rounding: relative error of K: what is smaller than this is noise.
    """

    def __init__(
        self,
        base: Tensor,
        blocks: Sequence[Block],
        targets: Tensor,
        loss: OutputLoss,
        m: int,
        rounding: float,
    ):
        self.base, self.blocks, self.targets, self.loss, self.m = base, blocks, targets, loss, m
        self.n, self.rounding = len(targets) * m, rounding
        self.extended = blocks[0].K.shape[1] - self.n
        self.lams = torch.tensor([block.lam for block in blocks], dtype=torch.float64)
        self._inside: tuple[float, Tensor] | None = None

    # -- points -------------------------------------------------------------------------------
    def origin(self) -> Point:
        """theta_0."""
        b = self.base.new_zeros(len(self.blocks), self.n + self.extended)
        for row, block in zip(b, self.blocks, strict=True):
            if block.pulled:
                row[-1] = 1.0
        return self.point(b)

    def point(self, b: Tensor) -> Point:
        """The point of these coefficients."""
        u = torch.stack([block.K @ row for block, row in zip(self.blocks, b, strict=True)])
        return Point(b, u, self._products(b, u))

    def moved(self, point: Point, step: Point, t: float) -> Point:
        """point + t step."""
        b, u = point.b + t * step.b, point.u + t * step.u
        return Point(b, u, self._products(b, u))

    def _products(self, b: Tensor, u: Tensor) -> Tensor:
        """b' K b' of each block."""
        return (b * u[:, : self.n + self.extended]).sum(1)

    # -- values -------------------------------------------------------------------------------
    def margins(self, point: Point) -> Tensor:
        """Of training and held-out terms, (R + R_h, m)."""
        return self.all_margins(point.u)

    def all_margins(self, u: Tensor) -> Tensor:
        """Margins from K b of the blocks, (..., blocks, n + e + h) -> (..., R + R_h, m)."""
        moved = u.sum(-2)
        if self.extended:
            moved = torch.cat([moved[..., : self.n], moved[..., self.n + 1 :]], -1)
        return (self.base + moved).unflatten(-1, (-1, self.m))

    def train_margins(self, point: Point) -> Tensor:
        """Of the training terms, (R, m)."""
        return (self.base[: self.n] + point.u[:, : self.n].sum(0)).view(-1, self.m)

    def task(self, y: Tensor) -> float:
        """The mean loss at margins (R, m)."""
        return float(self.loss.value(y, self.targets).mean())

    def penalty(self, point: Point) -> float:
        """1/2 sum lambda |theta - center|^2."""
        return 0.5 * float(self.lams @ point.norms)

    def local(self, point: Point) -> Local:
        """Slope and curvature there."""
        slope, factor = self.loss.derivatives(self.train_margins(point), self.targets)
        terms = len(self.targets)
        return Local(self, point, slope.flatten() / terms, Factor(factor / terms**0.5))

    # -- what does not depend on the point ----------------------------------------------------
    def inside(self, damping: float) -> Tensor:
        """sum K_c / (lambda_c + mu) over the blocks where that is positive, (n, n)."""
        if self._inside is None or self._inside[0] != damping:
            K = self.base.new_zeros(self.n, self.n)
            for block in self.blocks:
                if block.lam + damping > 0:
                    K.add_(block.K[: self.n, : self.n], alpha=1 / (block.lam + damping))
            self._inside = damping, K
        return self._inside[1]

    @cached_property
    def free(self) -> tuple[Tensor, Tensor]:
        """V (n, k) and V^+' = V (V'V)^-1 of the block with lambda = 0: V V' = K, k its rank."""
        (block,) = [block for block in self.blocks if block.lam == 0]
        values, vectors = torch.linalg.eigh(block.K[: self.n, : self.n])
        # Rounding leaves eigenvalues where there are more margins than parameters.
        kept = values > self.rounding * self.n * values[-1].clamp(min=0)
        kept[: max(self.n - block.size, 0)] = False
        roots = values[kept].sqrt()
        return vectors[:, kept] * roots, vectors[:, kept] / roots


@dataclass
class Local:
    """The objective around a point: slope g of the mean loss (n,) and S with S S' its Hessian."""

    problem: Problem
    point: Point
    g: Tensor
    S: Factor

    def gradient_norm(self) -> float:
        """2-norm of the gradient J'(g + lambda b) in the parameters."""
        p = self.problem
        r = p.lams[:, None] * self.point.b
        r[:, : p.n] += self.g
        squared = sum(
            float(row @ (block.K[: len(row)] @ row)) for row, block in zip(r, p.blocks, strict=True)
        )
        return max(squared, 0.0) ** 0.5

    def step(self, damping: float) -> Point | None:
        """The minimum d of the local quadratic model + mu/2 |d|^2, as a point without a center.

        From (I + S'KS) t = S'(K g + q), r = g - S t, the step is d_c = -J_c'(r + lambda_c b_c) /
        (lambda_c + mu): K = sum K_c / (lambda_c + mu), q = sum lambda_c u_c / (lambda_c + mu). It
        is the sample-space solve of :mod:`~rlhf_lib.solve.sample_space`, and for the logistic loss
        the step of algorithm 3.1 of Rasmussen and Williams (2006). Where lambda_c + mu = 0 the
        step is any d_c, of which the least one that makes J_c' r = 0 is taken; None if there is
        more than one such J d.
        """
        p, b = self.problem, self.point.b
        solver = Solver(self, damping)
        if not solver.determined:
            return None
        shares = p.lams / (p.lams + damping).clamp(min=torch.finfo(torch.float64).tiny)
        q = shares @ self.point.u[:, : p.n]
        r, free = solver.residual(self.g, q)
        step = torch.empty_like(b)
        for c, block in enumerate(p.blocks):
            total = block.lam + damping
            if total > 0:
                step[c] = b[c] * (-block.lam / total)
                step[c, : p.n] -= r / total
            else:
                step[c] = 0.0
                step[c, : p.n] = free
        return p.point(step)

    def slope(self, step: Point) -> float:
        """First-order change of the objective along the step."""
        p = self.problem
        along = step.u[:, : p.n + p.extended]
        return float(
            self.g @ step.u[:, : p.n].sum(0) + (p.lams[:, None] * self.point.b * along).sum()
        )

    def curvature(self, step: Point) -> float:
        """d'(J'WJ + lambda) d along the step."""
        p = self.problem
        moved = self.S.adjoint(step.u[:, : p.n].sum(0))
        return float(moved @ moved + p.lams @ step.norms)


class Solver:
    """Factors of A = I + S'KS, and of V'MV, M = S A^-1 S', for the block that nothing holds.

    Attributes:
        determined: the step is one and finite.
    """

    def __init__(self, local: Local, damping: float):
        self.problem, self.S = local.problem, local.S
        self.K = self.problem.inside(damping)
        A = self.S.sandwich(self.K)
        A.diagonal().add_(1.0)
        self.chol, failed = torch.linalg.cholesky_ex(A)
        self.determined = not int(failed)
        self.unheld = any(block.lam + damping == 0 for block in self.problem.blocks)
        if self.unheld and self.determined:
            self.V, self.dual = self.problem.free
            self.SV = self.S.adjoint(self.V)
            middle = self.SV.T @ self.solve(self.SV)
            self.middle_chol, failed = torch.linalg.cholesky_ex(middle)
            self.determined = not int(failed)

    def solve(self, x: Tensor) -> Tensor:
        """A^-1 x for x (R r,) or (R r, k)."""
        if x.ndim == 1:
            return torch.cholesky_solve(x[:, None], self.chol)[:, 0]
        return torch.cholesky_solve(x, self.chol)

    def residual(self, g: Tensor, q: Tensor) -> tuple[Tensor, Tensor | None]:
        """r = g + W J d, and the coefficients of the step of the block that nothing holds."""
        r = g - self.S.apply(self.solve(self.S.adjoint(self.K @ g + q)))
        if not self.unheld:
            return r, None
        c = -torch.cholesky_solve((self.V.T @ r)[:, None], self.middle_chol)[:, 0]
        return r + self.S.apply(self.solve(self.SV @ c)), self.dual @ c
