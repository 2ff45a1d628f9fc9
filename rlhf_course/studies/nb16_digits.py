"""Notebook 09's digits once more, for the claims on speed: four methods, each tuned alike."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch

from ..experiments.nb09_digits import Digits
from . import Study

SEEDS = (10, 11, 12, 13, 14)
TUNING_SEEDS = (100, 101)
BUDGET = 60
GRID = {
    "gradient descent": (0.6, 1.0, 1.4, 2.0),
    "SGD": (0.1, 0.2, 0.4, 0.8),
    "Adam": (3e-3, 1e-2, 3e-2, 1e-1),
    "RLHF": (0.1, 0.3, 1.0, 3.0),
}
RLHF = {"curvature_size": 200, "max_iter": 5, "warm_start": 0.7}  # the best of notebook 09's grid
# Least mean objective at the end of the budget with the tuning seeds; `chosen` computes it.
CHOSEN = {"gradient descent": 1.4, "SGD": 0.4, "Adam": 0.01, "RLHF": 1.0}
# torch's own learning rates, for the comparison of tuned with untuned.
DEFAULTS = {"Adam": 1e-3, "gradient descent": 1e-3}


def runs():
    for method, values in GRID.items():
        for value, seed in itertools.product(values, TUNING_SEEDS):
            yield {"method": method, "value": value, "seed": seed}
    for method, value in [*CHOSEN.items(), *DEFAULTS.items()]:
        for seed in SEEDS:
            yield {"method": method, "value": value, "seed": seed}


@cache
def _digits() -> Digits:
    from sklearn.datasets import load_digits

    return Digits(*load_digits(return_X_y=True))


def curve(method: str, value: float, seed: int, budget: float = BUDGET) -> list:
    """Records of one run until the budget of gradients is spent; the objective is train_loss."""
    digits = _digits()
    if method == "RLHF":
        return list(digits.rlhf(seed, budget=budget, damping=value, **RLHF))
    if method == "gradient descent":
        return digits.first_order(
            lambda params: torch.optim.SGD(params, lr=value), seed, size=1000, budget=budget
        )
    make = {
        "SGD": lambda params: torch.optim.SGD(params, lr=value, momentum=0.9),
        "Adam": lambda params: torch.optim.Adam(params, lr=value),
    }[method]
    return digits.first_order(make, seed, budget=budget)


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Objective and validation against steps and gradients of the training set."""
    records = curve(settings["method"], settings["value"], settings["seed"])
    samples = 1000
    return {
        "step": [r.step for r in records],
        "cost": [round(r.cost / samples, 3) for r in records],
        "objective": [float(f"{r.train_loss:.5g}") for r in records],
        "val_loss": [float(f"{r.val_loss:.5g}") for r in records],
        "val_accuracy": [round(r.val_accuracy, 4) for r in records],
    }


def chosen(recorded: list[dict]) -> dict[str, float]:
    """The grid's value with the least mean objective at the end, by the tuning seeds alone."""
    best = {}
    for method, values in GRID.items():
        ends = {
            value: sum(
                r["result"]["objective"][-1]
                for r in recorded
                if r["settings"]["method"] == method
                and r["settings"]["value"] == value
                and r["settings"]["seed"] in TUNING_SEEDS
            )
            for value in values
        }
        best[method] = min(ends, key=ends.get)
    return best


STUDY = Study(
    about=f"Digits, network 64-32-10, {BUDGET} gradients: four tuned methods, five fresh seeds.",
    runs=runs,
    run=run,
    small={"method": "RLHF", "value": CHOSEN["RLHF"], "seed": SEEDS[0]},
)
