"""What the curvature at a minimum says: degrees of freedom, leave-one-out, evidence, variances.

All of it comes from H^-1, the inverse Hessian of the objective, seen through the margins:

    J H^-1 J' = K - K S (I + S'KS)^-1 S' K + E (V'MV)^-1 E',    E = V - K S (I + S'KS)^-1 S' V,

the last term being that of parameters without a penalty (see :class:`~.problem.Solver`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .problem import Local, Solver


@dataclass(frozen=True)
class LeaveOneOut:
    """Every training sample judged by the minimum without it.

    Attributes:
        margins: of each term, (R, m). losses: of each term, (R,).
        loss: their mean. standard_error: of that mean, the samples being independent.
        accuracy: share of the terms that are answered correctly; None without such a thing.
    """

    margins: Tensor = field(repr=False)
    losses: Tensor = field(repr=False)
    loss: float
    standard_error: float
    accuracy: float | None


class Posterior:
    """Laplace's approximation at a minimum: exp(-R f) as a density of theta, R training terms.

    exp(-loss) of a term is its likelihood and the penalty a normal prior of variance 1 / (R
    lambda), as MacKay (1992) reads a penalized loss; of the linearized model this is linearized
    Laplace (Immer, Korzepa and Bauer, 2021), and the matrices are those of a Gaussian process with
    the tangent kernel K (Rasmussen and Williams, 2006, section 3.4).

    Args:
        local: the objective around the minimum.
        sample: of which sample each of its terms is, (R,).
        held: J_c J_c' of each held-out term with itself, for the problem's blocks (R_h, m, m).
    """

    def __init__(self, local: Local, sample: Tensor, held: list[Tensor]):
        self.local, self.problem, self.sample, self._held = local, local.problem, sample, held
        self.solver = Solver(local, 0.0)
        if not self.solver.determined:
            raise ValueError(
                "the Hessian is singular at this minimum: penalize all parameters with "
                "include_all=True, or raise lambda_reg"
            )
        self.terms = len(self.problem.targets)

    @property
    def dof(self) -> float:
        """Effective degrees of freedom tr J'WJ H^-1 (Hastie et al., 2009, section 7.6)."""
        return float((self.local.S.squares() * self._own_blocks).sum())

    @property
    def log_evidence(self) -> float:
        """log of the integral of exp(-R f) with its prior's normalization, by Laplace.

        -R f - 1/2 log det(I + S'KS), as in equation 3.32 of Rasmussen and Williams (2006). Of
        parameters without a penalty the prior is flat, 1 everywhere: only differences between
        lambdas mean something then.
        """
        p, R = self.problem, self.terms
        found = p.task(p.train_margins(self.local.point)) + p.penalty(self.local.point)
        value = -R * (found + p.loss.log_normalizer)
        value -= float(self.solver.chol.diagonal().log().sum())
        if self.solver.unheld:
            k = len(self.solver.middle_chol)
            value -= float(self.solver.middle_chol.diagonal().log().sum())
            value -= 0.5 * k * math.log(R / (2 * math.pi))
        return value

    @cached_property
    def loo(self) -> LeaveOneOut:
        """Leave-one-out by one Newton step from the minimum, all samples at once.

        Without sample i the step is y_i + A_i (I - W_i A_i)^-1 g_i with A_i = J_i H^-1 J_i': the
        formula of Rad and Maleki (2020, section 2), for any number of margins. It is exact for a
        squared error. A sample is left out with all its terms; the others keep their weight 1 / R,
        so that lambda means the same.
        """
        p = self.problem
        y, terms = p.train_margins(self.local.point), self.terms
        g, W = self.local.g.view(-1, p.m), self.local.S.squares()
        _, counts = self.sample.unique_consecutive(return_counts=True)
        out = torch.empty_like(y)
        if int(counts.max()) == 1:
            A = self._own_blocks
            eye = torch.eye(p.m, dtype=y.dtype)
            out = y + (A @ torch.linalg.solve(eye - W @ A, g[:, :, None]))[:, :, 0]
        else:
            start = 0
            for count in counts.tolist():
                rows = slice(start * p.m, (start + count) * p.m)
                A = self._covariance(rows)
                block = torch.block_diag(*W[start : start + count])
                eye = torch.eye(len(A), dtype=y.dtype)
                moved = A @ torch.linalg.solve(eye - block @ A, self.local.g[rows])
                out[start : start + count] = y[start : start + count] + moved.view(-1, p.m)
                start += count
        losses = p.loss.value(out, p.targets)
        correct = p.loss.correct(out, p.targets)
        mean, samples = float(losses.mean()), len(counts)
        sums = torch.stack([part.sum() for part in (losses - mean).split(counts.tolist())])
        error = float(sums.square().sum()) ** 0.5 / terms * (samples / max(samples - 1, 1)) ** 0.5
        accuracy = None if correct is None else float(correct.double().mean())
        return LeaveOneOut(out, losses, mean, error, accuracy)

    def variances(self, held_out: bool) -> Tensor:
        """Covariance of each term's margins, J H^-1 J' / R, (R, m, m); infinite where data and
        penalty leave a direction free."""
        return (self._held_blocks if held_out else self._own_blocks) / self.terms

    # -- J H^-1 J' in pieces --------------------------------------------------------------------
    @cached_property
    def _reduced(self) -> tuple[Tensor, Tensor | None]:
        """L^-1 S'K, and E L_C^-T for the parameters without a penalty: A = K - P'P + Q Q'."""
        s = self.solver
        P = torch.linalg.solve_triangular(s.chol, s.S.adjoint(s.K), upper=False)
        if not s.unheld:
            return P, None
        E = s.V - s.K @ s.S.apply(s.solve(s.SV))
        return P, torch.linalg.solve_triangular(s.middle_chol, E.T, upper=False).T

    def _covariance(self, rows: slice) -> Tensor:
        P, Q = self._reduced
        A = self.solver.K[rows, rows] - P[:, rows].T @ P[:, rows]
        return A if Q is None else A + Q[rows] @ Q[rows].T

    @cached_property
    def _own_blocks(self) -> Tensor:
        """J_i H^-1 J_i' of each training term, (R, m, m)."""
        m, (P, Q) = self.problem.m, self._reduced
        K = self.solver.K.view(self.terms, m, self.terms, m)
        A = K.diagonal(dim1=0, dim2=2).permute(2, 0, 1) - _gram(P.T, m)
        return A if Q is None else A + _gram(Q, m)

    @cached_property
    def _held_blocks(self) -> Tensor:
        p, s, m = self.problem, self.solver, self.problem.m
        n, first = p.n, p.n + p.extended
        pairs = list(zip(p.blocks, self._held, strict=True))
        cross = sum(b.K[first:, :n] / b.lam for b, _ in pairs if b.lam) + s.K.new_zeros(
            len(p.base) - n, n
        )
        P = torch.linalg.solve_triangular(s.chol, s.S.adjoint(cross.T.contiguous()), upper=False)
        A = sum(held / b.lam for b, held in pairs if b.lam) - _gram(P.T, m)
        if not s.unheld:
            return A
        ((free, held),) = [(b, held) for b, held in pairs if not b.lam]
        V = free.K[first:, :n] @ s.dual
        E = V - cross @ s.S.apply(s.solve(s.SV))
        A = A + _gram(torch.linalg.solve_triangular(s.middle_chol, E.T, upper=False).T, m)
        beyond = (held - _gram(V, m)).diagonal(dim1=1, dim2=2)
        unseen = beyond > 1e3 * p.rounding * held.diagonal(dim1=1, dim2=2)
        return torch.where((unseen[:, :, None] & unseen[:, None, :]), math.inf, A)


def _gram(X: Tensor, m: int) -> Tensor:
    """X_i X_i' of blocks of m rows of X (R m, k), (R, m, m)."""
    blocks = X.reshape(-1, m, X.shape[1])
    return blocks @ blocks.mT
