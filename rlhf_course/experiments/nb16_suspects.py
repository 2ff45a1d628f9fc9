"""Notebook 16's runs gone wrong: one equation, one optimizer, and a setting that is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.optimizer import RLHFOptimizer

from .nb16_pinn import Poisson1

STEPS = 40


def run(points: Tensor, batch: int | None = None, **settings: Any) -> Iterator[dict[str, float]]:
    """Forty steps on these points (n, 1), or on so many of them a step, drawn anew.

    Yields after each step the loss at the points that the step saw ("loss"), at 128 points all
    over the interval ("everywhere"), the relative error, ρ and μ.
    """
    problem, everywhere = Poisson1(0), Poisson1(0)
    everywhere.layers = problem.layers
    problem.points, problem.samples = points, len(points)
    optimizer = RLHFOptimizer(problem.params, regularizer=None, solver="dual", **settings)
    draw = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.arange(len(points))
        if batch is not None:
            rows = torch.randperm(len(points), generator=draw)[:batch]
        optimizer.step(problem.closure, batches=[rows])
        yield {
            "loss": problem.closure(rows)[0].item(),
            "everywhere": everywhere.closure()[0].item(),
            "error": problem.error(),
            "rho": optimizer.record.rho,
            "mu": optimizer.record.damping,
        }
