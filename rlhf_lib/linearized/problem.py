"""The objective of the linearized model in sample space, and the steps that minimize it.

    f(theta) = mean loss(y_0 + J (theta - theta_0)) + 1/2 sum_c lambda_c |theta_c - center_c|^2

The center is theta_0 (L2-SP) or zero (L2). Everything that the gradient of f is made of lies in the
span of the rows of J (and of theta_0, if the center is zero), so that

    theta_c - center_c = J_c' b_c    (+ s_c theta_0c)

with a coefficient for each training margin: theta itself, with its millions of entries, never
occurs. The gradient is J_c'(g + lambda_c b_c), g being the slope of the mean loss at the margins.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

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
        train: K of the training margins, (n + e, n).
    """

    K: Tensor = field(repr=False)
    lam: float
    pulled: bool
    size: int
    cells: tuple[int, ...]
    train: Tensor = field(repr=False)


@dataclass(frozen=True)
class Point:
    """A theta, by its coefficients.

    Attributes:
        b: coefficients of each block, (n + e,). u: K b of each, (n + e + h,).
        norms: |theta_c - center_c|^2 of each.
    """

    b: list[Tensor]
    u: list[Tensor]
    norms: list[float]


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
        self.lams = [block.lam for block in blocks]
        self._inside: tuple[float, Tensor] | None = None
        self._start = base[: self.n]

    def origin(self) -> Point:
        """theta_0."""
        b = [self.base.new_zeros(self.n + self.extended) for _ in self.blocks]
        for row, block in zip(b, self.blocks, strict=True):
            if block.pulled:
                row[-1] = 1.0
        return self.point(b)

    def point(self, b: list[Tensor]) -> Point:
        """The point of these coefficients."""
        return self._made(b, [block.K @ row for block, row in zip(self.blocks, b, strict=True)])

    def moved(self, point: Point, step: Point, t: float) -> Point:
        """point + t step."""
        return self._made(
            [torch.add(x, d, alpha=t) for x, d in zip(point.b, step.b, strict=True)],
            [torch.add(x, d, alpha=t) for x, d in zip(point.u, step.u, strict=True)],
        )

    def _made(self, b: list[Tensor], u: list[Tensor]) -> Point:
        size = self.n + self.extended
        return Point(b, u, [float(x @ y[:size]) for x, y in zip(b, u, strict=True)])

    def margins(self, points: Sequence[Point]) -> Tensor:
        """Of the training and then the held-out terms at several points, (points, R + R_h, m)."""
        moved = torch.stack([sum(point.u[1:], point.u[0]) for point in points])
        if self.extended:
            moved = torch.cat([moved[:, : self.n], moved[:, self.n + 1 :]], 1)
        return (self.base + moved).unflatten(1, (-1, self.m))

    def train_margins(self, point: Point) -> Tensor:
        """Of the training terms, (R, m)."""
        y = self._start
        for u in point.u:
            y = y + u[: self.n]
        return y.view(-1, self.m)

    def task(self, y: Tensor) -> float:
        """The mean loss at margins (R, m)."""
        return float(self.loss.value(y, self.targets).mean())

    def penalty(self, point: Point) -> float:
        """1/2 sum lambda |theta - center|^2."""
        return 0.5 * sum(map(operator.mul, self.lams, point.norms))

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
    def _spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvalues and -vectors of K of the block with lambda = 0, and which can be no zeros."""
        (block,) = [block for block in self.blocks if block.lam == 0]
        values, vectors = torch.linalg.eigh(block.K[: self.n, : self.n])
        # Rounding leaves eigenvalues where there are more margins than parameters.
        places = torch.arange(self.n) >= self.n - block.size
        return values, vectors, places

    @property
    def fits_anything(self) -> bool:
        """Whether the parameters of the block with lambda = 0 may fit any margins alone."""
        values, _, places = self._spectrum
        return bool((places & (values > 0.1 * self.rounding * values[-1])).all())

    @cached_property
    def free(self) -> tuple[Tensor, Tensor]:
        """V (n, k) and V^+' = V (V'V)^-1 of the block with lambda = 0: V V' = K, k its rank."""
        values, vectors, places = self._spectrum
        kept = places & (values > self.rounding * self.n * values[-1].clamp(min=0))
        roots = values[kept].sqrt()
        return vectors[:, kept] * roots, vectors[:, kept] / roots


