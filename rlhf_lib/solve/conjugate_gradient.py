"""Solve A x = b by conjugate gradients that say why they stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..arguments import function, real, symmetric, vector, whole
from ..curvature.damped import Products, matvec
from ..interrupt import checkpoint
from ..scaling import exponent, ldexp, norm, shifted
from .stops import Ball, Rounding, Stagnation, slow_progress

CONVERGED = "converged"
MAX_ITER = "max_iter"
PROGRESS = "relative_progress"
NEGATIVE_CURVATURE = "negative_curvature"
SINGULAR = "singular"
BOUNDARY = "boundary"
STAGNATION = "stagnation"
STOPPED = "stopped_by_callback"
NOT_FINITE = "not_finite"

# An approximation M of the inverse: ``M @ r``, the diagonal of M, a function, or none.
Preconditioner = Products | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class CGResult:
    """What conjugate gradients found, and why it stopped.

    Attributes:
        x: the last iterate, shape (n,).
        reason: "converged" (residual below the tolerance), "relative_progress" (Martens' test),
            "max_iter", "negative_curvature" (p'Ap < 0 was met: A is indefinite), "singular"
            (p'Ap = 0 up to rounding with a residual left: no finite solution in that direction),
            "boundary" (the trust-region radius was reached), "stagnation" (the residual has
            stopped falling, or the recurrence met the tolerance and the residual itself did not:
            the limit of the precision), "not_finite" (A @ p has NaN or inf),
            "stopped_by_callback".
        iterations: products with A, without the one for a non-zero x0.
        residual_norms: 2-norms of b - A x, the first entry at x0.
        residual: b - A x at the last iterate by the recurrence, shape (n,).
        values: x'Ax/2 - b'x, the quadratic that is minimized, at each iterate, by the recurrence.
        direction: the direction p of negative or zero curvature when one was met.
    """

    x: Tensor
    reason: str
    iterations: int
    residual_norms: list[float] = field(repr=False)
    residual: Tensor = field(repr=False)
    values: list[float] = field(repr=False)
    direction: Tensor | None = field(default=None, repr=False)

    @property
    def converged(self) -> bool:
        """True if the residual met the tolerance."""
        return self.reason == CONVERGED


@torch.no_grad()
def conjugate_gradient(
    A: Products,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    preconditioner: Preconditioner = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_iter: int | None = None,
    radius: float | None = None,
    progress_tol: float | None = None,
    callback: Callable[[int, Tensor], object] | None = None,
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
        callback: called with (iteration, x) after every iteration; return True to stop there. x is
            overwritten by the next one: clone it to keep it.

    Raises:
        ValueError: shapes do not fit, b is not finite, a tolerance is negative, x0 lies outside the
            radius, or the preconditioner turns out not to be positive definite.

    >>> found = conjugate_gradient(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.ones(2))
    >>> found.x, found.reason, found.iterations
    (tensor([0.5000, 0.2500]), 'converged', 2)
    """
    vector("b", b, finite=True)
    limit = b.numel() if max_iter is None else whole("max_iter", max_iter, 0)
    _check(A, b, x0, preconditioner, radius)
    rtol, atol = real("rtol", rtol, 0.0), real("atol", atol, 0.0)
    if progress_tol is not None:
        real("progress_tol", progress_tol, 0.0)
    if callback is not None:
        function("callback", callback)
    # The recurrences square everything, so they run in units in which r, z and A are of order one:
    # r = 2^k r', M = 2^m M', A = 2^a A' and x = 2^(k - a) x'. All three are 0 in the usual range.
    r = b.clone() if x0 is None else b - A @ x0
    k, m, a = exponent(r), 0, 0
    b, r = shifted(b, -k), shifted(r, -k)
    x = torch.zeros_like(b) if x0 is None else shifted(x0.detach().clone(), -k)
    tolerance = max(rtol * norm(b), ldexp(atol, -k))
    apply_m = _as_function(preconditioner)
    z = apply_m(r)
    if preconditioner is not None:
        m = exponent(z) // 2 * 2  # even, for the norm of M^-1 has its root
        z = shifted(z, -m)
    p = z.clone()
    rz = float(r @ z)
    ball = None
    if radius is not None:
        ball = Ball(ldexp(radius, m // 2 - k), preconditioner is not None, rz)
    norms, values = [float(r.norm())], [-0.5 * float(x @ r + x @ b)]
    rounding, stagnates = Rounding(b.dtype), Stagnation(b.numel(), norms[0])
    ap, direction = torch.empty_like(b), None

    def times(v: Tensor) -> Tensor:
        """A' v, in the place of ap."""
        product = matvec(A, v, ap)
        return shifted(product, -a, out=product) if a else product

    def result(reason: str, iterations: int) -> CGResult:
        return CGResult(
            shifted(x, k - a),
            reason,
            iterations,
            [ldexp(size, k) for size in norms],
            shifted(r, k),
            [ldexp(value, 2 * k - a) for value in values],
            direction,
        )

    def move(step: float) -> None:
        # In place, here and below: at millions of entries a fresh vector costs more than the sum.
        x.add_(p, alpha=step)
        r.sub_(ap, alpha=step)
        norms.append(float(r.norm()))
        values.append(values[-1] + step * (0.5 * step * curvature - rz))

    if norms[0] <= tolerance:
        return result(CONVERGED, 0)
    if _too_small(rz, r):
        return result(STAGNATION, 0)
    for i in range(1, limit + 1):
        checkpoint("product", i, limit)
        ap = times(p)
        if i == 1 and (a := exponent(ap)):
            ap, x, values = shifted(ap, -a), shifted(x, a), [ldexp(values[0], a)]
            if ball is not None:
                ball.radius = ldexp(ball.radius, a)
        curvature = float(p @ ap)
        if not math.isfinite(curvature):
            return result(NOT_FINITE, i)
        flat = rounding.of_curvature(p, ap)
        if rounding.pp == 0:
            return result(STAGNATION, i)
        if ball is not None:
            ball.look(x, p, rounding.pp)
        if curvature <= flat:
            direction = p
            if ball is not None:
                move(ball.reach())
            return result(NEGATIVE_CURVATURE if curvature < -flat else SINGULAR, i)
        alpha = rz / curvature
        if ball is not None and not ball.holds(alpha):
            move(ball.reach())
            return result(BOUNDARY, i)
        move(alpha)
        if callback is not None and callback(i, shifted(x, k - a)):
            return result(STOPPED, i)
        if norms[-1] <= tolerance:
            # The recurrence says so; where rounding blurs it, only the product itself can tell.
            if rounding.of_residual(i, x) < 0.1 * tolerance:
                return result(CONVERGED, i)
            torch.sub(b, times(x), out=r)
            norms[-1] = float(r.norm())
            return result(CONVERGED if norms[-1] <= tolerance else STAGNATION, i)
        if progress_tol is not None and slow_progress(values, progress_tol):
            return result(PROGRESS, i)
        if stagnates(norms[-1]):
            return result(STAGNATION, i)
        z = shifted(apply_m(r), -m)
        new_rz = float(r @ z)
        if _too_small(new_rz, r):
            return result(STAGNATION, i)
        beta = new_rz / rz
        if ball is not None:
            ball.turn(alpha, beta, new_rz)
        p.mul_(beta).add_(z)
        rz = new_rz
    return result(MAX_ITER, limit)


def _check(
    A: Products, b: Tensor, x0: Tensor | None, preconditioner: Preconditioner, radius: float | None
) -> None:
    """An error for what cannot be solved, before a product is spent."""
    symmetric("A", A, like=b)
    if x0 is not None:
        vector("x0", x0, like=b, finite=True)
    if isinstance(preconditioner, Tensor) and preconditioner.ndim == 1:
        vector("preconditioner", preconditioner, like=b, finite=True)
    elif preconditioner is not None and not callable(preconditioner):
        symmetric("preconditioner", preconditioner, like=b)
    if radius is not None and not real("radius", radius, finite=False) > 0:
        raise ValueError(f"expected radius > 0, got {radius}")
    if x0 is not None and radius is not None:
        if preconditioner is not None:
            raise ValueError("expected x0 or a preconditioner with a radius, got both: drop x0")
        if not norm(x0) <= radius:
            raise ValueError(f"expected |x0| <= radius = {radius}, got {norm(x0):.3g}")


def _as_function(preconditioner: Preconditioner) -> Callable[[Tensor], Tensor]:
    if preconditioner is None:
        return lambda r: r
    if isinstance(preconditioner, Tensor) and preconditioner.ndim == 1:
        return lambda r: preconditioner * r
    if isinstance(preconditioner, Products):
        return lambda r: preconditioner @ r
    return preconditioner


def _too_small(rz: float, r: Tensor) -> bool:
    """Whether the square of r has underflowed; r'Mr <= 0 has no other excuse."""
    if rz == 0 and float(r @ r) == 0:
        return True
    if rz <= 0:
        raise ValueError(
            f"expected a positive definite preconditioner, got one with r'Mr = {rz:.3g}"
        )
    return False
