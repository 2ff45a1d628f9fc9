"""λ by cross-validation, by one split, and none: logistic regression on few wrong-labelled rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.select import select_lambda

from ..experiments.nb11_logistic_path import logistic_path, logistic_scores
from . import Study

SEEDS = tuple(range(300))
ROWS, TRAINING, NOISE, FOLDS = 569, 60, 0.2, 5
LAMBDAS = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
NONE = 1e-4  # next to no penalty: at zero the loss of separable data has no minimum


def runs():
    for seed in SEEDS:
        yield {"seed": seed}


def rows(settings: dict[str, Any]) -> dict[str, list[int]]:
    """The rows to learn from, folds and split among them, and all others to test."""
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(settings["seed"])).tolist()
    return {"train": order[:TRAINING], "test": order[TRAINING:]}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Test loss at every λ, and the λ that cross-validation and a single split choose."""
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    generator = torch.Generator().manual_seed(settings["seed"])
    order = torch.randperm(ROWS, generator=generator)
    X, y = torch.as_tensor(inputs)[order], torch.as_tensor(labels)[order].double()
    wrong = torch.randperm(TRAINING, generator=generator)[: round(NOISE * TRAINING)]
    y[wrong] = 1 - y[wrong]  # training labels alone; those of the test stay right

    def fit(train: Tensor, validation: Tensor, lambdas, seed) -> Iterator[float]:
        # The scale belongs to what is learnt, so it comes from the training rows.
        mean, deviation = X[train].mean(0), X[train].std(0)
        Z = (X - mean) / deviation
        for w, b in logistic_path(Z[train], y[train], lambdas):
            yield logistic_scores(Z[validation], y[validation], w, b)["loss"]

    rows = torch.arange(len(X))
    mine, others = rows[:TRAINING], rows[TRAINING:]
    falling = sorted(LAMBDAS, reverse=True)
    test = dict(zip(falling, fit(mine, others, falling, 0), strict=True))
    found = select_lambda(fit, y[:TRAINING].long(), LAMBDAS, folds=FOLDS, rule="min")
    part = round(TRAINING * (1 - 1 / FOLDS))
    split = dict(zip(falling, fit(mine[:part], mine[part:], falling, 0), strict=True))
    return {
        "test_loss": {f"{value:g}": float(f"{loss:.5g}") for value, loss in test.items()},
        "cross-validation": found.chosen,
        "one split": min(split, key=split.get),
        "none": NONE,
        "hindsight": min(test, key=test.get),
    }


STUDY = Study(
    about=f"λ chosen in four ways, logistic regression on {TRAINING} rows of breast-cancer data.",
    runs=runs,
    run=run,
    rows=rows,
    small={"seed": 0},
)
