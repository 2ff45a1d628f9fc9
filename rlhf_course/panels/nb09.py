"""Notebook 09: the optimizer of this course in a race on digits, paid in gradients."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.panels import Panel, charts, figures, log_slider, slider
from rlhf_lib.panels.figure import Figure
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, number
from ..checks.nb09 import CLOSE
from ..experiments.nb09_digits import BUDGET, SAMPLES, WEIGHT, Digits

number(
    "09.steps",
    "With its 60 gradients Adam takes 600 steps. How many does RLHF take with the panel's first "
    "settings: curvature from all 1,000 images, at most 30 products a step?",
    truth=4,
    within=2,
    unit="steps",
    why="Its solves take 4, 5, 8 and 15 products of 4/3 gradients each; a fifth step does not fit.",
)
choice(
    "09.lowest",
    "All four methods spend 60 gradients. Whose objective is the lowest in the end?",
    ["SGD's", "Adam's", "that of L-BFGS", "RLHF's"],
    truth=2,
    why="It takes its gradients from all images, so no noise keeps it from settling, and its "
    "curvature costs nothing.",
)
choice(
    "09.work",
    "Where does a step of RLHF with these first settings spend most of its work?",
    ["in the gradient", "in the products of CG", "in the trial points"],
    truth=1,
    why="Of the 48 gradients of its four steps, the 32 products take 43.",
)

Run = Callable[[int], Sequence[Record]]


def gradients(record: Record) -> float:
    """What a run has cost so far, in gradients of the training set."""
    return record.cost / SAMPLES


def at(records: Sequence[Record], budget: float) -> Record:
    """The last record within this many gradients."""
    return [r for r in records if gradients(r) <= budget + 1e-9][-1]


def end(records: Iterable[Record]) -> float:
    """The objective at the end of a run."""
    return list(records)[-1].train_loss


def reach(records: Sequence[Record], target: float) -> Record:
    """The first record with an objective of at most `target`."""
    return next(r for r in records if r.train_loss <= target)


def tune(candidates: Mapping[str, Run], seeds: Sequence[int]) -> dict[str, float]:
    """The objective at the end of the budget for each setting, mean over the seeds."""
    return {name: statistics.fmean(end(run(s)) for s in seeds) for name, run in candidates.items()}


@dataclass(frozen=True)
class Seeds:
    """Means over seeds with the least and the largest value."""

    mean: list[float]
    low: list[float]
    high: list[float]


def against_cost(
    runs: Sequence[Sequence[Record]], budgets: Sequence[float], what: str = "train_loss"
) -> Seeds:
    """`what` of the last record within each budget."""
    rows = [[getattr(at(records, b), what) for records in runs] for b in budgets]
    return Seeds(*([f(row) for row in rows] for f in (statistics.fmean, min, max)))


def step_by_step(runs: Sequence[Sequence[Record]], steps: int) -> tuple[list[int], list[float]]:
    """(steps, means of the objective over the seeds), the first `steps` of them."""
    rows = [row for row in zip(*runs, strict=False) if row[0].step <= steps]
    return [row[0].step for row in rows], [
        statistics.fmean(r.train_loss for r in row) for row in rows
    ]


def budget(
    train_it: Callable[..., Iterator[Record]], runs: Mapping[str, Sequence[Sequence[Record]]]
) -> Panel:
    """`train_it(lambda_reg, damping, max_iter, batch)` yields the records of one run of RLHF;
    `runs` has the seeds of Adam and L-BFGS, which are drawn for comparison."""
    adam = statistics.fmean(map(end, runs["Adam"]))
    spent = list(range(BUDGET + 1))

    def generate(lambda_reg, damping, max_iter, batch):
        for record in train_it(lambda_reg, damping, max_iter, round(batch)):
            yield record.with_(extra=record.extra | {"adam": adam})

    def others(what: str) -> dict:
        return {
            name: (spent, against_cost(runs[name], spent, what).mean) for name in ("Adam", "L-BFGS")
        }

    money = {"x_title": "cost in gradient-equivalents", "x_range": [0, BUDGET], "y_log": True}
    return Panel(
        generate,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-5, high=0.1, value=WEIGHT, zero=True),
            log_slider("damping", "μ at the start", low=1e-3, high=10, value=1),
            slider("max_iter", "CG cap", low=1, high=40, step=1, value=30),
            log_slider("batch", "curvature batch", low=20, high=SAMPLES, value=SAMPLES),
        ],
        figures=[
            figures.Curves(
                {"RLHF": "train_loss"},
                reference={"Adam": step_by_step(runs["Adam"], BUDGET)},
                title="Objective, step by step",
                x_title="step",
                y_title="objective (nats)",
                x_range=[0, BUDGET],
                y_range=[0.1, 3],
                y_log=True,
            ),
            figures.Curves(
                {"RLHF": "train_loss"},
                x=gradients,
                reference=others("train_loss"),
                title="The same objective against cost",
                y_title="objective (nats)",
                y_range=[0.1, 3],
                goal={"y": CLOSE * adam},
                **money,
            ),
            figures.Curves(
                {"RLHF": "val_loss"},
                x=gradients,
                reference=others("val_loss"),
                marker_at_min="RLHF",
                title="Validation loss against cost",
                y_title="cross-entropy (nats)",
                y_range=[0.1, 3],
                **money,
            ),
        ],
        readout=_read,
        title="RLHF on handwritten digits, 60 gradient-equivalents",
        goal="with λ = 0.001, end within 5 % of the tuned Adam's objective",
        reached=reached("09.close_to_adam"),
    )


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    last = records[-1]
    gap = last.train_loss / last.extra["adam"] - 1
    return (
        f"Step {last.step}, {gradients(last):.0f} gradients, {sum(r.products for r in records)} "
        f"products: objective {last.train_loss:.3f}, {abs(gap):.0%} "
        f"{'above' if gap > 0 else 'below'} where the tuned Adam ends; validation loss "
        f"{last.val_loss:.3f}, accuracy {last.val_accuracy:.3f}; damping μ is "
        f"{last.damping or values['damping']:.2g}."
    )


def race(runs: Mapping[str, Sequence[Sequence[Record]]], target: float) -> Figure:
    """The objective against cost, mean and spread over the seeds."""
    spent = list(range(1, BUDGET + 1))
    curves = {name: against_cost(five, spent) for name, five in runs.items()}
    return charts.chart(
        {name: (spent, curve.mean) for name, curve in curves.items()},
        bands={name: (curve.low, curve.high) for name, curve in curves.items()},
        title="Objective against cost, five seeds each",
        x_title="cost in gradient-equivalents",
        y_title="objective (nats)",
        x_range=[0, BUDGET],
        y_range=[0.11, 2.5],
        y_log=True,
        lines={f"target {target}": target},
        height=360,
        readout="Adam is ahead for the first 40 gradients; in the end four curves lie between "
        "0.12 and 0.14, and L-BFGS is the lowest.",
    )


def search(grid: Mapping[str, Any]) -> list[tuple[dict, list[float]]]:
    """(settings, objectives of the seeds) of a recorded search, the best mean first."""
    found = [(run["settings"], run["result"]["objective"]) for run in grid["runs"]]
    return sorted(found, key=lambda run: statistics.fmean(run[1]))


def best_of(ranking: Sequence[tuple[dict, list[float]]], adam: float) -> Figure:
    """For each curvature batch and cap: how far the best damping and warm start end from Adam."""
    sizes = sorted({settings["curvature_size"] for settings, _ in ranking})
    caps = sorted({settings["max_iter"] for settings, _ in ranking})
    least = {}
    for settings, objectives in reversed(ranking):  # the best one comes last
        least[settings["curvature_size"], settings["max_iter"]] = statistics.fmean(objectives)
    return charts.cells(
        caps,
        [f"{size:,}" for size in sizes],
        [[100 * (least[size, cap] / adam - 1) for cap in caps] for size in sizes],
        log=True,
        unit="% above Adam",
        title="Objective at the end, in % above Adam's",
        x_title="cap: products a step",
        y_title="curvature batch",
        height=270,
        readout="The least lies at 5 products from 200 images; with all 1,000 images no setting "
        "comes near.",
    )


def ends(rows: Mapping[str, Sequence[float]], **axes: Any) -> Figure:
    """Mean, least and largest value of each row, the mean of Adam's drawn across."""
    adam = statistics.fmean(rows["Adam"])
    return charts.ranking(
        {name: (statistics.fmean(v), min(v), max(v)) for name, v in rows.items()},
        lines={"Adam's mean": adam},
        marked=["Adam"],
        **axes,
    )


def stream(digits: Digits, seed: int, size: int = 50) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield digits.draw(size, generator)


def ratios(suspects: Mapping[str, Sequence[Record]]) -> Figure:
    """ρ of each step for each of some runs."""
    return charts.chart(
        {name: ([r.step for r in rs], [r.rho for r in rs]) for name, rs in suspects.items()},
        kind="lines+markers",
        title="ρ at each of 25 steps",
        x_title="step",
        y_title="ρ",
        x_range=[0.5, 25.5],
        y_range=[-9, 9],
        lines={"1: as promised": 1},
        readout="Two of the three stay near 1 or below it; the third leaves the picture.",
    )
