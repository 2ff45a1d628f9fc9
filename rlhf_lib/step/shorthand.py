"""From the optimizer's short-hand, such as solver="auto", to direction objects; looked up once."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..regularizers import Regularizer
from .directions import Cheapest, ConjugateGradients, Direction, ProximalNewton, SampleSpaceSolve

SOLVERS = ("cg", "dual", "auto")


def direction_of(
    solver: str | Direction,
    kinks: str | None,
    regularizer: Regularizer | None,
    settings: dict[str, Any],
) -> Direction:
    """The direction that is meant.

    Args:
        solver: "cg", "dual", "auto" or an object, which has its own settings.
        kinks: how a penalty with kinks is met: "orthant", "proximal", or None for the first where
            there is one.
        settings: those of ConjugateGradients, by name.

    Raises:
        ValueError: settings that make no sense together, or beside an object.
    """
    if kinks not in (None, "orthant", "proximal"):
        raise ValueError(
            f"expected kinks to be one of {(None, 'orthant', 'proximal')}, got {kinks!r}"
        )
    kinked = regularizer is not None and not regularizer.smooth
    separable = regularizer is None or regularizer.separable
    if kinks == "orthant" and not separable:
        raise ValueError(
            "expected a penalty that is a sum over single weights for kinks='orthant', got "
            f"{type(regularizer).__name__}: use kinks='proximal'"
        )
    proximal = kinked and (kinks == "proximal" or not separable)
    if isinstance(solver, str):
        direction, backtrack = _named(solver, proximal, settings), settings["backtrack"]
    else:
        direction = _given(solver, kinks, proximal, settings)
        backtrack = getattr(direction, "backtrack", False)
    if kinked and backtrack:
        raise ValueError(
            f"expected backtrack=False, got {backtrack}: backtrack works with smooth penalties; "
            "where a kink cuts an iterate its promise is lost. Leave it to the line search"
        )
    return direction


def _named(solver: str, proximal: bool, settings: dict[str, Any]) -> Direction:
    if solver not in SOLVERS:
        raise ValueError(f"expected solver to be one of {SOLVERS}, got {solver!r}")
    cg = ConjugateGradients(**settings)
    if proximal and solver == "dual":
        raise ValueError(
            "expected solver 'cg' or 'auto' for proximal steps, got 'dual', which cannot take "
            "proximal steps: use kinks='orthant'"
        )
    if proximal:
        return ProximalNewton(cg.rtol, cg.max_iter)
    return {"cg": cg, "dual": SampleSpaceSolve(cg.rtol, cg), "auto": Cheapest(cg)}[solver]


def _given(solver, kinks: str | None, proximal: bool, settings: dict[str, Any]) -> Direction:
    if not callable(getattr(solver, "propose", None)):
        raise ValueError(
            f"expected solver to be one of {SOLVERS} or an object with propose(model, memory), got "
            f"{solver!r}"
        )
    asked = [
        name
        for name, value in settings.items()
        if isinstance(value, Tensor) or value != getattr(ConjugateGradients, name)
    ]
    if asked:
        raise ValueError(
            f"expected {', '.join(asked)} in the solver object itself, got them beside it: make "
            f"it as in ConjugateGradients({asked[0]}=...)"
        )
    takes = getattr(solver, "proximal", False)
    if proximal and not takes:
        raise ValueError(
            "expected a solver that takes proximal steps for this penalty, such as "
            f"ProximalNewton(), got {type(solver).__name__}"
        )
    if kinks == "orthant" and takes:
        raise ValueError(
            "expected a solver that keeps to an orthant with kinks='orthant', got "
            f"{type(solver).__name__}, which takes proximal steps"
        )
    return solver
