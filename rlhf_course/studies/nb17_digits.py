"""Notebook 09's digits once more, for the claims on speed: four methods, each tuned alike."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import Any

import torch

from . import Study, least
from .nb09_grid import digits

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
# torch's own learning rates, for the comparison of tuned with untuned.
DEFAULTS = {"Adam": 1e-3, "gradient descent": 1e-3}


def runs():
    for method, values in GRID.items():
        for value, seed in itertools.product(values, TUNING_SEEDS):
            yield {"method": method, "value": value, "seed": seed}


def choose(tried: list[dict[str, Any]]) -> dict[str, float]:
    """The value of least mean objective at the end of the budget for each method."""
    return least(tried, itemgetter("method"), lambda run: run["result"]["objective"][-1])


def judge(chosen: dict[str, float]):
    for method, value in [*chosen.items(), *DEFAULTS.items()]:
        for seed in SEEDS:
            yield {"method": method, "value": value, "seed": seed}


def curve(method: str, value: float, seed: int, budget: float = BUDGET) -> list:
    """Records of one run until the budget of gradients is spent; the objective is train_loss."""
    data = digits()
    if method == "RLHF":
        return list(data.rlhf(seed, budget=budget, damping=value, **RLHF))
    if method == "gradient descent":
        return data.first_order(
            lambda params: torch.optim.SGD(params, lr=value), seed, size=1000, budget=budget
        )
    make = {
        "SGD": lambda params: torch.optim.SGD(params, lr=value, momentum=0.9),
        "Adam": lambda params: torch.optim.Adam(params, lr=value),
    }[method]
    return data.first_order(make, seed, budget=budget)


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


STUDY = Study(
    about=f"Digits, network 64-32-10, {BUDGET} gradients: four tuned methods, five fresh seeds.",
    runs=runs,
    run=run,
    choose=choose,
    judge=judge,
    small={"method": "RLHF", "value": 1.0, "seed": TUNING_SEEDS[0]},
)
