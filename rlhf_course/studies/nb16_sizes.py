"""How large and how badly conditioned the problems of notebook 16's map are."""

from __future__ import annotations

from typing import Any

import torch

from rlhf_lib.curvature import GaussNewtonOperator, lanczos

from ..experiments.nb16_race import rlhf
from . import Study, short
from .nb16_map import PROBLEMS

STEPS = 10  # of RLHF by its defaults, after which the curvature is looked at
RANK = 20  # the largest eigenvalue is divided by this one, counted from the largest
PRODUCTS = 80


def runs():
    for problem in PROBLEMS:
        yield {"problem": problem, "seed": 0}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Sizes, and λ₁ / λ₂₀ of the Gauss-Newton matrix on a way down.

    A condition number in the strict sense is infinite wherever there are more parameters than
    rows, and near it in any case; what a solver meets is how far the eigenvalues spread.
    """
    problem = PROBLEMS[settings["problem"]](settings["seed"])
    steps = rlhf(problem, lambda: 0.0)
    for _ in range(STEPS):
        next(steps)
    G = GaussNewtonOperator(problem.closure, problem.params)
    generator = torch.Generator().manual_seed(0)
    values = lanczos(G, PRODUCTS, generator=generator).ritz_values.sort(descending=True).values
    outputs = problem.closure()[1]
    return {
        "parameters": G.shape[0],
        "samples": problem.samples,
        "outputs": outputs.shape[1],
        "spread": short(float(values[0] / values[RANK - 1])),
    }


STUDY = Study(
    about="Sizes and condition of the seven problems, by Lanczos' method.",
    runs=runs,
    run=run,
    small={"problem": "noisy", "seed": 0},
)
