"""Where a quadratic model in the plane has the value that it has at its own point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FAR = 30.0  # what is farther out is not drawn


def through_the_point(
    theta: Tensor, gradient: Tensor, curvature: Tensor, points: int = 121
) -> tuple[list[float], list[float]]:
    """The (xs, ys) with g'd + d'Ad / 2 = 0 for d = (x, y) - theta: an ellipse through theta around
    the model's lowest point where A is positive definite, a hyperbola where it is not.

    `theta` and `gradient` have shape (2,), `curvature` (2, 2). Nothing where A is singular.
    """
    h, Q = torch.linalg.eigh(curvature)
    if float(h.abs().min()) < 1e-9 * float(h.abs().max()) or float(gradient.norm()) < 1e-9:
        return [], []
    middle = theta - Q @ ((Q.T @ gradient) / h)
    size = float((theta - middle) @ curvature @ (theta - middle))
    if h[0] * h[1] > 0:
        around = torch.linspace(0, 2 * math.pi, points, dtype=theta.dtype)
        branches = [(size / h).sqrt()[:, None] * torch.stack([around.cos(), around.sin()])]
    else:  # two branches: along the axis whose eigenvalue has the sign of `size`
        across = torch.linspace(-6, 6, points, dtype=theta.dtype)
        on = int(h[1] * size > 0)
        out = ((size - h[1 - on] * across**2) / h[on]).sqrt()
        both = [(out, across), (-out, across)]
        branches = [torch.stack(pair if on == 0 else pair[::-1]) for pair in both]
    xs: list[float] = []
    ys: list[float] = []
    for branch in branches:
        line = middle[:, None] + Q @ branch
        line = torch.where((line.abs() < FAR).all(0), line, torch.nan)
        gap = [math.nan] * (len(branches) > 1)
        xs, ys = [*xs, *line[0].tolist(), *gap], [*ys, *line[1].tolist(), *gap]
    return xs, ys
