"""The step of a proximal Newton method: a quadratic plus a penalty with kinks, by products."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..arguments import real, symmetric, vector, whole
from ..curvature.damped import Products
from ..regularizers import Regularizer
from ..scaling import exponent, ldexp, norm, shifted
from .conjugate_gradient import (
    CONVERGED,
    MAX_ITER,
    NEGATIVE_CURVATURE,
    NOT_FINITE,
    SINGULAR,
    STAGNATION,
)

# Residual off the face over residual on it above which a prox step is worth its product. Least
# products over lassos and quadratics of condition 1e2 to 1e6; 0.1 or 1 cost a few per cent more.
_RELEASE = 0.3
_Move = tuple[Tensor, Tensor]  # y and A y


@dataclass(frozen=True)
class ProximalResult:
    """What :func:`proximal_solve` found, and why it stopped.

    Attributes:
        direction: d, shape (n,).
        reason: "converged" (the residual met the tolerance), "max_iter", "negative_curvature"
            (p'Ap < 0 was met, so the model may have no minimum), "singular" (A is flat in a
            direction in which R does not hold it back: the model has no minimum), "stagnation"
            (the residual is at the limit of the precision), "not_finite" (A @ p has NaN or inf).
            Whatever the reason, d is a direction of descent or zero.
        iterations: products with A.
        residual_norms: 2-norms of the model's minimum-norm subgradient, its KKT residual: first at
            d = 0, then after each prox step or subspace step.
        predicted: what the model promises, m(0) - m(d) >= 0, for A as it was given.
        decrement: gradient'd + R(theta + d) - R(theta), negative unless d = 0. The line search is
            f(theta + t d) <= f(theta) + c t decrement (Lee, Sun and Saunders, 2014, section 2).
        point: theta + d, with entries that reach a kink exactly there; shape (n,).
        product: A @ d, shape (n,).
        lipschitz: largest |A p| / |p| seen, from which the next solve may start.
    """

    direction: Tensor
    reason: str
    iterations: int
    residual_norms: list[float] = field(repr=False)
    predicted: float
    decrement: float
    point: Tensor = field(repr=False)
    product: Tensor = field(repr=False)
    lipschitz: float

    @property
    def converged(self) -> bool:
        """True if the residual met the tolerance."""
        return self.reason == CONVERGED


@torch.no_grad()
def proximal_solve(
    A: Products,
    gradient: Tensor,
    penalty: Regularizer,
    theta: Tensor,
    *,
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_iter: int | None = None,
    lipschitz: float | None = None,
) -> ProximalResult:
    """Minimize m(d) = gradient'd + d'Ad/2 + R(theta + d) - R(theta) for a symmetric A.

    Two steps in turn, as in Byrd, Nocedal and Oztoprak (2016). A proximal gradient step (Beck and
    Teboulle, 2009, eq. 2.6) finds which entries stay at a kink. Conjugate gradients then minimize
    over the others, the face, on which R is smooth, until an entry passes its kink; what passed is
    projected onto it. When to leave a face follows Dostal (1997): only where the residual
    outside is no longer small beside the one inside. On lassos and quadratics of condition 1e2 to
    1e4 it mostly took a quarter to two thirds of the products that the accelerated proximal
    gradient method with restarts (O'Donoghue and Candes, 2015) takes, at worst 1.5 times as many
    (an easy group lasso); for a smooth penalty with strong, local curvature (pseudo-Huber) twice.

    Args:
        A: anything with ``A @ v`` for v of shape (n,): a tensor or an operator.
        gradient: of the task loss alone, at theta; shape (n,).
        penalty: a convex R with its lambda in its weight; all its curvature is left to this solve,
            so A must not contain any.
        theta: shape (n,).
        rtol, atol: converged when the KKT residual is at most max(rtol * its first norm, atol).
        max_iter: most products with A, at least 2; default 20 n + 200.
        lipschitz: a guess of the largest eigenvalue of A; without it one product is spent on it.

    Raises:
        ValueError: gradient and theta of different shapes, negative tolerances, max_iter below 2.
    """
    vector("theta", theta, finite=True)
    vector("gradient", gradient, like=theta, finite=True)
    symmetric("A", A, like=theta)
    if not isinstance(penalty, Regularizer):
        raise TypeError(f"expected penalty as a Regularizer, got {penalty!r}: make it, as by L1()")
    limit = 20 * theta.numel() + 200 if max_iter is None else whole("max_iter", max_iter, 2)
    rtol, atol = real("rtol", rtol, 0.0), real("atol", atol, 0.0)
    if lipschitz is not None:
        real("lipschitz", lipschitz, 0.0)
    model = _Model(A, gradient, penalty, theta, limit, lipschitz or 0.0)
    norms: list[float] = []
    first_step, identify = None, True
    try:
        while True:
            residual = model.penalty.subgradient(model.gradient, model.point)
            norms.append(ldexp(norm(residual), model.slope_unit))
            tolerance, rounding = max(rtol * norms[0], atol), model.rounding()
            if norms[-1] <= max(tolerance, rounding):
                raise _Stop(CONVERGED if tolerance >= rounding else STAGNATION)
            outside = norm(residual[model.penalty.at_kink(model.point)])
            if identify or outside > _RELEASE * norm(residual):
                if len(norms) == 1:
                    model.measure(residual)
                indefinite = _prox_step(model)
                first_step = first_step or (model.point, model.product)
                if indefinite:
                    raise _Stop(NEGATIVE_CURVATURE)
                identify = False
            else:
                identify = _subspace_step(model, 0.5 * ldexp(tolerance, -model.slope_unit))
    except _Stop as stop:
        reason = stop.reason
    decrement, bend = model.decrement(), model.bend()
    if bend >= 0:
        decrement = min(decrement, -0.5 * bend)  # m has fallen, if by less than the rounding of R
    elif decrement >= 0 and first_step:
        # An indefinite A lets m fall along a direction in which the objective does not, but the
        # first prox step always descends.
        model.point, model.product = first_step
        decrement, bend = model.decrement(), model.bend()
    return ProximalResult(
        shifted(model.point - model.start, model.unit),
        reason,
        model.products,
        norms,
        ldexp(-(decrement + 0.5 * bend), model.value_unit),
        ldexp(decrement, model.value_unit),
        shifted(model.point, model.unit),
        shifted(model.product, model.slope_unit),
        ldexp(model.lipschitz, model.curvature_unit),
    )


def forcing_term(norm: float, first_norm: float, most: float = 0.1) -> float:
    """rtol of the next solve for an outer method with KKT residuals ``norm``, first ``first_norm``.

    min(most, sqrt(norm / first_norm)): it tends to zero with the residual, so that the method
    converges superlinearly, without solving far-off models exactly (Dembo, Eisenstat and Steihaug,
    1982; for proximal Newton steps Lee, Sun and Saunders, 2014, section 2).
    """
    norm, first_norm = real("norm", norm, 0.0), real("first_norm", first_norm, 0.0)
    most = real("most", most, 0.0)
    return min(most, math.sqrt(norm / first_norm)) if first_norm > 0 else most


class _Stop(Exception):
    def __init__(self, reason: str):
        self.reason = reason


class _InUnits:
    """R(2^u theta) / 2^v, asked like R."""

    def __init__(self, penalty: Regularizer, u: int, v: int):
        self.penalty, self.u, self.v = penalty, u, v

    def value(self, theta):
        return shifted(self.penalty.value(shifted(theta, self.u).double()), -self.v)

    def subgradient(self, task_gradient, theta):
        slope = self.v - self.u
        true = self.penalty.subgradient(shifted(task_gradient, slope), shifted(theta, self.u))
        return shifted(true, -slope)

    def curvature_product(self, p, theta):
        true = self.penalty.curvature_product(p, shifted(theta, self.u))
        return shifted(true, 2 * self.u - self.v)

    def prox(self, x, step):
        true = self.penalty.prox(shifted(x, self.u), ldexp(step, 2 * self.u - self.v))
        return shifted(true, -self.u)

    def at_kink(self, theta):
        return self.penalty.at_kink(shifted(theta, self.u))

    def crossed(self, start, end):
        return self.penalty.crossed(shifted(start, self.u), shifted(end, self.u))

    def landed(self, start, end):
        true = self.penalty.landed(shifted(start, self.u), shifted(end, self.u))
        return shifted(true, -self.u)


class _Model:
    """m, the present point with the model's gradient there, and the products spent.

    All but the count is in units of 2^unit for theta and 2^curvature_unit for A, and in those that
    follow for slopes and values; 2^0 in the usual range.
    """

    unit = curvature_unit = 0

    def __init__(
        self,
        A: Products,
        gradient: Tensor,
        penalty: Regularizer,
        theta: Tensor,
        limit: int,
        lipschitz: float,
    ):
        self.A, self.limit = A, limit
        self.penalty: Regularizer | _InUnits = penalty
        self.start, self.start_gradient = theta, gradient
        self.point, self.gradient = theta.clone(), gradient.clone()
        self.product = torch.zeros_like(theta)  # A (point - theta)
        self.products, self.lipschitz = 0, lipschitz
        self.eps = torch.finfo(theta.dtype).eps

    @property
    def slope_unit(self) -> int:
        """Exponent of a gradient's unit."""
        return self.unit + self.curvature_unit

    @property
    def value_unit(self) -> int:
        """Exponent of the unit of m."""
        return 2 * self.unit + self.curvature_unit

    def measure(self, residual: Tensor) -> None:
        """At the start: |A|, and units in which it and the larger of theta and d are near one.

        Only where they are so far from one that products of a few of them might leave the range.
        """
        if self.lipschitz == 0:
            self.times(shifted(residual, -exponent(residual)))
        size, L, start = norm(residual), self.lipschitz or 1.0, norm(self.start)
        safe = torch.finfo(residual.dtype).max ** 0.125
        if start <= safe and 1 / safe <= min(size, L, size / L) <= max(size, L, size / L) <= safe:
            return
        self.curvature_unit = math.frexp(L)[1]
        self.unit = math.frexp(max(start, size / L))[1]
        self.lipschitz = ldexp(self.lipschitz, -self.curvature_unit)
        self.start = shifted(self.start, -self.unit)
        self.start_gradient = shifted(self.start_gradient, -self.slope_unit)
        self.point, self.gradient = self.start.clone(), self.start_gradient.clone()
        assert not isinstance(self.penalty, _InUnits)  # this happens once
        self.penalty = _InUnits(self.penalty, self.unit, self.value_unit)

    def times(self, p: Tensor) -> Tensor:
        """A @ p, counted."""
        if self.products >= self.limit:
            raise _Stop(MAX_ITER)
        self.products += 1
        ap = shifted(self.A @ p, -self.curvature_unit)
        stretch = norm(ap) / norm(p)
        if not math.isfinite(stretch):
            raise _Stop(NOT_FINITE)
        self.lipschitz = max(self.lipschitz, stretch)
        return ap

    def move(self, y: Tensor, ay: Tensor, point: Tensor | None = None) -> None:
        self.point = self.point + y if point is None else point
        self.product, self.gradient = self.product + ay, self.gradient + ay

    def change(self, y: Tensor, ay: Tensor) -> float:
        """m(point + y) - m(point)."""
        kinked = self.penalty.value(self.point + y) - self.penalty.value(self.point)
        return float(self.gradient @ y + 0.5 * (y @ ay) + kinked)

    def decrement(self) -> float:
        """gradient'd + R(theta + d) - R(theta)."""
        kinked = self.penalty.value(self.point) - self.penalty.value(self.start)
        return float(self.start_gradient @ (self.point - self.start) + kinked)

    def bend(self) -> float:
        """d'Ad."""
        return float((self.point - self.start) @ self.product)

    def noise(self, pp: float) -> float:
        """Below it the sign of p'Ap means nothing, for |p|^2 = pp."""
        return 10 * self.eps * self.lipschitz * pp

    def rounding(self) -> float:
        """Size of the rounding errors in A d, in no unit: below it the residual says nothing."""
        size = self.eps * self.lipschitz * norm(self.point - self.start)
        return ldexp(size, self.slope_unit)


def _prox_step(model: _Model) -> bool:
    """Minimize with L |y|^2 for y'Ay; returns whether A turned out to be indefinite."""
    L = model.lipschitz or 1.0
    while True:
        point = model.penalty.prox(model.point - model.gradient / L, 1 / L)
        y = point - model.point
        if not bool(y.any()):
            raise _Stop(STAGNATION)
        ay = model.times(y)
        yay, yy = float(y @ ay), float(y @ y)
        if yay <= L * yy + model.noise(yy):
            model.move(y, ay, point)
            return yay < -model.noise(yy)
        L = max(2 * L, yay / yy)


def _subspace_step(model: _Model, tolerance: float) -> bool:
    """Minimize over the entries away from the kink; returns whether a prox step has to follow."""
    inner, last, reason = _conjugate_gradient(model, tolerance)
    y, ay = inner
    if last is not None:  # the last CG step crossed a kink; m is convex, if not finite, along it
        t, value = 1.0, model.change(y + last[0], ay + last[1])
        while t > 1e-8:
            shorter = model.change(y + 0.5 * t * last[0], ay + 0.5 * t * last[1])
            if shorter >= value and value < math.inf:
                break
            t, value = 0.5 * t, shorter
        t = t if value < math.inf else 0.0
        y, ay = y + t * last[0], ay + t * last[1]
        if reason is None and _project(model, inner[0] + last[0], value):
            return False
    else:
        t = 1.0
        noise = 10 * model.eps * float(model.penalty.value(model.point))
        while t > 1e-8 and model.change(t * y, t * ay) > noise:
            t *= 0.5
        y, ay = t * y, t * ay
    model.move(y, ay)
    if reason is not None:
        raise _Stop(reason)
    return t < 1


def _project(model: _Model, y: Tensor, value: float) -> bool:
    """Go to point + y with the entries that crossed at their kink, if m falls by -value or more."""
    target = model.penalty.landed(model.point, model.point + y)
    step = target - model.point
    if model.products >= model.limit or not bool(step.any()):
        return False
    product = model.times(step)
    if model.change(step, product) > value:
        return False
    model.move(step, product, target)
    return True


def _conjugate_gradient(model: _Model, tolerance: float) -> tuple[_Move, _Move | None, str | None]:
    """CG over the face of the present point until an entry crosses its kink.

    Returns:
        ((y, A y) inside the face, (its last step, A times it) if that step crossed, a reason to
        stop altogether or None).
    """
    penalty, point = model.penalty, model.point
    face = ~penalty.at_kink(point)
    r = -penalty.subgradient(model.gradient, point) * face
    y, ay, p, rr = torch.zeros_like(point), torch.zeros_like(point), r, float(r @ r)
    while True:
        try:
            ap = model.times(p)
        except _Stop as stop:
            return (y, ay), None, stop.reason
        bp = (ap + penalty.curvature_product(p, point)) * face
        pbp, pp = float(p @ bp), float(p @ p)
        if pp == 0:  # the square has underflowed
            return (y, ay), None, STAGNATION
        if pbp < -model.noise(pp):
            return (y, ay), None, NEGATIVE_CURVATURE
        flat = pbp <= model.noise(pp)
        # Along a flat direction m falls until R holds it back, at a kink that lies ahead.
        length = norm(point) + norm(y) + norm(model.start_gradient) / (model.lipschitz or 1.0)
        far = 1e3 * length / math.sqrt(pp)
        alpha = far if flat else rr / pbp
        step, product = alpha * p, alpha * ap
        if bool(penalty.crossed(point, point + y + step).any()):
            return (y, ay), (step, product), None
        if flat:
            return (y, ay), None, SINGULAR
        y, ay, r = y + step, ay + product, r - alpha * bp
        new_rr = float(r @ r)
        # The true residual costs no product. Where R is not quadratic it stays behind r, and
        # further steps on the same quadratic would be wasted.
        true = penalty.subgradient(model.gradient + ay, point + y) * face
        if math.sqrt(new_rr) <= max(tolerance, 0.3 * float(true.norm() - math.sqrt(new_rr))):
            return (y, ay), None, None
        p, rr = r + (new_rr / rr) * p, new_rr
