"""What ends conjugate gradients beside a small residual, each in a piece of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Rounding:
    """How much rounding blurs, from the largest stretch |Ap| / |p| seen: a bound for |A| below."""

    def __init__(self, dtype: torch.dtype):
        self.eps, self.scale, self.pp = torch.finfo(dtype).eps, 0.0, 0.0

    def of_curvature(self, p: Tensor, ap: Tensor) -> float:
        """Below this the sign of p'Ap means nothing. Keeps p'p in ``pp``."""
        self.pp = float(p @ p)
        if self.pp > 0:
            self.scale = max(self.scale, float(ap.norm()) / math.sqrt(self.pp))
        return 10 * self.eps * self.scale * self.pp

    def of_residual(self, iterations: int, x: Tensor) -> float:
        """By how much the recurrence has left b - A x: eps |A| |x| a step (Greenbaum, 1997)."""
        return iterations * self.eps * self.scale * float(x.norm())


class Ball:
    """The trust region |x| <= radius, and where the line x + tau p meets its boundary.

    In the 2-norm all is computed outright. With a preconditioner the norm is that of M^-1, in which
    the iterates grow monotonically, and x'x, x'p and p'p go by the recurrences of Conn, Gould and
    Toint (2000, section 7.5.4): no product with M^-1 is needed.

    Args:
        radius: above 0. preconditioned: whether the norm is that of M^-1.
        rz: r'Mr at the start, where x = 0.
    """

    def __init__(self, radius: float, preconditioned: bool, rz: float):
        self.radius, self.preconditioned = radius, preconditioned
        self.xx, self.xp, self.pp = 0.0, 0.0, rz

    def look(self, x: Tensor, p: Tensor, pp: float) -> None:
        """See where x and p are; ``pp`` is p'p in the 2-norm."""
        if not self.preconditioned:
            self.xx, self.xp, self.pp = float(x @ x), float(x @ p), pp

    def after(self, alpha: float) -> float:
        """|x + alpha p|^2."""
        return self.xx + 2 * alpha * self.xp + alpha * alpha * self.pp

    def holds(self, alpha: float) -> bool:
        """Whether x + alpha p lies inside."""
        return self.after(alpha) < self.radius * self.radius

    def reach(self) -> float:
        """The positive root tau of |x + tau p|^2 = radius^2."""
        xx, xp, pp, radius = self.xx, self.xp, self.pp, self.radius
        return (-xp + math.sqrt(max(xp * xp + pp * (radius * radius - xx), 0.0))) / pp

    def turn(self, alpha: float, beta: float, rz: float) -> None:
        """Go on from x + alpha p in the direction z + beta p, with r'z at the new point."""
        self.xx = self.after(alpha)
        self.xp = beta * (self.xp + alpha * self.pp)
        self.pp = rz + beta * beta * self.pp


class Stagnation:
    """The residual has not halved in 2 n + 50 iterations.

    Rounding leaves the true residual near eps |A| |x|; the recurrence may go on below it, but one
    that does not fall for so long is not converging.
    """

    def __init__(self, n: int, norm: float):
        self.patience, self.best, self.since = 2 * n + 50, norm, 0

    def __call__(self, norm: float) -> bool:
        """Whether it has come to this with the residual's next norm."""
        if norm < 0.5 * self.best:
            self.best, self.since = norm, 0
        else:
            self.since += 1
        return self.since >= self.patience


def slow_progress(values: Sequence[float], tolerance: float) -> bool:
    """Martens' (2010, section 4.4) test on the quadratic's values at the iterates, from x_0 on.

    At iteration i: q(x_i) < 0, and over the last k = max(10, i / 10) iterations q fell by less than
    k * tolerance, relative to q(x_i).
    """
    i = len(values) - 1
    k, now = max(10, i // 10), values[-1]
    return i > k and now < 0 and (now - values[i - k]) / now < k * tolerance
