"""Penalties on the weights: value, (minimum-norm sub)gradient, curvature and prox.

A separable penalty is R(theta) = sum_i w_i r(theta_i - c_i): r is the formula, c the centre (zero,
or the pre-trained weights for the "SP" kinds of Xuhong Li et al., 2018) and w_i the weight of
coordinate i: lambda, or 0 for a coordinate that is left out (biases and LayerNorm, by default).
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

import torch
from torch import Tensor

from .flat import flatten

_NORM_NAMES = ("norm", "ln_")


def penalized(params: Iterable) -> list[bool]:
    """Which parameters a penalty acts on by default: weights, not biases nor normalizations.

    Args:
        params: tensors or (name, tensor) pairs. Tensors with fewer than two dimensions are biases
            or normalization weights and are left out, and so is anything whose name says norm. If
            that would leave out everything (a toy with one weight vector), everything is in.
    """
    named = [p if isinstance(p, tuple) else ("", p) for p in params]
    flags = [
        p.ndim >= 2 and not any(word in name.lower() for word in _NORM_NAMES) for name, p in named
    ]
    return flags if any(flags) else [True] * len(flags)


class Regularizer:
    """Base of all penalties; a subclass states the formula r in ``_value`` and its derivatives.

    Without parameters a regularizer acts on any flat vector, all entries alike (toys). With
    parameters it knows which entries to leave out, and its methods default to their current values.

    Args:
        params: tensors or (name, tensor) pairs, as ``model.named_parameters()`` gives.
        weight: lambda, one number for all.
        include_all: penalize biases and normalization weights, too.
        center: flat vector of shape (n,) that the penalty pulls to; default zero, or for the SP
            kinds the values of the parameters when they are bound.
    """

    smooth = True
    from_start = False

    def __init__(
        self,
        params: Iterable | None = None,
        *,
        weight: float = 1.0,
        include_all: bool = False,
        center: Tensor | None = None,
    ):
        self.include_all, self.center = include_all, center
        self.weight = self._common_weight = weight
        self._params: list[Tensor] | None = None
        if params is not None:
            self.bind(params)

    def bind(self, params: Iterable, weights: Iterable[float] | None = None) -> Regularizer:
        """Attach to parameters, with one lambda for each of them; returns self.

        Raises:
            ValueError: a negative or non-finite lambda.
        """
        params = list(params)
        tensors = [p[1] if isinstance(p, tuple) else p for p in params]
        weights = [self._common_weight] * len(tensors) if weights is None else list(weights)
        for w in weights:
            check_lambda(w)
        flags = [True] * len(tensors) if self.include_all else penalized(params)
        self._params = tensors
        self.weight = flatten(
            torch.full_like(p, w if flag else 0.0, requires_grad=False)
            for p, w, flag in zip(tensors, weights, flags, strict=True)
        )
        if self.from_start and self.center is None:
            self.center = flatten(p.detach() for p in tensors).clone()
        return self

    def _offset(self, theta: Tensor | None) -> Tensor:
        """theta - center for the given or the current parameters, shape (n,)."""
        if theta is None:
            if self._params is None:
                raise ValueError(
                    f"{type(self).__name__} is not bound to parameters: pass theta, or construct "
                    "it with model.named_parameters()"
                )
            theta = flatten(p.detach() for p in self._params)
        if self.from_start and self.center is None:
            raise ValueError(
                f"{type(self).__name__} needs the point it pulls to: pass center=theta0, or "
                "construct it with the model's parameters before training"
            )
        return theta if self.center is None else theta - self.center

    def _w(self, like: Tensor) -> Tensor:
        return torch.as_tensor(self.weight, dtype=like.dtype, device=like.device)

    def value(self, theta: Tensor | None = None) -> Tensor:
        """R(theta), a scalar."""
        d = self._offset(theta)
        return (self._w(d) * self._value(d)).sum()

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """Gradient of R, shape (n,); at a kink the minimum-norm subgradient, which is 0."""
        d = self._offset(theta)
        return self._w(d) * self._derivative(d)

    def subgradient(self, task_gradient: Tensor, theta: Tensor | None = None) -> Tensor:
        """Minimum-norm subgradient of task + R, shape (n,): zero exactly at a minimizer (KKT)."""
        d = self._offset(theta)
        total = task_gradient + self._w(d) * self._derivative(d)
        jump = self._w(d) * self._jump(d)
        return total - total.clamp(-jump, jump)

    def curvature(self, theta: Tensor | None = None) -> Tensor:
        """Diagonal of the Hessian of R where it exists, shape (n,); 0 for L1."""
        d = self._offset(theta)
        return self._w(d) * self._second_derivative(d)

    def curvature_product(self, v: Tensor, theta: Tensor | None = None) -> Tensor:
        """Hessian of R times v, shape (n,)."""
        return self.curvature(theta) * v

    def prox(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """argmin_z |z - x|^2 / 2 + step * R(z), shape (n,); ``step`` may be per coordinate."""
        d = self._offset(x)
        z = self._prox(d, step * self._w(d))
        return z if self.center is None else z + self.center

    def orthant(self, theta: Tensor, descent: Tensor) -> tuple[Tensor, Tensor]:
        """Signs (+1, -1, or 0 for no restriction) of theta - center in which R stays smooth.

        Args:
            theta: the point, shape (n,). descent: minus the minimum-norm subgradient there; it
            chooses the side for the entries that sit at the kink.

        Returns:
            signs and the mask of entries that sit at the kink and should stay, both (n,).
        """
        d = self._offset(theta)
        kinked = self._w(d) * self._jump(torch.zeros_like(d)) > 0
        signs = torch.where(d != 0, d.sign(), descent.sign()) * kinked
        return signs, kinked & (d == 0) & (descent == 0)

    def project(self, theta: Tensor, signs: Tensor) -> Tensor:
        """Put entries that left the orthant at the kink, exactly."""
        d = self._offset(theta)
        at_kink = torch.zeros_like(theta) if self.center is None else self.center
        return torch.where(d * signs < 0, at_kink, theta)

    def _value(self, d: Tensor) -> Tensor:
        raise NotImplementedError

    def _derivative(self, d: Tensor) -> Tensor:
        raise NotImplementedError

    def _second_derivative(self, d: Tensor) -> Tensor:
        return torch.zeros_like(d)

    def _jump(self, d: Tensor) -> Tensor:
        """Half the jump of r' at d: 1 at the kink of L1, 0 where r is smooth."""
        return torch.zeros_like(d)

    def _prox(self, d: Tensor, t: Tensor) -> Tensor:
        raise NotImplementedError


