"""Solve (G + D) x = b exactly in the space of samples, where G has few rows: the dual solve.

With G = U'U the identity of Woodbury (1950) gives

    x = D^-1 (b - U' (I + K)^-1 U D^-1 b),    K = U D^-1 U',

or x = D^-1 U' (I + K)^-1 k where b = U' k, as the gradient of the task is. K has as many rows as U:
few, where samples and classes are few.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..arguments import real, vector, whole
from ..curvature.damped import Shifted
from ..curvature.operators import CurvatureOperator
from ..per_sample.factor import SampleSpace
from ..scaling import exponent, ldexp, norm, shifted
from .conjugate_gradient import CONVERGED, MAX_ITER, NOT_FINITE, STAGNATION, CGResult


@torch.no_grad()
def sample_space_solve(
    system: Shifted[CurvatureOperator],
    b: Tensor,
    *,
    rtol: float = 1e-6,
    refinements: int = 3,
    space: SampleSpace | None = None,
    gradient: Tensor | None = None,
) -> CGResult:
    """Solve (G + D) x = b by the identity of Woodbury, and check the solution.

    The residual is computed with the operator's own product, not with the rows, so that samples
    that act on one another, or anything else the rows do not know, cannot pass unnoticed. Where
    rounding has left it above the tolerance the solution is refined (Higham, 2002, section 12).

    Args:
        system: ``Shifted(operator, D, free)`` with a GaussNewtonOperator and D > 0.
        b: right-hand side, shape (n,); zero on the coordinates that are not free.
        rtol: converged when |b - (G + D) x| <= rtol * |b|.
        refinements: most corrections after the first solution.
        space: the operator's rows if they are known already.
        gradient: the operator's own, if b is minus this gradient plus something small or nothing.
            It is U' times a known vector, so that the large terms b and U' alpha, which cancel but
            for rounding, need not be formed: more digits at a lower price.

    Returns:
        A CGResult whose ``iterations`` are the products spent on checking. Its reason is
        "converged", "stagnation" (no further digit to be had), "max_iter" or "not_finite".

    Raises:
        ValueError: D is not positive on the free coordinates, or see :class:`SampleSpace`.
    """
    if not isinstance(system, Shifted) or not hasattr(system.A, "task"):
        raise TypeError(
            "expected system as Shifted(operator, D, free) with a GaussNewtonOperator, got "
            f"{type(system).__name__}"
        )
    vector("b", b, system.shape[0], finite=True)
    rtol, refinements = real("rtol", rtol, 0.0), whole("refinements", refinements, 0)
    if gradient is not None:
        vector("gradient", gradient, like=b, finite=True)
    if not isinstance(space, SampleSpace | None):
        raise TypeError(f"expected space as a SampleSpace, got {type(space).__name__}")
    inverse = _inverse(system, b)
    unit = exponent(b)  # x is linear in b
    b = shifted(b, -unit)
    space = space or SampleSpace(system.A.task, system.A.params, check="none")
    K = space.gram(inverse).double()
    K.diagonal().add_(1.0)
    factor, failed = torch.linalg.cholesky_ex((K + K.T) / 2)
    space.cost += space.factorization_cost
    x, r, norms, values = torch.zeros_like(b), b, [norm(b)], [0.0]
    # Written over and over: at millions of parameters a fresh vector costs more than a sum.
    correction, product = torch.empty_like(b), torch.empty_like(b)

    def result(reason: str) -> CGResult:
        return CGResult(
            shifted(x, unit),
            reason,
            len(norms) - 1,
            [ldexp(size, unit) for size in norms],
            shifted(r, unit),
            [ldexp(value, 2 * unit) for value in values],
        )

    if int(failed) or not bool(factor.isfinite().all()):
        return result(NOT_FINITE)
    rest, known = b, None
    if gradient is not None and space.slope is not None:
        rest, known = b + shifted(gradient, -unit), -shifted(space.slope, -unit)
    while norms[-1] > rtol * norms[0]:
        if len(norms) > refinements + 1:
            return result(MAX_ITER)
        # (U'U + D) x = rest + U' known has the solution D^-1 (rest + U' y) with
        # (I + K) y = known - U D^-1 rest.
        right = torch.zeros_like(K[0]) if known is None else known.double()
        if bool(rest.any()):
            right = right - space.project(torch.mul(rest, inverse, out=correction)).double()
        y = torch.cholesky_solve(right[:, None], factor)[:, 0].to(b.dtype)
        space.lift(y, out=correction)
        x += correction.add_(rest).mul_(inverse)
        r = torch.sub(b, system.matvec(x, out=product), out=product)
        norms.append(float(r.norm()))
        values.append(-0.5 * float(x @ r + x @ b))
        if not norms[-1] < norms[-2]:
            return result(STAGNATION)
        rest, known = r, None
    return result(CONVERGED)


def _inverse(system: Shifted, like: Tensor) -> Tensor:
    """1 / D on the free coordinates and 0 elsewhere, shape (n,); one number n times if it can."""
    shift = torch.as_tensor(system.shift, dtype=like.dtype, device=like.device)
    positive = (shift > 0) & shift.isfinite()
    positive = positive if system.free is None else positive | ~system.free
    if not bool(positive.all()):
        raise ValueError(
            "the sample-space solve divides by damping + the penalty's curvature, which is not "
            "positive and finite on every coordinate: raise damping above 0, or use solver='cg'"
        )
    inverse = 1 / shift
    if system.free is not None:
        inverse = torch.where(system.free, inverse, 0.0)
    return inverse.expand_as(like)
