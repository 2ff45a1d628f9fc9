"""A convex head on frozen features and no validation set: who chooses the penalty, or stops?"""

from __future__ import annotations

import itertools
import time
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_lib import text
from rlhf_lib.linearized import linearize
from rlhf_lib.select import select_lambda

from ..experiments.nb11_review_features import mean_features
from . import Study, data_file, short

DRAWS, AT_ONCE = 30, 5
# Texts; of six classes few alone, since time grows with texts times classes.
SIZES = {"reviews": (60, 120), "sst2": (60, 120), "trec": (60,)}
NOISES = (0.0, 0.2)
FILES = {  # training and held-out file of each data set that is not in the project
    "sst2": ("sst2_train.csv", "sst2_validation.csv"),
    "trec": ("trec_train.csv", "trec_test.csv"),
}
POOL = 1500  # training texts that are drawn from, where there are more
LAMBDAS = tuple(10 ** (k / 2) for k in range(-8, 3))  # 1e-4 to 10
FOLDS = 5
# The bias, too: of a class that a draw does not hold it would have no minimum.
OPTIONS: dict[str, Any] = {"regularizer": "l2", "include_all": True}
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
EPOCHS, BATCH = 60, 16
BY_NEWTON = {
    "leave-one-out": {"by": "loo", "rule": "min"},
    "evidence": {"by": "evidence", "rule": "min"},
    "5-fold": {"folds": FOLDS, "rule": "min"},
}
# What chooses the rate and the epoch of the last is a fifth that is held out of its training.
METHODS = (*BY_NEWTON, "one split", *(f"AdamW {rate:g}" for rate in RATES), "AdamW stopped")


def runs():
    cells = [(data, n) for data, sizes in SIZES.items() for n in sizes]
    for (data, n), noise in itertools.product(cells, NOISES):
        cell = {"data": data, "n": n, "noise": noise}
        for first in range(0, DRAWS, AT_ONCE):
            yield {"part": "losses", **cell, "seed": first}
        yield {"part": "seconds", **cell, "seed": 0}


@cache
def _features(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features and labels to draw from, and those of the test."""
    if data == "reviews":
        parts = text.load_dataset("course-reviews")
    else:
        parts = [text.load_dataset(data_file(name)) for name in FILES[data]]
    pool, test = parts
    if len(pool.texts) > POOL:
        pool = pool.subset(POOL, seed=0)
    return (
        mean_features(pool.texts),
        torch.tensor(pool.labels),
        mean_features(test.texts),
        torch.tensor(test.labels),
    )


def _draw(settings: dict[str, Any], seed: int) -> tuple[Tensor, Tensor]:
    """n rows of the pool, and their labels, of which a share is wrong."""
    X, y, _, _ = _features(settings["data"])
    n, classes = settings["n"], int(y.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(y), generator=generator)[:n]
    labels = y[rows].clone()
    wrong = torch.randperm(n, generator=generator)[: round(settings["noise"] * n)]
    moved = torch.randint(1, classes, (len(wrong),), generator=generator)
    labels[wrong] = (labels[wrong] + moved) % classes
    return X[rows], labels


def _newton(X: Tensor, y: Tensor, classes: int, method: str) -> tuple[nn.Linear, float | None]:
    """The head at the minimum for the λ that the method chooses, and that λ."""
    head = nn.Linear(X.shape[1], classes).double()
    for p in head.parameters():
        nn.init.zeros_(p)
    linear = linearize(head, (X, y))
    fit = linear.fold_fit(**OPTIONS)
    if method == "one split":
        part = len(y) - len(y) // FOLDS
        scores = fit(torch.arange(part), torch.arange(part, len(y)), LAMBDAS[::-1], 0)
        losses = [score["loss"] for score in scores]
        chosen = LAMBDAS[::-1][losses.index(min(losses))]
    else:
        chosen = select_lambda(fit, len(y), LAMBDAS, **BY_NEWTON[method]).chosen
    linear.assign(linear.minimum(chosen, **OPTIONS))
    return head, chosen


def _adamw(X: Tensor, y: Tensor, classes: int, rate: float, epochs: int, seed: int):
    """A head, yielded after each epoch."""
    head = nn.Linear(X.shape[1], classes).double()
    for p in head.parameters():
        nn.init.zeros_(p)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=generator).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(X[rows]), y[rows]).backward()
            optimizer.step()
        yield head


@torch.no_grad()
def _loss(head: nn.Linear, X: Tensor, y: Tensor) -> float:
    return float(nn.functional.cross_entropy(head(X), y))


def _fitted(X: Tensor, y: Tensor, classes: int, method: str, seed: int):
    """The head that a method ends with, and the λ that it chose, if it chose one."""
    if method in BY_NEWTON or method == "one split":
        return _newton(X, y, classes, method)
    if method != "AdamW stopped":
        *_, head = _adamw(X, y, classes, float(method.split()[1]), EPOCHS, seed)
        return head, None
    part, best = len(y) - len(y) // FOLDS, (float("inf"), {})
    for rate in RATES:
        for head in _adamw(X[:part], y[:part], classes, rate, EPOCHS, seed):
            found = _loss(head, X[part:], y[part:])
            if found < best[0]:
                best = found, {name: p.detach().clone() for name, p in head.named_parameters()}
    head.load_state_dict(best[1])
    return head, None


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """By method: the test losses of some draws, or the CPU seconds of one, features apart."""
    X_test, y_test = _features(settings["data"])[2:]
    classes = int(y_test.max()) + 1
    if settings["part"] == "seconds":
        X, y = _draw(settings, 0)
        seconds = {}
        for method in METHODS:
            took = []
            for _ in range(3):
                start = time.process_time()
                _fitted(X, y, classes, method, 0)
                took.append(time.process_time() - start)
            seconds[method] = min(took)
        return short(seconds)
    losses: dict[str, list[float]] = {method: [] for method in METHODS}
    lambdas: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(settings["seed"], settings["seed"] + AT_ONCE):
        X, y = _draw(settings, seed)
        for method in METHODS:
            head, chosen = _fitted(X, y, classes, method, seed)
            losses[method].append(float(f"{_loss(head, X_test, y_test):.4f}"))
            if chosen is not None:
                lambdas[method].append(float(f"{chosen:.1g}"))
    return {"losses": losses, "lambdas": {m: found for m, found in lambdas.items() if found}}


STUDY = Study(
    about=f"A linear head on frozen features, {DRAWS} draws of few texts with no validation set: "
    "a penalty chosen from the training texts alone, and AdamW.",
    runs=runs,
    run=run,
    small={"part": "losses", "data": "reviews", "n": 60, "noise": 0.0, "seed": 0},
    files=tuple(name for pair in FILES.values() for name in pair),
)
