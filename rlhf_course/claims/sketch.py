"""The article's code itself: a Hessian for each matrix, and an L1 term without curvature."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import nn

from rlhf_lib.curvature import HessianOperator, exact_hessian
from rlhf_lib.objective import flatten

from ..verdicts.comparison import Comparison
from .claim import LIVE, Claim, Source

SEEDS = (0, 1, 2, 3, 4)
CLOSE = 0.1  # of the length of Newton's step


def curvature_of_l1(document) -> list[Comparison]:
    """Largest second derivative of sum |theta| at a random point, which the code needs above 0."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(20, generator=generator, dtype=torch.float64)
    largest = float(exact_hessian(lambda t: t.abs().sum(), theta).abs().max())
    benefit = largest if largest > 0 else -1.0
    return [
        Comparison(
            f"the largest second derivative of Σ|θ| is {largest:g}",
            (benefit,),
            "of needed",
            exact=True,
        )
    ]


def step_of_each_matrix(document) -> list[Comparison]:
    """How far (H_kk + mu I)^-1 g_k, matrix by matrix, is from Newton's damped step."""
    gains = tuple(math.log10(CLOSE / apart(seed)) for seed in SEEDS)
    return [
        Comparison(
            f"a step by one inverse for each matrix, within {CLOSE:.0%} of Newton's",
            gains,
            "decades",
        )
    ]


@cache
def apart(seed: int, damping: float = 1.0) -> float:
    """Relative distance of the two steps for a small network; moduli of eigenvalues in both."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (40,), generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = (nn.Linear(*size, dtype=torch.float64) for size in ((4, 5), (5, 3)))
        net = nn.Sequential(first, nn.Tanh(), last)
    params = list(net.parameters())
    operator = HessianOperator(lambda: nn.functional.cross_entropy(3 * net(inputs), labels), params)
    H, g = operator.dense(), operator.gradient

    def step(matrix, vector):
        eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
        return -vectors @ ((vectors.T @ vector) / (eigenvalues.abs() + damping))

    pieces, offset = [], 0
    for p in params:
        part = slice(offset, offset + p.numel())
        pieces.append(step(H[part, part], g[part]))
        offset += p.numel()
    newton = step(H, g)
    return float(torch.dist(flatten(pieces), newton) / newton.norm())


THE_CODE = Claim(
    name="the code sketch",
    words="The code takes Newton steps: it inverts the Hessian of each weight matrix and adds L1.",
    test="The penalty has curvature to add, and the step of each matrix is close to Newton's.",
    data=f"Σ|θ| at a random point; {len(SEEDS)} small random networks with a damping of 1",
    baselines="the exact Hessian of all weights together",
    tested_on="mathematics, and small random networks",
    shown_in=("06_l1_corners", "17_reading_the_article"),
    sources=(Source(LIVE, curvature_of_l1), Source(LIVE, step_of_each_matrix)),
    note="In the article the Hessian itself is left as an ellipsis.",
)
