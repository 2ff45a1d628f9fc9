"""Bounds on single weights, as a penalty that is zero inside of them and infinite outside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arguments import numbers, vector
from .base import Regularizer, _fit, steps


@dataclass(frozen=True, eq=False, kw_only=True)
class Box(Regularizer):
    """R(theta) = 0 where lower <= theta <= upper in every entry, else infinity.

    Its prox is the projection (Parikh and Boyd, 2014, section 1.2), so every method that takes
    proximal steps keeps to the bounds, from a start between them. Any lambda above 0 means the same
    bounds; an entry whose lambda or ``weight`` is 0 has none, and so, by default, have biases.

    Args:
        lower, upper: numbers or tensors of shape (n,), infinite for no bound.
        params, weight, include_all: as for every regularizer. A center has no meaning here.

    >>> Box(lower=-1.0, upper=2.0).prox(torch.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  2.0000])
    """

    lower: float | Tensor = -math.inf
    upper: float | Tensor = math.inf

    smooth = False
    separable = False  # its bounds are not the faces of an orthant
    entrywise = True

    def __post_init__(self):
        numbers("lower", self.lower, finite=False)
        numbers("upper", self.upper, finite=False)
        low, high = torch.as_tensor(self.lower), torch.as_tensor(self.upper)
        if not bool((low <= high).all()):
            raise ValueError(f"expected lower <= upper, got {self.lower} and {self.upper}")
        if self.center is not None:
            raise ValueError(
                f"expected no center for {type(self).__name__}, got one: add it to lower and upper"
            )
        super().__post_init__()

    def _bounds(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """lower and upper by entry, infinite where the entry's weight is 0."""
        free = self._w(d) == 0
        return (
            torch.where(free, -math.inf, _fit(self.lower, d)),
            torch.where(free, math.inf, _fit(self.upper, d)),
        )

    def value(self, theta: Tensor | None = None) -> Tensor:
        """0, or infinity where an entry is outside by more than rounding."""
        d = self._offset(theta)
        low, high = self._bounds(d)
        rounding = 4 * torch.finfo(d.dtype).eps * d.abs()
        outside = bool(((d < low - rounding) | (d > high + rounding)).any())
        return d.new_full((), math.inf if outside else 0.0)

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        return torch.zeros_like(self._offset(theta))

    def subgradient(self, task_gradient: Tensor, theta: Tensor | None = None) -> Tensor:
        """The task gradient, less what points out of the box at a bound.

        Raises ValueError where theta is outside.
        """
        d = self._offset(theta)
        vector("task_gradient", task_gradient, d.numel())
        if not math.isfinite(float(self.value(theta))):
            entry = int((d - self._box(d)).abs().argmax())
            raise ValueError(
                f"expected theta between the bounds of {type(self).__name__}, got "
                f"{float(d[entry]):g} in entry {entry}: start between them, for instance with "
                "p.clamp_(lower, upper) for each parameter p under torch.no_grad()"
            )
        low, high = self._bounds(d)
        inwards = torch.where(d <= low, task_gradient.clamp(max=0), task_gradient)
        return torch.where(d >= high, inwards.clamp(min=0), inwards)

    def curvature(self, theta: Tensor | None = None) -> Tensor:
        return torch.zeros_like(self._offset(theta))

    def prox(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """The nearest point between the bounds, whatever the step."""
        d = self._offset(x)
        steps(step, d)
        return self._box(d)

    def _box(self, d: Tensor) -> Tensor:
        return torch.clamp(d, *self._bounds(d))

    def at_kink(self, theta: Tensor) -> Tensor:
        d = self._offset(theta)
        low, high = self._bounds(d)
        return (d <= low) | (d >= high)

    def crossed(self, start: Tensor, end: Tensor) -> Tensor:
        d = self._offset(end)
        low, high = self._bounds(d)
        return (d < low) | (d > high)

    def landed(self, start: Tensor, end: Tensor) -> Tensor:
        return self.prox(end)


@dataclass(frozen=True, eq=False, kw_only=True)
class NonNegative(Box):
    """R(theta) = 0 where theta >= 0 in every entry, else infinity: see :class:`Box`."""

    lower: float | Tensor = 0.0
