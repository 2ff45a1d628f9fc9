"""One run of one method on one problem of notebook 16's map, until its budgets are spent.

A budget is a number of gradients (of all samples; RLHF counts as it always does, L-BFGS counts
evaluations) and a number of CPU seconds. What is measured on the way is not charged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.optimizer import RLHFOptimizer
from rlhf_lib.timing import Stopwatch

from .nb16_problems import Problem, Surface

GROWTH = 1.04  # a run is looked at when its cost or its seconds have grown by this factor
SLACK = 1.01  # what is this near behind a budget counts as within it
LBFGS_STEPS = 10  # iterations of L-BFGS between two looks


@dataclass(frozen=True)
class Budget:
    """gradients and CPU seconds; a run ends when both are spent. 0 leaves the other to decide."""

    gradients: float
    seconds: float


@dataclass(frozen=True)
class Look:
    """cost in gradients and CPU seconds, spent so far; what the problem is judged by; the step."""

    cost: float
    seconds: float
    error: float
    step: int


Spent = Callable[[], float]
Steps = Iterator[float]  # the cost so far, in gradients, after each step


def adam(problem: Problem, spent: Spent, rate: float, *, decay: bool = False) -> Steps:
    """Adam on mini-batches, where the problem has any; with decay its rate falls linearly to 0."""
    optimizer = torch.optim.Adam(problem.params, lr=rate)
    cost = 0.0
    for rows in batches(problem):
        if decay:
            optimizer.param_groups[0]["lr"] = rate * max(1 - spent(), 0)
        optimizer.zero_grad()
        (problem.closure(rows)[0] + problem.penalty()).backward()
        optimizer.step()
        cost += share(problem, rows)
        yield cost


def lbfgs(problem: Problem, spent: Spent, history: int = 50) -> Steps:
    """L-BFGS with a strong Wolfe line search, on all samples."""
    optimizer = torch.optim.LBFGS(
        problem.params,
        max_iter=LBFGS_STEPS,
        history_size=history,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = problem.closure()[0] + problem.penalty()
        loss.backward()
        return loss

    while True:
        optimizer.step(closure)
        yield float(evaluations)


def adam_then_lbfgs(problem: Problem, spent: Spent, rate: float) -> Steps:
    """A quarter of the budget by Adam, the rest by L-BFGS: what is usual for such equations."""
    cost = 0.0
    for cost in adam(problem, spent, rate):
        yield cost
        if spent() >= 0.25:
            break
    for more in lbfgs(problem, spent):
        yield cost + more


def rlhf(problem: Problem, spent: Spent, *, curvature: float = 1.0, **settings: Any) -> Steps:
    """RLHFOptimizer: gradient from all samples, curvature from this share of them."""
    if problem.weight:
        settings |= {"lambda_reg": problem.weight, "regularizer": "l2"}
    optimizer = RLHFOptimizer(problem.params, **({"regularizer": None} | settings))
    draw = torch.Generator().manual_seed(0)
    everything = torch.arange(problem.samples)
    while True:
        part = None
        if curvature < 1:
            order = torch.randperm(problem.samples, generator=draw)
            part = [order[: round(curvature * problem.samples)]]
        optimizer.step(problem.closure, batches=[everything], curvature_batches=part)
        yield optimizer.record.cost / problem.samples


@cache
def warm_up() -> None:
    """What torch loads at the first use of each method must not count as its seconds."""
    for settings in ({}, {"solver": "dual"}):
        next(rlhf(Surface(0), lambda: 0.0, **settings))
    next(lbfgs(Surface(0), lambda: 0.0))
    next(adam(Surface(0), lambda: 0.0, 0.01))


def batches(problem: Problem) -> Iterator[Tensor | None]:
    """Shuffled mini-batches without end; None for all samples."""
    if problem.batch is None:
        while True:
            yield None
    draw = torch.Generator().manual_seed(0)
    while True:
        yield from torch.randperm(problem.samples, generator=draw).split(problem.batch)


def share(problem: Problem, rows: Tensor | None) -> float:
    """Of the samples in a batch."""
    return 1.0 if rows is None else len(rows) / problem.samples


def race(
    problem: Problem, method: Callable[[Problem, Spent], Steps], budget: Budget
) -> Iterator[Look]:
    """The looks of one run, the first before any step; ends where both budgets are spent.

    A run that raises FloatingPointError, or whose error is not finite, ends there.
    """
    watch, cost, step = Stopwatch(), 0.0, 0

    def spent() -> float:
        """The share of the budget, of that which lasts longer."""
        shares = [(cost, budget.gradients), (watch.seconds.cpu, budget.seconds)]
        return min((used / most for used, most in shares if most), default=1.0)

    with watch.left_out():
        yield Look(0.0, 0.0, problem.error(), 0)
    next_cost = next_seconds = 0.0
    steps = method(problem, spent)
    while True:
        try:
            cost = next(steps)
        except FloatingPointError:
            return
        step += 1
        seconds, ended = watch.seconds.cpu, spent() >= 1
        if ended or cost >= next_cost or seconds >= next_seconds:
            with watch.left_out():
                look = Look(cost, seconds, problem.error(), step)
                yield look
            next_cost, next_seconds = GROWTH * cost, GROWTH * seconds
            if ended or not math.isfinite(look.error):
                return


def within(looks: list[Look], budget: float, axis: str) -> Look:
    """The last look with at most this "cost" or these "seconds"."""
    return [look for look in looks if getattr(look, axis) <= SLACK * budget][-1]
