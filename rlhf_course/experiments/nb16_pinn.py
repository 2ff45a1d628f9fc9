"""Networks that solve differential equations, with derivatives carried along in the forward pass.

A physics-informed network (Raissi, Perdikaris and Karniadakis, 2019) is trained until its residual
in the equation is small at fixed points. The residual needs derivatives of the network by its
*inputs*. Here these are carried through the layers together with the values, by the chain rule for
first and second derivatives, instead of differentiating backwards twice: that is cheaper, and
leaves to the optimizer nothing but matrix products whose per-sample rows the library knows.

The solutions are right at the boundary whatever the network is: u = g + b N, b zero there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .nb16_problems import Problem, linears


def jet(layers: Sequence[nn.Linear], x: Tensor, second: Sequence[int]) -> Tensor:
    """A tanh network of one output with its derivatives by the inputs, at points x (n, d).

    Returns shape (n, 1 + d + len(second)): the value, the d slopes, and the second derivatives by
    the inputs listed in ``second``.
    """
    n, d = x.shape
    h = x.new_zeros(n, 1 + d + len(second), d)
    h[:, 0], h[:, 1 : 1 + d] = x, torch.eye(d, dtype=x.dtype)
    for layer in layers[:-1]:
        z = F.linear(h, layer.weight)  # (n, channels, width)
        t = torch.tanh(z[:, :1] + layer.bias)
        slope, first = 1 - t.square(), z[:, 1 : 1 + d]
        bend = slope * z[:, 1 + d :] - 2 * t * slope * first[:, list(second)].square()
        h = torch.cat([t, slope * first, bend], dim=1)
    out = F.linear(h, layers[-1].weight)
    return torch.cat([out[:, :1] + layers[-1].bias, out[:, 1:]], dim=1).squeeze(-1)


class Pinn(Problem):
    """Half the mean square residual at fixed points; judged by the relative error of u.

    A subclass has ``points`` and ``check``, the points to train and to judge at, ``cut``, those of
    a line along which it can be drawn, and says what :meth:`residual` and :meth:`solution` are in
    terms of the network's jet, and what is :meth:`exact`.
    """

    unit = "decades"
    measure = "relative error of the solution"
    inputs = 1
    second: tuple[int, ...] = (0,)  # inputs by which the equation has second derivatives
    points: Tensor
    check: Tensor
    cut: Tensor

    def __init__(self, seed: int, width: int = 20):
        self.layers = linears([self.inputs, width, width, 1], seed)
        self.collect(self.layers)
        self.samples, self.truth = len(self.points), self.exact(self.check)

    def residual(self, x: Tensor, jet: Tensor) -> Tensor:
        """What the equation leaves, (n,), at points x (n, d)."""
        raise NotImplementedError

    def solution(self, x: Tensor, network: Tensor) -> Tensor:
        """u (n,) from the network's values (n,)."""
        raise NotImplementedError

    @classmethod
    def exact(cls, x: Tensor) -> Tensor:
        """The solution at points x (n, d), (n,)."""
        raise NotImplementedError

    def closure(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(half the mean square residual, residuals (n, 1))."""
        x = self.points if rows is None else self.points[rows]
        found = self.residual(x, jet(self.layers, x, self.second))[:, None]
        return found.square().mean() / 2, found

    @torch.no_grad()
    def values(self, x: Tensor) -> Tensor:
        """u at points x (n, d), shape (n,)."""
        return self.solution(x, jet(self.layers, x, ())[:, 0])

    @torch.no_grad()
    def error(self) -> float:
        """|u - truth| / |truth| at points in between."""
        return float((self.values(self.check) - self.truth).norm() / self.truth.norm())


def middles(n: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """n points, each in the middle of its part of the interval."""
    return low + (high - low) * (torch.arange(n, dtype=torch.float64) + 0.5) / n


def grid(*axes: Tensor) -> Tensor:
    """All combinations, (n, d)."""
    return torch.stack([a.reshape(-1) for a in torch.meshgrid(*axes, indexing="ij")], dim=1)


class Poisson1(Pinn):
    """-u'' = f on (0, 1), u(0) = u(1) = 0; u = sin πx + 0.3 sin 4πx."""

    title = "Poisson 1-D"
    points = middles(128)[:, None]
    check = torch.linspace(0, 1, 501, dtype=torch.float64)[:, None]
    cut = check[::5]

    @classmethod
    def exact(cls, x):
        """sin πx + 0.3 sin 4πx."""
        return torch.sin(math.pi * x[:, 0]) + 0.3 * torch.sin(4 * math.pi * x[:, 0])

    def residual(self, x, jet):
        """u'' + f."""
        x, (N, slope, bend) = x[:, 0], jet.unbind(1)
        u_xx = x * (1 - x) * bend + 2 * (1 - 2 * x) * slope - 2 * N
        low, high = torch.sin(math.pi * x), 4.8 * torch.sin(4 * math.pi * x)
        return u_xx + math.pi**2 * (low + high)

    def solution(self, x, network):
        """x (1 - x) N."""
        return x[:, 0] * (1 - x[:, 0]) * network


class Poisson2(Pinn):
    """-Δu = f on the unit square, u = 0 at its edge; u = sin πx sin πy + 0.3 sin 2πx sin 3πy."""

    title = "Poisson 2-D"
    inputs, second = 2, (0, 1)
    points = grid(middles(20), middles(20))
    check = grid(*[torch.linspace(0, 1, 41, dtype=torch.float64)] * 2)
    cut = grid(check[::41, 0], torch.tensor([0.25], dtype=torch.float64))

    @staticmethod
    def _waves(x: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sin(math.pi * x).prod(1)
        return s, 0.3 * torch.sin(2 * math.pi * x[:, 0]) * torch.sin(3 * math.pi * x[:, 1])

    @classmethod
    def exact(cls, x):
        """sin πx sin πy + 0.3 sin 2πx sin 3πy."""
        return sum(cls._waves(x))

    def residual(self, x, jet):
        """Δu + f."""
        N, N_x, N_y, N_xx, N_yy = jet.unbind(1)
        a, b = (t * (1 - t) for t in x.unbind(1))
        da, db = (1 - 2 * t for t in x.unbind(1))
        u_xx = b * (a * N_xx + 2 * da * N_x - 2 * N)
        u_yy = a * (b * N_yy + 2 * db * N_y - 2 * N)
        low, high = self._waves(x)
        return u_xx + u_yy + math.pi**2 * (2 * low + 13 * high)

    def solution(self, x, network):
        """x (1 - x) y (1 - y) N."""
        return (x * (1 - x)).prod(1) * network


class Burgers(Pinn):
    """u_t + u u_x = ν u_xx for x in (-1, 1), t in (0, 1); u(x, 0) = -sin πx, u(±1, t) = 0."""

    title = "Burgers"
    inputs = 2
    viscosity = 0.1 / math.pi
    points = grid(middles(28, -1, 1), middles(16))
    check = grid(
        torch.linspace(-1, 1, 81, dtype=torch.float64),
        torch.linspace(0.05, 1, 20, dtype=torch.float64),
    )
    cut = check[19::20]

    @classmethod
    def exact(cls, x):
        """By the formula of Cole and Hopf."""
        return burgers(x, cls.viscosity)

    def residual(self, x, jet):
        """u_t + u u_x - ν u_xx."""
        (x, t), (N, N_x, N_t, N_xx) = x.unbind(1), jet.unbind(1)
        b, wave = 1 - x.square(), math.pi * x
        u = t * b * N - torch.sin(wave)
        u_t = b * (N + t * N_t)
        u_x = t * (b * N_x - 2 * x * N) - math.pi * torch.cos(wave)
        u_xx = t * (b * N_xx - 4 * x * N_x - 2 * N) + math.pi**2 * torch.sin(wave)
        return u_t + u * u_x - self.viscosity * u_xx

    def solution(self, x, network):
        """-sin πx + t (1 - x²) N."""
        return x[:, 1] * (1 - x[:, 0].square()) * network - torch.sin(math.pi * x[:, 0])


def burgers(x: Tensor, viscosity: float) -> Tensor:
    """The solution at points (x, t), t > 0, by the formula of Cole and Hopf.

    Its two integrals by Gauss-Hermite quadrature, as Basdevant et al. (1986) did.
    """
    import numpy as np

    node, weight = (torch.tensor(v) for v in np.polynomial.hermite.hermgauss(80))
    y = math.pi * (x[:, :1] - (4 * viscosity * x[:, 1:]).sqrt() * node)  # (n, 80)
    heat = weight * torch.exp(-(torch.cos(y) + 1) / (2 * math.pi * viscosity))
    return -(heat * torch.sin(y)).sum(1) / heat.sum(1)
