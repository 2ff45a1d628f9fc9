"""Solve A x = b: conjugate gradients with stated reasons, and a direct solve for toys."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

CONVERGED = "converged"
MAX_ITER = "max_iter"
PROGRESS = "relative_progress"
NEGATIVE_CURVATURE = "negative_curvature"
SINGULAR = "singular"
BOUNDARY = "boundary"
STAGNATION = "stagnation"
STOPPED = "stopped_by_callback"
NOT_FINITE = "not_finite"


@dataclass(frozen=True)
class CGResult:
    """What conjugate gradients found, and why it stopped.

    Attributes:
        x: the last iterate, shape (n,).
        reason: "converged" (residual below the tolerance), "relative_progress" (Martens' test),
            "max_iter", "negative_curvature" (p'Ap < 0 was met: A is indefinite), "singular"
            (p'Ap = 0 up to rounding with a residual left: no finite solution in that direction),
            "boundary" (the trust-region radius was reached), "stagnation" (the residual has
            stopped falling: the limit of the precision), "not_finite" (A @ p has NaN or inf),
            "stopped_by_callback".
        iterations: products with A, without the one for a non-zero x0.
        residual_norms: 2-norms of b - A x, the first entry at x0.
        residual: b - A x at the last iterate by the recurrence, shape (n,).
        direction: the direction p of negative or zero curvature when one was met.
    """

    x: Tensor
    reason: str
    iterations: int
    residual_norms: list[float] = field(repr=False)
    residual: Tensor = field(repr=False)
    direction: Tensor | None = field(default=None, repr=False)

    @property
    def converged(self) -> bool:
        """True if the residual met the tolerance."""
        return self.reason == CONVERGED


@torch.no_grad()
def conjugate_gradient(
    A,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    preconditioner=None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_iter: int | None = None,
    radius: float | None = None,
    progress_tol: float | None = None,
    callback=None,
) -> CGResult:
    """Minimize x'Ax/2 - b'x for a symmetric A by (preconditioned) conjugate gradients.

    Hestenes and Stiefel (1952), preconditioned form of Nocedal and Wright (2006, algorithm 5.3);
    the exits on negative curvature and on the trust-region boundary are Steihaug's (1983). Unlike
    scipy.sparse.linalg.cg, an indefinite or singular A is noticed and named, never iterated on.

    Args:
        A: anything with ``A @ v`` for v of shape (n,): a tensor or an operator.
        b: right-hand side, shape (n,).
        x0: start, shape (n,); default zero.
        preconditioner: an approximation M of the inverse of A, symmetric positive definite: with
            ``M @ r``, a callable, or a tensor of shape (n,) for a diagonal M.
        rtol, atol: converged when |b - A x| <= max(rtol * |b|, atol).
        max_iter: most products with A; default n.
        radius: trust-region radius: |x| <= radius. It is measured in the 2-norm, or with a
            preconditioner in the norm of its inverse, in which the iterates grow monotonically.
        progress_tol: Martens' (2010, section 4.4) eps, 5e-4 in his paper: stop at iteration i when
            the quadratic q has q(x_i) < 0 and fell over the last k = max(10, i/10) iterations by
            less than k * eps, relative to q(x_i).
        callback: called with (iteration, x) after every iteration; return True to stop there.

    Raises:
        ValueError: shapes do not fit, b is not finite, a tolerance is negative, x0 lies outside the
            radius, or the preconditioner turns out not to be positive definite.
    """
    if b.ndim != 1:
        raise ValueError(f"expected b of shape (n,), got {tuple(b.shape)}")
    if not bool(b.isfinite().all()):
        raise ValueError("b has NaN or infinite entries; look at the gradient it comes from")
    shape = getattr(A, "shape", None)
    if shape is not None and tuple(shape) != (b.numel(), b.numel()):
        raise ValueError(f"expected A of shape ({b.numel()}, {b.numel()}), got {tuple(shape)}")
    apply_m = _as_function(preconditioner)
    x = torch.zeros_like(b) if x0 is None else x0.detach().clone()
    r = b.clone() if x0 is None else b - A @ x
    z = apply_m(r)
    p = z.clone()
    rz = float(r @ z)
    tolerance = max(rtol * float(b.norm()), atol)
    norms = [float(r.norm())]
    limit = b.numel() if max_iter is None else max_iter
    if min(rtol, atol, limit) < 0 or (radius is not None and not radius > 0):
        raise ValueError(
            f"expected rtol, atol, max_iter >= 0 and radius > 0, got {rtol}, {atol}, {limit} and "
            f"{radius}"
        )
    eps = torch.finfo(b.dtype).eps
    # |x|, x.p and |p| in the metric of M^-1, by the recurrences of Conn, Gould and Toint (2000,
    # section 7.5.4); without a preconditioner they are computed outright.
    xx, xp, pp = 0.0, 0.0, rz
    if x0 is not None and preconditioner is not None and radius is not None:
        raise ValueError("radius with both x0 and a preconditioner is not supported: drop x0")
    if radius is not None and float(x.norm()) > radius:
        raise ValueError(f"expected |x0| <= radius = {radius}, got {float(x.norm()):.3g}")
    scale, best, since_best = 0.0, norms[0], 0
    quadratic = [-0.5 * float(x @ (r + b))]
    direction = None

    def result(reason: str, iterations: int) -> CGResult:
        return CGResult(x, reason, iterations, norms, r, direction)

    if norms[0] <= tolerance:
        return result(CONVERGED, 0)
    if _too_small(rz, r):
        return result(STAGNATION, 0)
    for i in range(1, limit + 1):
        ap = A @ p
        curvature = float(p @ ap)
        if not math.isfinite(curvature):
            return result(NOT_FINITE, i)
        p_norm2 = float(p @ p)
        if preconditioner is None:
            xx, xp, pp = float(x @ x), float(x @ p), p_norm2
        scale = max(scale, float(ap.norm()) / math.sqrt(p_norm2))
        if curvature <= 10 * eps * scale * p_norm2:
            # Below rounding of the largest stretch |Ap|/|p| seen, the sign of p'Ap means nothing.
            indefinite = curvature < -10 * eps * scale * p_norm2
            direction = p
            if radius is not None:
                tau = _to_boundary(xx, xp, pp, radius)
                x = x + tau * p
                r = r - tau * ap
                norms.append(float(r.norm()))
            return result(NEGATIVE_CURVATURE if indefinite else SINGULAR, i)
        alpha = rz / curvature
        new_xx = xx + 2 * alpha * xp + alpha * alpha * pp
        if radius is not None and new_xx >= radius * radius:
            tau = _to_boundary(xx, xp, pp, radius)
            x = x + tau * p
            r = r - tau * ap
            norms.append(float(r.norm()))
            return result(BOUNDARY, i)
        x = x + alpha * p
        r = r - alpha * ap
        norms.append(float(r.norm()))
        quadratic.append(-0.5 * float(x @ (r + b)))
        if callback is not None and callback(i, x):
            return result(STOPPED, i)
        if norms[-1] <= tolerance:
            return result(CONVERGED, i)
        if progress_tol is not None:
            k = max(10, i // 10)
            now = quadratic[-1]
            if i > k and now < 0 and (now - quadratic[i - k]) / now < k * progress_tol:
                return result(PROGRESS, i)
        # Rounding leaves the true residual near eps * |A| |x|; the recurrence may go on below it,
        # but a residual that has not halved in so many steps is not converging.
        if norms[-1] < 0.5 * best:
            best, since_best = norms[-1], 0
        else:
            since_best += 1
            if since_best >= 2 * b.numel() + 50:
                return result(STAGNATION, i)
        z = apply_m(r)
        new_rz = float(r @ z)
        if _too_small(new_rz, r):
            return result(STAGNATION, i)
        beta = new_rz / rz
        xp = beta * (xp + alpha * pp)
        pp = new_rz + beta * beta * pp
        xx, rz = new_xx, new_rz
        p = z + beta * p
    return result(MAX_ITER, limit)


def _as_function(preconditioner):
    if preconditioner is None:
        return lambda r: r
    if isinstance(preconditioner, Tensor) and preconditioner.ndim == 1:
        return lambda r: preconditioner * r
    if hasattr(preconditioner, "__matmul__"):
        return lambda r: preconditioner @ r
    return preconditioner


def _too_small(rz: float, r: Tensor) -> bool:
    """Whether the square of r has underflowed; r'Mr <= 0 has no other excuse."""
    if rz == 0 and float(r @ r) == 0:
        return True
    if rz <= 0:
        raise ValueError(f"the preconditioner is not positive definite: r'Mr = {rz:.3g}")
    return False


def _to_boundary(xx: float, xp: float, pp: float, radius: float) -> float:
    """The positive root tau of |x + tau p|^2 = radius^2."""
    return (-xp + math.sqrt(max(xp * xp + pp * (radius * radius - xx), 0.0))) / pp


class Shifted:
    """A + diag(shift) on the free coordinates, the identity on the others.

    Args:
        A: a symmetric operator of shape (n, n).
        shift: damping plus the regularizer's curvature: a number or a vector of shape (n,).
        free: mask of shape (n,) of the coordinates that may move; None frees all.
    """

    def __init__(self, A, shift: float | Tensor, free: Tensor | None = None):
        self.A, self.shift, self.free = A, shift, free
        self.shape = A.shape

    def __matmul__(self, v: Tensor) -> Tensor:
        if self.free is None:
            return self.A @ v + self.shift * v
        inside = v * self.free
        return (self.A @ inside + self.shift * inside) * self.free + v * ~self.free


def solve_dense(H: Tensor, b: Tensor) -> tuple[Tensor, str]:
    """Solve H x = b for a small symmetric H, definite or not; returns (x, reason).

    The reason is "converged", or "singular" when the reciprocal condition number of H is below
    machine precision; x is then the least-norm least-squares solution.
    """
    eigenvalues, vectors = torch.linalg.eigh((H + H.T) / 2)
    size = eigenvalues.abs().max()
    kept = eigenvalues.abs() > size * H.shape[0] * torch.finfo(H.dtype).eps
    inverse = torch.where(kept, 1 / torch.where(kept, eigenvalues, 1.0), 0.0)
    x = vectors @ (inverse * (vectors.T @ b))
    return x, CONVERGED if bool(kept.all()) else SINGULAR