class L2(Regularizer):
    """r(d) = d^2 / 2: ridge, weight decay as a penalty."""

    def _value(self, d):
        return 0.5 * d * d

    def _derivative(self, d):
        return d

    def _second_derivative(self, d):
        return torch.ones_like(d)

    def _prox(self, d, t):
        return d / (1 + t)


class L1(Regularizer):
    """r(d) = |d|: the article's penalty. No curvature, and a kink at 0 (Tibshirani, 1996)."""

    smooth = False

    def _value(self, d):
        return d.abs()

    def _derivative(self, d):
        return d.sign()

    def _jump(self, d):
        return (d == 0).to(d.dtype)

    def _prox(self, d, t):
        return d.sign() * (d.abs() - t).clamp(min=0)


class ElasticNet(Regularizer):
    """r(d) = a |d| + (1 - a) d^2 / 2 with a = ``l1_ratio`` (Zou and Hastie, 2005; scikit-learn)."""

    smooth = False

    def __init__(self, params=None, *, l1_ratio: float = 0.5, **kwargs):
        if not 0 <= l1_ratio <= 1:
            raise ValueError(f"expected 0 <= l1_ratio <= 1, got {l1_ratio}")
        self.l1_ratio = l1_ratio
        super().__init__(params, **kwargs)

    def _value(self, d):
        return self.l1_ratio * d.abs() + (1 - self.l1_ratio) * 0.5 * d * d

    def _derivative(self, d):
        return self.l1_ratio * d.sign() + (1 - self.l1_ratio) * d

    def _second_derivative(self, d):
        return torch.full_like(d, 1 - self.l1_ratio)

    def _jump(self, d):
        return self.l1_ratio * (d == 0).to(d.dtype)

    def _prox(self, d, t):
        shrunk = d.sign() * (d.abs() - self.l1_ratio * t).clamp(min=0)
        return shrunk / (1 + (1 - self.l1_ratio) * t)


class L2SP(L2):
    """L2 towards the starting point: r(theta - theta_0) (Xuhong Li et al., 2018)."""

    from_start = True


class L1SP(L1):
    """L1 towards the starting point: weights that the data does not need stay pre-trained."""

    from_start = True


KINDS = {"l1": L1, "l2": L2, "elastic-net": ElasticNet, "l2sp": L2SP, "l1sp": L1SP}


def make_regularizer(kind: str | Regularizer | None) -> Regularizer | None:
    """A fresh regularizer by its name, or a copy of the given one, to be bound; None stays None."""
    if kind is None or isinstance(kind, Regularizer):
        return copy(kind)
    if isinstance(kind, str) and kind.lower().replace("-sp", "sp") in KINDS:
        return KINDS[kind.lower().replace("-sp", "sp")]()
    raise ValueError(f"expected a Regularizer, None or one of {sorted(KINDS)}, got {kind!r}")


def check_lambda(value: float) -> float:
    """A regularization weight, or a ValueError for a negative or non-finite one."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"expected a finite lambda_reg >= 0, got {value}")
    return value


def check_has_penalty(value: float, regularizer: str | Regularizer | None) -> None:
    """A ValueError for a positive regularization weight with nothing that it could weigh."""
    if check_lambda(value) > 0 and regularizer is None:
        raise ValueError(
            f"lambda_reg = {value} has no effect without a penalty: pass regularizer='l2' or "
            "another kind"
        )
