"""The model of the objective around a point, and what is proposed to minimize it.

    m(d) = f + g'd + d'(B + C) d / 2

with B the curvature of the task loss and C that of the penalty. For a penalty with kinks g is the
minimum-norm subgradient and d keeps to an orthant, in which the penalty is smooth; or the penalty
enters m as it is, and proximal steps minimize m.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..curvature.damped import Shifted
from ..curvature.exact import MatrixOperator
from ..curvature.operators import CurvatureOperator
from ..regularizers import Regularizer
from ..scaling import dot


class LocalModel:
    """m around theta, shape (n,).

    Args:
        task_gradient: gradient of the task loss, shape (n,).
        curvature: the operator B.
        proximal: leave the penalty's kinks to proximal steps, instead of keeping to an orthant.
        damping: mu, how much is added to the diagonal of what is solved.
        radius: of the trust region that d keeps to; None for no bound.

    Attributes:
        gradient: g, the (minimum-norm sub)gradient of the objective.
        shift: diagonal of C.
        free, signs: where the orthant lets d move, see ``Regularizer.orthant``; None without one.
    """

    def __init__(
        self,
        theta: Tensor,
        task_gradient: Tensor,
        curvature: CurvatureOperator | MatrixOperator,
        penalty: Regularizer,
        *,
        proximal: bool = False,
        damping: float = 0.0,
        radius: float | None = None,
    ):
        self.theta, self.task_gradient, self.curvature = theta, task_gradient, curvature
        self.penalty, self.proximal = penalty, proximal
        self.damping, self.radius = damping, radius
        self.gradient = penalty.subgradient(task_gradient, theta)
        self.shift: Tensor | float = 0.0 if proximal else penalty.curvature(theta)
        self.free = self.signs = None
        if not (penalty.smooth or proximal):
            self.signs, stay = penalty.orthant(theta, -self.gradient)
            self.free = ~stay

    def with_kinks(self) -> LocalModel:
        """The same model with the penalty as it is, for proximal steps."""
        return LocalModel(
            self.theta,
            self.task_gradient,
            self.curvature,
            self.penalty,
            proximal=True,
            damping=self.damping,
        )

    def system(self) -> Shifted:
        """B + C + mu I, on the coordinates that are free."""
        return Shifted(self.curvature, self.shift + self.damping, self.free)

    def matrix(self) -> Tensor:
        """B + C as a matrix, shape (n, n): n products, unless B is one already."""
        B = self.curvature.dense()
        return B + torch.eye(len(B), dtype=B.dtype, device=B.device) * self.shift

    def slope(self, point: Tensor) -> float:
        """First-order change of the objective on the way to point, for the line search."""
        if self.proximal:
            kinked = self.penalty.value(point) - self.penalty.value(self.theta)
            return dot(self.task_gradient, point - self.theta) + float(kinked)
        return dot(self.gradient, point - self.theta)

    def quadratic(self, d: Tensor) -> float:
        """d'(B + C) d, at the price of a product."""
        return dot(d, Shifted(self.curvature, self.shift).matvec(d))


@dataclass(frozen=True)
class Proposal:
    """A direction and what its solver has to say.

    Attributes:
        direction: d, shape (n,). quadratic: d'(B + C) d.
        reason: why the solver stopped. solver: which one it was, and on what grounds.
        cost: work beside the products with the curvature, in gradients of its task.
        point: theta + d with entries at the kink exactly, where d does not say it.
        decrement: first-order change of the objective over the full step where its solver knows it
            better than a difference of two values of R; t times it at the step length t (Lee, Sun
            and Saunders, 2014, section 2).
        products: with a matrix that stands for the curvature, beside those that it counts itself.
        earlier: what the iterates that were kept would have proposed, the first one first.
        residuals: 2-norms of the linear system's residual at the solver's iterates, as shares of
            the first one; empty for proximal steps.
        extra: what the record's ``extra`` should say.
        memory: what the direction wants to know at the next step, if this one comes to an end.
    """

    direction: Tensor = field(repr=False)
    reason: str
    quadratic: float
    solver: str
    cost: float = 0.0
    point: Tensor | None = field(default=None, repr=False)
    decrement: float | None = None
    products: int = 0
    earlier: tuple[Proposal, ...] = field(default=(), repr=False)
    residuals: tuple[float, ...] = field(default=(), repr=False)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)
    memory: dict[str, Any] = field(default_factory=dict, repr=False)


class Path:
    """The trial points theta + t d of a proposal, back in the orthant if there is one.

    Args:
        lengths: the step length that t = 1 stands for: a number, or of shape (n,).

    Attributes:
        predicted: m(0) - m at t = 1, what the model promises for the full step.
        cut: whether the orthant has cut the full step.
    """

    def __init__(self, model: LocalModel, proposal: Proposal, lengths: float | Tensor = 1.0):
        self._model, self.lengths = model, lengths
        whole = not isinstance(lengths, Tensor) and lengths == 1
        self._d = proposal.direction if whole else proposal.direction * lengths
        self._exact = proposal.point if whole else None
        self._last: tuple[float, Tensor] | None = None
        # Without kinks the path is straight, and so is the slope along it.
        straight = model.signs is None and not model.proximal
        self._slope = dot(model.gradient, self._d) if straight else None
        if whole and proposal.decrement is not None:
            self._slope = proposal.decrement
        scale = None if isinstance(lengths, Tensor) else lengths
        self.cut = model.signs is not None and not torch.equal(self(1.0), model.theta + self._d)
        if self.cut:
            scale = None
        quadratic = (
            model.quadratic(self(1.0) - model.theta)
            if scale is None
            else scale * scale * proposal.quadratic
        )
        self.predicted = -self.slope(1.0) - 0.5 * quadratic

    def __call__(self, t: float) -> Tensor:
        """The point at t, shape (n,)."""
        if t == 1 and self._exact is not None:
            return self._exact
        if self._last is None or self._last[0] != t:
            point = torch.add(self._model.theta, self._d, alpha=t)
            if self._model.signs is not None:
                point = self._model.penalty.project(point, self._model.signs)
            self._last = (t, point)
        return self._last[1]

    def slope(self, t: float) -> float:
        """First-order change of the objective from t = 0 to t."""
        return self._model.slope(self(t)) if self._slope is None else t * self._slope
