"""Penalties that are sums over single weights: value, subgradient, curvature and prox of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..arguments import real
from .base import Regularizer


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


@dataclass(frozen=True, eq=False, kw_only=True)
class ElasticNet(Regularizer):
    """r(d) = a |d| + (1 - a) d^2 / 2 with a = ``l1_ratio`` (Zou and Hastie, 2005; scikit-learn)."""

    l1_ratio: float = 0.5

    smooth = False

    def __post_init__(self):
        if not 0 <= real("l1_ratio", self.l1_ratio) <= 1:
            raise ValueError(f"expected 0 <= l1_ratio <= 1, got {self.l1_ratio}")
        super().__post_init__()

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


@dataclass(frozen=True, eq=False, kw_only=True)
class PseudoHuber(Regularizer):
    """r(d) = sqrt(d^2 + delta^2) - delta: |d| with its kink rounded off, to be taught beside L1.

    Smooth, so every method takes it, but nothing becomes exactly zero. It lies below |d|, by less
    than delta in every entry: 0 <= |d| - r(d) < delta. Its curvature is at most 1 / delta, at
    d = 0: the closer it is to |d|, the worse conditioned (Charbonnier et al., 1997).
    """

    delta: float = 0.01

    def __post_init__(self):
        if not 0 < real("delta", self.delta) < math.inf:
            raise ValueError(f"expected a finite delta > 0, got {self.delta}")
        super().__post_init__()

    def _root(self, d):
        return torch.hypot(d, torch.full_like(d, self.delta))

    def _value(self, d):
        return d * (d / (self._root(d) + self.delta))  # the difference itself cancels near 0

    def _derivative(self, d):
        return d / self._root(d)

    def _second_derivative(self, d):
        root = self._root(d)
        return (self.delta / root) ** 2 / root

    def _prox(self, d, t):
        # z + t z / root(z) = |d| has no closed form; its left side is concave for z > 0, so that
        # Newton's method from a point below the root rises to it.
        t = torch.as_tensor(t, dtype=d.dtype, device=d.device)
        x = d.abs()
        z = torch.maximum(x - t, x / (1 + t / self.delta)).clamp(min=0)
        for _ in range(60):
            residual = x - z - t * self._derivative(z)
            new = torch.maximum(z, z + residual / (1 + t * self._second_derivative(z)))
            if torch.equal(new, z):
                break
            z = new
        return d.sign() * z


class L2SP(L2):
    """L2 towards the starting point: r(theta - theta_0) (Xuhong Li et al., 2018)."""

    from_start = True


class L1SP(L1):
    """L1 towards the starting point: weights that the data does not need stay pre-trained."""

    from_start = True
