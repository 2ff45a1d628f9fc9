"""Notebook 08's runs that went wrong: Levenberg-Marquardt with one mistake, and its log."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf_lib.step import Damping, reduction_ratio

FAULTS = ("kept", "turned", "mixed")


def logged(
    x: Tensor, y: Tensor, start: tuple[float, float], fault: str = "", steps: int = 12
) -> list[dict[str, float]]:
    """The log of a run with this fault ("": none): a row for each step.

    The network is a tanh(b x), its labels y are 0 and 1. A row has the loss before the step, at the
    trial point and after the decision, the promised decrease, μ and ρ.

    "kept": a rejected step is not put back. "turned": μ follows ρ the wrong way. "mixed": the loss
    before a step and the one at its trial point come from two halves of the samples.
    """
    halves = [slice(0, None, 2), slice(1, None, 2)] if fault == "mixed" else [slice(None)]
    theta = torch.tensor(start, dtype=x.dtype)
    rule, rows = Damping(1e-4, "nielsen"), []
    for k in range(steps):
        before, trial = halves[k % len(halves)], halves[(k + 1) % len(halves)]
        loss, g, G = _model(theta, x[before], y[before])
        d = torch.linalg.solve(G + rule.value * torch.eye(2, dtype=x.dtype), -g)
        new, *_ = _model(theta + d, x[trial], y[trial])
        promised = -float(g @ d + 0.5 * d @ G @ d)
        rho = reduction_ratio(loss - new, promised)
        moves = rho > 0 or fault == "kept"
        rows.append(
            {
                "loss": loss,
                "trial": new,
                "after": new if moves else loss,
                "promised": promised,
                "mu": rule.value,
                "rho": rho,
            }
        )
        theta = theta + d if moves else theta
        rule.update(1 - rho if fault == "turned" else rho)
    return rows


def _model(theta: Tensor, x: Tensor, y: Tensor) -> tuple[float, Tensor, Tensor]:
    """Loss, gradient and Gauss-Newton matrix."""
    a, b = theta
    h = torch.tanh(b * x)
    pi = torch.sigmoid(a * h)
    J = torch.stack([h, a * x * (1 - h**2)], 1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(a * h, y)
    return float(loss), J.T @ (pi - y) / len(x), J.T @ ((pi * (1 - pi))[:, None] * J) / len(x)
