"""Task loss against cost, end to end: equal budgets in gradients, tuned on seeds of their own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable

import torch

from rlhf_lib import train
from rlhf_lib.timing import Stopwatch

from .machine import about
from .measure import failure
from .methods import METHODS, Method
from .tasks import TASKS, Minibatches, Task

SEEDS, TUNING_SEEDS = (10, 11, 12, 13, 14), (100, 101)
MICRO_BATCH = 256
FIELDS = ("cost", "seconds", "cpu", "train_loss", "val_loss", "val_accuracy")


def run_once(task: Task, method: Method, value: float, seed: int) -> list[dict]:
    """One run from the task's start until its budget is spent: the points of its curve.

    A point has the fields FIELDS, cost in gradients of the whole training set. The last one may
    lie beyond the budget, for curves; summaries read only those `within` it. A loss that is no
    longer finite ends the run.
    """
    optimizer = method.make(task.named, value)
    options = {}
    if method.whole:
        parts = [list(Minibatches(task.training, MICRO_BATCH, seed))]
        every = 1
        few = task.curvature_samples < task.samples and not method.all_curvature
        if few and not isinstance(optimizer, torch.optim.LBFGS):
            generator = torch.Generator().manual_seed(seed)
            options["curvature_batches"] = lambda step: [
                task.draw(task.curvature_samples, generator)
            ]
    else:
        parts = Minibatches(task.training, task.batch_size, seed)
        every = len(parts)
    watch = Stopwatch()

    def evaluate() -> dict[str, float]:
        with watch.left_out():  # the seconds are the optimizer's alone
            return task.evaluate()

    points: list[dict] = []
    records = train(
        task.loss_fn,
        optimizer,
        parts,
        epochs=10**9,
        evaluate=evaluate,
        evaluate_every=every,
        **options,
    )
    try:
        for record in records:
            cost = record.cost / task.samples
            if record.train_loss is None:
                continue
            if not math.isfinite(record.train_loss):
                break
            point = {
                "cost": cost,
                "seconds": record.seconds,
                "cpu": watch.seconds.cpu if points else 0.0,
                "train_loss": record.train_loss,
                "val_loss": record.val_loss,
                "val_accuracy": record.val_accuracy,
            }
            points.append({key: float(f"{point[key]:.6g}") for key in FIELDS})
            if cost >= task.budget or stuck(points):
                break
    except FloatingPointError:
        pass  # the points so far stand
    return points


def stuck(points: list[dict]) -> bool:
    """Whether the method has come to rest: L-BFGS goes on at one evaluation a step for ever."""
    return len(points) > 10 and len({point["train_loss"] for point in points[-10:]}) == 1


def within(points: list[dict], budget: float) -> list[dict]:
    """The points that the budget pays for; the start always is."""
    return [point for point in points if point["cost"] <= budget * (1 + 1e-9)]


def score(points: list[dict]) -> float:
    """What is tuned for: the least validation loss of a run."""
    return min(point["val_loss"] for point in points)


def tune(
    make_task: Callable[[int], Task], method: Method, grid: tuple[float, ...], seeds: Iterable[int]
) -> dict:
    """The grid's value with the least mean score, and what finding it cost in gradients."""
    seeds, scores, cost = tuple(seeds), {}, 0.0
    for value in grid:
        runs, budget = [], 0.0
        for seed in seeds:
            task = make_task(seed)
            runs.append(run_once(task, method, value, seed))
            budget = task.budget
        scores[value] = statistics.mean(score(within(points, budget)) for points in runs)
        cost += sum(points[-1]["cost"] for points in runs)
    best = min(scores, key=scores.get)
    return {
        "what": method.tuned,
        "value": best,
        "scores": [[v, round(s, 5)] for v, s in scores.items()],
        "at_edge": best in (grid[0], grid[-1]),
        "cost": round(cost, 1),
    }


def spread(runs: list[list[dict]], pick: Callable[[list[dict]], float]) -> dict[str, float]:
    """Median, least and most of a number over the seeds."""
    values = [pick(points) for points in runs]
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def run_method(
    make_task: Callable[[int], Task],
    method: Method,
    grid: tuple[float, ...],
    seeds: Iterable[int],
    tuning_seeds: Iterable[int],
) -> dict:
    """Tuning, the runs of all seeds and their summary; or the reason why there are none."""
    try:
        tuning = tune(make_task, method, grid, tuning_seeds)
        runs, paid = [], []
        for seed in seeds:
            task = make_task(seed)
            runs.append(run_once(task, method, tuning["value"], seed))
            paid.append(within(runs[-1], task.budget))
    except Exception as error:  # a method may fail in any way; the others go on
        return {"method": method.name, "error": failure(error)}
    return {
        "method": method.name,
        "error": None,
        "tuning": tuning,
        "final_train_loss": spread(paid, lambda points: points[-1]["train_loss"]),
        "least_val_loss": spread(paid, lambda points: min(p["val_loss"] for p in points)),
        "final_val_loss": spread(paid, lambda points: points[-1]["val_loss"]),
        "final_val_accuracy": spread(paid, lambda points: points[-1]["val_accuracy"]),
        "seconds": spread(paid, lambda points: points[-1]["seconds"]),
        "cpu": spread(paid, lambda points: points[-1]["cpu"]),
        "cost": spread(paid, lambda points: points[-1]["cost"]),
        "runs": [{key: [p[key] for p in points] for key in FIELDS} for points in runs],
    }


def run(
    *, fast: bool = False, methods: Iterable[Method] = METHODS, say: Callable[[str], None] = print
) -> dict:
    """Every method on every task, at one thread."""
    seeds, tuning_seeds = (SEEDS[:2], TUNING_SEEDS[:1]) if fast else (SEEDS, TUNING_SEEDS)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    tasks = []
    try:
        for name, make in TASKS.items():
            first = make(0, fast=fast)
            done = []
            for method in methods:
                say(f"  {name}, {method.name}")
                grid = method.grid[name][1:3] if fast else method.grid[name]
                done.append(
                    run_method(
                        lambda seed, make=make: make(seed, fast=fast),
                        method,
                        grid,
                        seeds,
                        tuning_seeds,
                    )
                )
            tasks.append(
                {
                    "name": name,
                    "title": first.title,
                    "parameters": first.parameters,
                    "samples": first.samples,
                    "budget": first.budget,
                    "batch_size": first.batch_size,
                    "curvature_samples": first.curvature_samples,
                    "methods": done,
                }
            )
    finally:
        torch.set_num_threads(before)
    return {
        **about("cpu"),
        "fast": fast,
        "threads": 1,
        "seeds": list(seeds),
        "tuning_seeds": list(tuning_seeds),
        "tasks": tasks,
    }
