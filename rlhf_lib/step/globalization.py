"""How far to trust the model: reduction ratio, damping, trust region, line search, backtracking."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..arguments import function, real, whole


def reduction_ratio(actual: float, predicted: float, rounding: float = 0.0) -> float:
    """rho = (f(theta) - f(theta + d)) / (m(0) - m(d)); 1 if the model was right.

    -inf where the new value is not finite or the model promised no reduction; 1 where both
    reductions are below ``rounding``, so that their ratio would be noise, and would drive the
    damping up at convergence (Conn, Gould and Toint, 2000, section 17.4.2).

    >>> reduction_ratio(0.5, 1.0), reduction_ratio(0.5, -1.0), reduction_ratio(1e-17, 0.0, 1e-15)
    (0.5, -inf, 1.0)
    """
    for name, value in (("actual", actual), ("predicted", predicted), ("rounding", rounding)):
        real(name, value, finite=False)
    if max(abs(actual), abs(predicted)) < rounding:
        return 1.0
    if not math.isfinite(actual) or not predicted > 0:
        return -math.inf
    return actual / predicted


class DampingRule(Protocol):
    """How mu answers to the reduction ratio."""

    def factor(self, rho: float, memory: dict[str, Any]) -> float:
        """What mu is multiplied by. ``memory`` is the rule's own, {} at first; it may change it."""


class Nielsen:
    """max(1/3, 1 - (2 rho - 1)^3) if rho > 0, else nu, which doubles at each failure in a row.

    Nielsen (1999, eq. 2.5); Madsen, Nielsen and Tingleff (2004, algorithm 3.16). It reacts to a bad
    step at once.
    """

    def factor(self, rho: float, memory: dict[str, Any]) -> float:
        nu = memory.get("nu", 2.0)
        memory["nu"] = 2.0 if rho > 0 else 2 * nu
        return max(1 / 3, 1 - (2 * min(rho, 10.0) - 1) ** 3) if rho > 0 else nu


class Martens:
    """3/2 if rho < 1/4, 2/3 if rho > 3/4 (Martens, 2010, section 4.1)."""

    def factor(self, rho: float, memory: dict[str, Any]) -> float:
        return 1.5 if rho < 0.25 else 2 / 3 if rho > 0.75 else 1.0


class Fixed:
    """mu stays."""

    def factor(self, rho: float, memory: dict[str, Any]) -> float:
        return 1.0


RULES: dict[str, DampingRule] = {"nielsen": Nielsen(), "martens": Martens(), "fixed": Fixed()}


@dataclass
class Damping:
    """The Levenberg-Marquardt term mu in (B + mu I) d = -g, adapted by the reduction ratio.

    Args:
        value: mu. least, most: its bounds once it has been adapted.
        rule: "nielsen", "martens", "fixed" or a DampingRule.
        memory: the rule's.

    >>> mu = Damping(1.0, "nielsen")
    >>> [round(mu.update(rho), 3) for rho in (1.0, -0.5, -0.5)]  # one good step, two bad ones
    [0.333, 0.667, 2.667]
    """

    value: float
    rule: str | DampingRule = "nielsen"
    least: float = 1e-10
    most: float = 1e10
    memory: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        real("damping", self.value, 0.0)
        for name, bound in (("least", self.least), ("most", self.most)):
            real(name, bound, 0.0, finite=name == "least")
        if not self.least <= self.most:
            raise ValueError(f"expected least <= most, got {self.least} and {self.most}")
        known = isinstance(self.rule, str) and self.rule in RULES
        if not known and not callable(getattr(self.rule, "factor", None)):
            raise ValueError(
                "expected 'martens', 'nielsen' or 'fixed', or an object with "
                f"factor(rho, memory), got {self.rule!r}"
            )

    def update(self, rho: float) -> float:
        """Adapt mu to the last step's reduction ratio and return it."""
        real("rho", rho, finite=False)
        rule = RULES[self.rule] if isinstance(self.rule, str) else self.rule
        factor = rule.factor(rho, self.memory)
        if factor != 1.0 and (self.value > 0 or factor > 1):
            self.value = min(max(self.value * factor, self.least), self.most)
        return self.value


@dataclass
class TrustRegion:
    """The radius of |d| <= radius, adapted by the reduction ratio.

    Nocedal and Wright (2006, algorithm 4.1): a quarter of the radius if rho < 1/4, twice the radius
    if rho > 3/4 and the step went to the boundary.
    """

    radius: float
    most: float = 1e10

    def __post_init__(self):
        if not 0 < real("radius", self.radius, finite=False) < math.inf:
            raise ValueError(f"expected a finite radius > 0, got {self.radius}")
        if not real("most", self.most, finite=False) > 0:
            raise ValueError(f"expected most > 0, got {self.most}")

    def update(self, rho: float, at_boundary: bool) -> float:
        """Adapt the radius to the last step's reduction ratio and return it."""
        real("rho", rho, finite=False)
        if rho < 0.25:
            self.radius *= 0.25
        elif rho > 0.75 and at_boundary:
            self.radius = min(2 * self.radius, self.most)
        return self.radius


class Iterates:
    """A callback for conjugate gradients that keeps the iterates 1, 2, 3, 4, 5, 7, 9, 11, 14, ...

    The true objective may be lower at an earlier iterate than at the last one, whose model is good
    only nearby; Martens (2010, section 4.6) keeps those numbered by powers of 1.3.
    """

    def __init__(self, ratio: float = 1.3):
        if not real("ratio", ratio) > 1:
            raise ValueError(f"expected ratio > 1, got {ratio}")
        self.kept: list[tuple[int, Tensor]] = []
        self._ratio, self._next = ratio, 1.0

    def __call__(self, iteration: int, x: Tensor) -> None:
        if iteration >= self._next:
            self.kept.append((iteration, x.clone()))
            while self._next <= iteration:
                self._next *= self._ratio


def armijo(
    f: Callable[[float], float],
    f0: float,
    slope: Callable[[float], float],
    *,
    start: float = 1.0,
    first: float | None = None,
    c: float = 1e-4,
    shrink: float = 0.5,
    most: int = 12,
) -> tuple[float, float, int]:
    """Backtracking line search (Armijo, 1966): largest t = start * shrink^k with enough decrease.

    Enough is f(t) <= f0 + c * slope(t), where slope(t) is gradient . (theta(t) - theta), negative
    for a descent direction: along a straight line t * g'd, along a projected path what it is there.

    Args:
        f: the objective at step length t. f0: its value at 0.
        first: f(start), if it is known already.

    Returns:
        (t, f(t), evaluations of f made here); t = 0 and f0 if no step length gave enough decrease.
    """
    function("f", f), function("slope", slope)
    f0, t, evaluations = real("f0", f0), real("start", start, 0.0), 0
    real("c", c, 0.0)
    if not 0 < real("shrink", shrink) < 1:
        raise ValueError(f"expected 0 < shrink < 1, got {shrink}")
    whole("most", most, 0)
    for k in range(most + 1):
        if k == 0 and first is not None:
            value = first
        else:
            value = f(t)
            evaluations += 1
        decrease = slope(t)
        if math.isfinite(value) and decrease < 0 and value <= f0 + c * decrease:
            return t, value, evaluations
        t *= shrink
    return 0.0, f0, evaluations