class Local:
    """The objective around a point.

    Attributes:
        g: slope of the mean loss at the margins, (n,). S: S S' is its Hessian there.
    """

    def __init__(self, problem: Problem, point: Point):
        self.problem, self.point = problem, point
        y = problem.train_margins(point)
        slope, factor = problem.loss.derivatives(y, problem.targets)
        terms = len(problem.targets)
        self.g, self.S = slope.flatten() / terms, Factor(factor / terms**0.5)
        self._Kg = [block.train @ self.g for block in problem.blocks]

    def gradient_norm(self) -> float:
        """2-norm of the gradient J'(g + lambda b) in the parameters."""
        p, squared = self.problem, 0.0
        g = F.pad(self.g, (0, p.extended)) if p.extended else self.g
        for block, b, u, Kg in zip(p.blocks, self.point.b, self.point.u, self._Kg, strict=True):
            r, Kr = torch.add(g, b, alpha=block.lam), torch.add(Kg, u[: len(g)], alpha=block.lam)
            squared += float(r @ Kr)
        return math.sqrt(max(squared, 0.0)) if math.isfinite(squared) else math.nan

    def task_gradient_norm(self) -> float:
        """2-norm of the gradient J'g of the mean loss alone."""
        n = self.problem.n
        return math.sqrt(max(sum(float(self.g @ Kg[:n]) for Kg in self._Kg), 0.0))

    def step(self, damping: float) -> Point | None:
        """The minimum d of the local quadratic model + mu/2 |d|^2, as a point without a center.

        From (I + S'KS) t = S'(K g + q), r = g - S t, the step is d_c = -J_c'(r + lambda_c b_c) /
        (lambda_c + mu): K = sum K_c / (lambda_c + mu), q = sum lambda_c u_c / (lambda_c + mu). It
        is the sample-space solve of :mod:`~rlhf_lib.solve.sample_space`, and for the logistic loss
        the step of algorithm 3.1 of Rasmussen and Williams (2006). Where lambda_c + mu = 0 the
        step is any d_c, of which the least one that makes J_c' r = 0 is taken; None if there is
        more than one such J d.
        """
        p = self.problem
        solver = Solver(self, damping)
        if not solver.determined:
            return None
        right = torch.zeros_like(self.g)
        for block, u, Kg in zip(p.blocks, self.point.u, self._Kg, strict=True):
            total = block.lam + damping
            if total > 0:
                right.add_(Kg[: p.n], alpha=1 / total).add_(u[: p.n], alpha=block.lam / total)
        r, free = solver.residual(self.g, right)
        step = []
        for block, b in zip(p.blocks, self.point.b, strict=True):
            total = block.lam + damping
            row = b * (-block.lam / total if total > 0 else 0.0)
            move, scale = (r, -1 / total) if total > 0 else (free, 1.0)
            assert move is not None  # the solver has found it where lambda + mu = 0
            row[: p.n].add_(move, alpha=scale)
            step.append(row)
        return p.point(step)

    def along(self, step: Point) -> tuple[float, float]:
        """(first-order change of the objective along the step d, d'(J'WJ + lambda) d)."""
        p = self.problem
        dy = sum((u[: p.n] for u in step.u[1:]), step.u[0][: p.n])
        moved = self.S.adjoint(dy)
        slope, quadratic = float(self.g @ dy), float(moved @ moved)
        size = p.n + p.extended
        for lam, b, u, norm in zip(p.lams, self.point.b, step.u, step.norms, strict=True):
            slope += lam * float(b @ u[:size])
            quadratic += lam * norm
        return slope, quadratic


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
        self.unheld = any(lam + damping == 0 for lam in self.problem.lams)
        if self.unheld and self.determined:
            self.V, self.dual = self.problem.free
            self.SV = self.S.adjoint(self.V)
            self.middle_chol, failed = torch.linalg.cholesky_ex(self.SV.T @ self.solve(self.SV))
            self.determined = not int(failed)

    def solve(self, x: Tensor) -> Tensor:
        """A^-1 x for x (R r,) or (R r, k)."""
        return _solve(self.chol, x)

    def residual(self, g: Tensor, right: Tensor) -> tuple[Tensor, Tensor | None]:
        """r = g + W J d, and the coefficients of the step of the block that nothing holds.

        right: K g + q.
        """
        r = g - self.S.apply(self.solve(self.S.adjoint(right)))
        if not self.unheld:
            return r, None
        c = -_solve(self.middle_chol, self.V.T @ r)
        return r + self.S.apply(self.solve(self.SV @ c)), self.dual @ c


def _solve(L: Tensor, x: Tensor) -> Tensor:
    """(L L')^-1 x; for one right side two triangular solves are faster than a Cholesky solve."""
    half = torch.linalg.solve_triangular(L, x.view(len(L), -1), upper=False)
    return torch.linalg.solve_triangular(L.mT, half, upper=True).view_as(x)
