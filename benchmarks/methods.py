"""The optimizers that are compared, with what is tuned of each and over which grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rlhf_lib import RLHFOptimizer

LBFGS_ITERATIONS = 5


@dataclass(frozen=True)
class Method:
    """An optimizer and its one tuned number.

    Attributes:
        make: (named parameters, value) -> optimizer.
        tuned: name of the number. grid: {task: values}; one value alone is not tuned.
        whole: True steps on the whole training set, False on minibatches.
        all_curvature: products see the whole training set, not the task's curvature samples.
    """

    name: str
    make: Callable
    tuned: str
    grid: dict[str, tuple[float, ...]]
    whole: bool = True
    all_curvature: bool = False


def _plain(named) -> list:
    return [p for _, p in named]


def _rlhf(named, damping: float, **options) -> RLHFOptimizer:
    defaults = {"regularizer": None, "max_iter": 10, "rtol": 1e-2}
    return RLHFOptimizer(named, damping=damping, **(defaults | options))


DAMPING = {"digits": (1e-3, 0.01, 0.1, 1.0), "reviews": (0.1, 1.0, 10.0)}

METHODS = (
    Method("RLHF, CG", _rlhf, "initial damping", DAMPING),
    Method(
        "RLHF, sample space",
        lambda named, value: _rlhf(named, value, solver="dual"),
        "initial damping",
        DAMPING,
    ),
    Method(
        "RLHF, CG, L2-SP",
        lambda named, value: _rlhf(named, 1.0, regularizer="l2sp", lambda_reg=value),
        "lambda",
        {"digits": (1e-5, 1e-4, 1e-3, 1e-2), "reviews": (0.1, 0.3, 1.0)},
    ),
    # Its defaults, out of our own parts: Martens' damping rule, warm start and progress stop,
    # backtracking over CG's iterates, all samples in every product, no penalty.
    Method(
        "PyTorchHessianFree-style settings",
        lambda named, value: _rlhf(
            named,
            value,
            damping_rule="martens",
            warm_start=0.95,
            progress_tol=5e-4,
            rtol=0.0,
            max_iter=250,
            backtrack=True,
        ),
        "initial damping",
        DAMPING,
        all_curvature=True,
    ),
    Method(
        "L-BFGS, strong Wolfe",
        lambda named, value: torch.optim.LBFGS(
            _plain(named),
            lr=value,
            max_iter=LBFGS_ITERATIONS,
            history_size=10,
            line_search_fn="strong_wolfe",
        ),
        "lr",
        {"digits": (0.1, 0.3, 1.0, 3.0), "reviews": (0.1, 0.3, 1.0)},
    ),
    Method(
        "AdamW",
        lambda named, value: torch.optim.AdamW(_plain(named), lr=value, weight_decay=0.01),
        "lr",
        {"digits": (3e-3, 1e-2, 3e-2, 0.1), "reviews": (1e-5, 3e-5, 1e-4)},
        whole=False,
    ),
    Method(
        "SGD, momentum 0.9",
        lambda named, value: torch.optim.SGD(_plain(named), lr=value, momentum=0.9),
        "lr",
        {"digits": (0.03, 0.1, 0.3, 1.0), "reviews": (3e-3, 1e-2, 3e-2)},
        whole=False,
    ),
)
