"""From short-hand, such as solver="auto", to direction objects; looked up once."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..arguments import one_of
from ..regularizers import Regularizer
from .dense import DenseDirection, ModifiedCholesky, PlainNewton, SaddleFree
from .directions import Cheapest, ConjugateGradients, Direction, ProximalNewton, SampleSpaceSolve

SOLVERS = ("cg", "dual", "auto")
DENSE: dict[str, type[DenseDirection]] = {
    "newton": PlainNewton,
    "cholesky": ModifiedCholesky,
    "saddle-free": SaddleFree,
}


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
    one_of("kinks", kinks, (None, "orthant", "proximal"))
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
    _check_kinks(solver, kinks, proximal)
    return solver


def dense_direction_of(
    direction: str | Direction, method: str | None, penalty: Regularizer, atol: float
) -> tuple[Direction, str | None]:
    """The direction that ``newton`` is to take, and its method for kinks, None without any.

    Args:
        direction: "newton", "cholesky", "saddle-free" or an object.
        method: "orthant", "proximal", or None for the first where there is one.
        atol: residual down to which proximal steps are solved.

    Raises:
        ValueError: names that none has, a method that the penalty or the object does not know.
    """
    one_of("method", method, ("orthant", "proximal", None))
    if method == "orthant" and not penalty.separable:
        raise ValueError(
            "expected a penalty that is a sum over single weights for method='orthant', got "
            f"{type(penalty).__name__}: use the proximal method"
        )
    if isinstance(direction, str):
        if direction not in DENSE:
            raise ValueError(f"expected direction {', '.join(DENSE)}, got {direction!r}")
    elif not callable(getattr(direction, "propose", None)):
        raise ValueError(
            f"expected direction {', '.join(DENSE)} or an object with propose(model, memory), got "
            f"{direction!r}"
        )
    if method is None and getattr(direction, "proximal", False):
        method = "proximal"
    elif method is None and not penalty.smooth:
        method = "orthant" if penalty.separable else "proximal"
    if not isinstance(direction, str):
        _check_kinks(direction, method, method == "proximal")
        return direction, method
    if direction == "newton" and method == "orthant":
        direction = "saddle-free"  # on a face of the orthant a step has to descend
    return DENSE[direction](method == "proximal", atol), method


def _check_kinks(direction: Direction, kinks: str | None, proximal: bool) -> None:
    takes = getattr(direction, "proximal", False)
    if proximal and not takes:
        raise ValueError(
            "expected a direction that takes proximal steps for this penalty, such as "
            f"ProximalNewton(), got {type(direction).__name__}"
        )
    if kinks == "orthant" and takes:
        raise ValueError(
            "expected a direction that keeps to an orthant, as asked, got "
            f"{type(direction).__name__}, which takes proximal steps"
        )
