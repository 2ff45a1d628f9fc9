"""Direct solves of H x = b for small symmetric matrices, definite or not: for toys."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arguments import real, symmetric, vector
from ..scaling import norm
from .conjugate_gradient import CONVERGED, NEGATIVE_CURVATURE, NOT_FINITE, SINGULAR

NOT_POSITIVE_DEFINITE = "not_positive_definite"


@dataclass(frozen=True)
class DirectResult:
    """What a direct solve did.

    Attributes:
        x: the solution of (H + E) x = b, shape (n,).
        reason: "converged" (E = 0), "negative_curvature" (H has a negative eigenvalue), "singular"
            (it has none, but one that is zero up to rounding or below the floor),
            "not_positive_definite" (negative or zero: a failed factorization does not tell which),
            "not_finite" (H or b has NaN or inf, and x is all NaN).
        jitter: 2-norm of E, the change that makes H positive definite: tau for E = tau I.
    """

    x: Tensor
    reason: str
    jitter: float = 0.0

    @property
    def converged(self) -> bool:
        """True if H itself was solved with."""
        return self.reason == CONVERGED


def solve_dense(H: Tensor, b: Tensor) -> tuple[Tensor, str]:
    """Solve H x = b as it is, for a symmetric H, definite or not; returns (x, reason).

    The reason is "converged", or "singular" when the reciprocal condition number of H is below
    machine precision; x is then the least-norm least-squares solution. "not_finite" as in
    DirectResult.
    """
    if not _check(H, b):
        return torch.full_like(b, math.nan), NOT_FINITE
    eigenvalues, vectors = torch.linalg.eigh((H + H.T) / 2)
    size = eigenvalues.abs().max()
    kept = eigenvalues.abs() > size * H.shape[0] * torch.finfo(H.dtype).eps
    inverse = torch.where(kept, 1 / torch.where(kept, eigenvalues, 1.0), 0.0)
    x = vectors @ (inverse * (vectors.T @ b))
    return x, CONVERGED if bool(kept.all()) else SINGULAR


def cholesky_solve(H: Tensor, b: Tensor, *, beta: float = 1e-3) -> DirectResult:
    """Solve (H + tau I) x = b by Cholesky, tau the first of 0, tau_0, 2 tau_0, ... that succeeds.

    Nocedal and Wright (2006, algorithm 3.3): cheaper than eigenvalues, but tau may be up to twice
    as large as it need be. A factor whose pivots are rounding errors counts as a failure.

    Args:
        H: symmetric, shape (n, n). b: shape (n,).
        beta: least positive tau, relative to the root mean square of H's entries' row norms.

    Returns:
        A DirectResult; x'b > 0 for b != 0, so that x descends where b is minus a gradient.
    """
    if not _check(H, b):
        return DirectResult(torch.full_like(b, math.nan), NOT_FINITE)
    if not real("beta", beta) > 0:
        raise ValueError(f"expected beta > 0, got {beta}")
    H = (H + H.T) / 2
    n, lowest = len(H), float(H.diagonal().min())
    size = norm(H) / math.sqrt(n)
    least = beta * size if size > 0 else beta
    rounding = n * torch.finfo(H.dtype).eps
    tau = 0.0 if lowest > 0 else least - lowest
    eye = torch.eye(n, dtype=H.dtype, device=H.device)
    while True:
        factor, info = torch.linalg.cholesky_ex(H + tau * eye)
        pivots = factor.diagonal().square()
        if int(info) == 0 and float(pivots.min()) > rounding * float(pivots.max()):
            x = torch.cholesky_solve(b[:, None], factor)[:, 0]
            return DirectResult(x, CONVERGED if tau == 0 else NOT_POSITIVE_DEFINITE, tau)
        tau = max(2 * tau, least)


def saddle_free_solve(H: Tensor, b: Tensor, *, floor: float | None = None) -> DirectResult:
    """Solve |H| x = b, |H| having the moduli of H's eigenvalues: saddles repel, minima attract.

    Dauphin et al. (2014, algorithm 1); as a modification of H it is that of Nocedal and Wright
    (2006, section 3.4, eq. 3.40 with moduli).

    Args:
        H: symmetric, shape (n, n). b: shape (n,).
        floor: moduli below it are replaced by it; default the least modulus that is not a rounding
            error, or 1 where H = 0.

    Returns:
        A DirectResult; x'b > 0 for b != 0.
    """
    if not _check(H, b):
        return DirectResult(torch.full_like(b, math.nan), NOT_FINITE)
    if floor is not None and not real("floor", floor) > 0:
        raise ValueError(f"expected floor > 0, got {floor}")
    if b.numel() == 0:
        return DirectResult(b.clone(), CONVERGED)
    moduli, eigenvalues, vectors = _moduli(H, floor)
    x = vectors @ ((vectors.T @ b) / moduli)
    jitter = float((moduli - eigenvalues).abs().max())
    if float(eigenvalues[0]) < -_rounding(eigenvalues):
        return DirectResult(x, NEGATIVE_CURVATURE, jitter)
    return DirectResult(x, CONVERGED if jitter == 0 else SINGULAR, jitter)


def _check(H: Tensor, b: Tensor) -> bool:
    """Whether all entries are finite. Raises TypeError or ValueError for what is no system."""
    vector("b", b)
    if not isinstance(H, Tensor):
        raise TypeError(f"expected H as a tensor of shape (n, n), got {type(H).__name__}")
    symmetric("H", H, like=b)
    return bool(H.isfinite().all()) and bool(b.isfinite().all())


def absolute_value(H: Tensor, *, floor: float | None = None) -> Tensor:
    """|H| with the moduli of H's eigenvalues, at least ``floor``: see saddle_free_solve."""
    moduli, _, vectors = _moduli(H, floor)
    return (vectors * moduli) @ vectors.T


def _rounding(eigenvalues: Tensor) -> float:
    """Below this an eigenvalue of the matrix is not to be told from zero."""
    return float(eigenvalues.abs().max()) * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps


def _moduli(H: Tensor, floor: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """(moduli raised to the floor, eigenvalues ascending, eigenvectors in columns)."""
    eigenvalues, vectors = torch.linalg.eigh((H + H.T) / 2)
    moduli, rounding = eigenvalues.abs(), _rounding(eigenvalues)
    if floor is None:
        floor = float(moduli[moduli > rounding].min()) if rounding > 0 else 1.0
    return moduli.clamp(min=floor), eigenvalues, vectors
