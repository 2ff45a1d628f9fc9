"""Notebook 16's map: where second order wins. Seven small problems, each against tuned methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..experiments import nb16_race as race
from ..experiments.nb16_pinn import Burgers, Poisson1, Poisson2
from ..experiments.nb16_problems import Addition, Autoencoder, Noisy, Problem, Surface, decades
from ..experiments.nb16_race import Budget, Look
from . import Settings, Study, end_or_start
from .tuning import Axis, Search, Tuned

SEEDS = tuple(range(5))
TUNING_SEEDS = (100, 101)
TRIES = 3  # values of a method's one number; more where the best would lie at an edge

GRADIENTS, SECONDS, BOTH = "gradients", "seconds", "both"
PROBLEMS: dict[str, type[Problem]] = {
    "poisson1": Poisson1,
    "poisson2": Poisson2,
    "burgers": Burgers,
    "regression": Surface,
    "autoencoder": Autoencoder,
    "addition": Addition,
    "noisy": Noisy,
}
BUDGETS = {
    "poisson1": Budget(500, 1.5),
    "poisson2": Budget(400, 2.5),
    "burgers": Budget(400, 2.5),
    "regression": Budget(800, 1.5),
    "autoencoder": Budget(400, 3.0),
    "addition": Budget(100, 4.0),
    "noisy": Budget(30, 1.0),
}
PINNS = ("poisson1", "poisson2", "burgers")
MANY_ROWS = ("autoencoder", "addition", "noisy")  # too many for a solve in sample space
ADAM, DECAY, LBFGS, BOTH_IN_TURN = "Adam", "Adam, decay", "L-BFGS", "Adam, L-BFGS"
DEFAULTS, TUNED = "RLHF", "RLHF, tuned"
SHARES = [2 ** (k / 2 - 5) for k in range(11)]  # of the budget, at which a curve is kept


def tuned_rlhf(problem: str) -> tuple[str, Axis]:
    """What is tuned of RLHF: the damping in sample space, or the products where rows are many."""
    if problem in MANY_ROWS:
        return "max_iter", Axis(10, factor=3.0, low=1, whole=True)
    return "damping", Axis(0.01, factor=10.0)


def method(settings: Settings) -> Callable[[Problem, race.Spent], race.Steps]:
    """What a run does, by its settings."""
    name = settings["method"]
    if name in (ADAM, DECAY):
        return partial(race.adam, rate=settings["rate"], decay=name == DECAY)
    if name == LBFGS:
        return race.lbfgs
    if name == BOTH_IN_TURN:
        return partial(race.adam_then_lbfgs, rate=settings["rate"])
    if name == DEFAULTS:
        return race.rlhf
    if "max_iter" in settings:
        return partial(race.rlhf, curvature=0.25, max_iter=settings["max_iter"])
    return partial(race.rlhf, solver="dual", damping=settings["damping"])


def budget_of(settings: Settings) -> Budget:
    """Both budgets, or one where a schedule needs to know when it ends."""
    whole, axis = BUDGETS[settings["problem"]], settings["budget"]
    return Budget(
        whole.gradients if axis != SECONDS else 0.0, whole.seconds if axis != GRADIENTS else 0.0
    )


def looks(settings: Settings) -> Iterator[Look]:
    """One run, as it comes."""
    race.warm_up()
    problem = PROBLEMS[settings["problem"]](settings["seed"])
    return race.race(problem, method(settings), budget_of(settings))


def run(settings: Settings) -> dict[str, Any]:
    """log10 of the error at SHARES of each budget, and what was spent in all."""
    found = list(looks(settings))
    budget = budget_of(settings)
    axes = {GRADIENTS: (budget.gradients, "cost"), SECONDS: (budget.seconds, "seconds")}
    curves = {
        name: [_short(race.within(found, share * most, axis).error) for share in SHARES]
        for name, (most, axis) in axes.items()
        if most
    }
    last = found[-1]
    return curves | {"start": _short(found[0].error), "spent": [round(last.cost), last.step]}


def _short(error: float) -> float | None:
    found = decades(error)
    return None if found != found else round(found, 4)


def ending(result: dict[str, Any], axis: str) -> float:
    """log10 of the error when the budget is spent; of a run that diverged, of its start."""
    return end_or_start([result["start"], result[axis][-1]])


def _entry(problem: str, name: str, axis: str) -> Tuned:
    budget = axis if name == DECAY else BOTH
    number, scale = ("rate", Axis(0.01, factor=3.0)) if name != TUNED else tuned_rlhf(problem)
    return Tuned(
        {"problem": problem, "method": name, "budget": budget},
        {number: scale},
        lambda result: ending(result, axis),
    )


SEARCH = Search(
    {
        f"{problem}, {name}, {axis}": _entry(problem, name, axis)
        for problem in PROBLEMS
        for name in (ADAM, DECAY, TUNED)
        for axis in (GRADIENTS, SECONDS)
    },
    seeds=TUNING_SEEDS,
    tries=TRIES,
)


def methods(problem: str) -> tuple[str, ...]:
    """Those that are tried on this problem."""
    more = (BOTH_IN_TURN,) if problem in PINNS else ()
    return (ADAM, DECAY, LBFGS, *more, DEFAULTS, TUNED)


def settings_of(chosen: dict[str, Settings], problem: str, name: str, axis: str) -> Settings:
    """The settings, without a seed, by which this method is judged on this axis.

    Adam before L-BFGS has the rate that is best for Adam alone.
    """
    if name in (LBFGS, DEFAULTS):
        return {"problem": problem, "method": name, "budget": BOTH}
    if name == BOTH_IN_TURN:
        rate = chosen[f"{problem}, {ADAM}, {axis}"]["rate"]
        return {"problem": problem, "method": name, "budget": axis, "rate": rate}
    return chosen[f"{problem}, {name}, {axis}"]


def judge(chosen: dict[str, Settings]) -> list[Settings]:
    """All methods on both axes; one run serves both where its settings are the same."""
    found = []
    for seed in SEEDS:
        for problem in PROBLEMS:
            for name in methods(problem):
                for axis in (GRADIENTS, SECONDS):
                    settings = settings_of(chosen, problem, name, axis) | {"seed": seed}
                    if settings not in found:
                        found.append(settings)
    return found


STUDY = Study(
    about="Seven small problems, six methods, at equal gradients and at equal CPU seconds.",
    search=SEARCH,
    judge=judge,
    run=run,
    # First weights, and labels or sequences where they are drawn, hang on the seed; images and
    # points are those of the problem, and are fitted, not predicted. No run is given again: when
    # it is looked at depends on seconds.
    rows=lambda settings: {"draws": [f"{settings['problem']}, seed {settings['seed']}"]},
)
