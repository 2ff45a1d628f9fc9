"""Damped Gauss-Newton steps on the linearized model: RLHFOptimizer's, solved in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from ..arguments import real, whole
from ..record import Record
from ..step.globalization import Damping, DampingRule, armijo, reduction_ratio
from ..timing import Stopwatch
from .problem import Local, Point, Problem

START, MAX_STEPS, CONVERGED = "start", "max_steps", "converged"
LINE_SEARCH_FAILED, NOT_FINITE, SINGULAR = "line_search_failed", "not_finite", "singular"
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Trace:
    """What a run went through.

    Attributes:
        records: step 0 first, without what is scored after each step. points: after each.
        reason: why it ended: "converged", "max_steps", "line_search_failed" (no length of the
            step lowers the objective, and mu will not change), "singular" (the parameters that
            nothing holds leave the step undetermined) or "not_finite".
    """

    records: list[Record] = field(repr=False)
    points: list[Point] = field(repr=False)
    reason: str

    @property
    def point(self) -> Point:
        """Where it ended."""
        return self.points[-1]


def take_steps(
    problem: Problem,
    point: Point,
    *,
    damping: float,
    steps: int,
    tol: float,
    damping_rule: str | DampingRule = "fixed",
    line_search: bool = True,
    slack: float = 0.0,
) -> Trace:
    """Steps from a point until the gradient's 2-norm is at most tol times the mean loss's there.

    With ``slack`` also until the model promises less than the rounding of the objective.

    Args:
        slack: accept an increase of so many roundings of the objective, as near a minimum, where
            the decrease is smaller than they are.
    """
    tol, steps = real("tol", tol, 0), whole("steps", steps, 0)
    watch = Stopwatch()
    rule = Damping(damping, damping_rule)
    loss, penalty = problem.task(problem.train_margins(point)), problem.penalty(point)
    local = Local(problem, point)
    norm, least, reason = local.gradient_norm(), tol * local.task_gradient_norm(), ""
    records = [Record(step=0, loss=loss, penalty=penalty, grad_norm=norm, reason=START)]
    points = [point]
    while not reason:
        reason = _ended(loss + penalty, norm, least, len(records) > steps)
        if reason:
            break
        d = local.step(rule.value)
        if d is None:
            reason = SINGULAR
            break
        (point, after), length, rho, promised = _search(local, d, loss, penalty, line_search, slack)
        used = rule.value
        records.append(
            Record(
                step=len(records),
                loss=loss,
                penalty=penalty,
                grad_norm=norm,
                step_norm=length * math.sqrt(max(sum(d.norms), 0.0)),
                step_length=length,
                damping=used,
                rho=rho,
                reason=CONVERGED,
                accepted=length > 0,
                seconds=watch.seconds.wall,
            )
        )
        points.append(point)
        if length:
            loss, penalty = after
            local = Local(problem, point)
            norm = local.gradient_norm()
        if not length and promised <= slack * _EPS * abs(loss + penalty):
            reason = CONVERGED  # what there is to win is less than the objective's rounding
        elif rule.update(rho) == used and not length:
            reason = LINE_SEARCH_FAILED
    records[-1] = records[-1].with_(reason=reason)
    return Trace(records, points, reason)


def _ended(value: float, norm: float, least: float, all_steps: bool) -> str:
    if not (math.isfinite(value) and math.isfinite(norm)):
        return NOT_FINITE
    if norm <= least:
        return CONVERGED
    return MAX_STEPS if all_steps else ""


def _search(local: Local, d: Point, loss: float, penalty: float, line_search: bool, slack: float):
    """The point that a step goes to with its loss and penalty, the length, rho of length 1, and
    the decrease that the model promises of it."""
    problem, start, value = local.problem, local.point, loss + penalty
    (slope, quadratic), tried = local.along(d), {0.0: (start, (loss, penalty))}

    def objective(t: float) -> float:
        trial = problem.moved(start, d, t)
        parts = problem.task(problem.train_margins(trial)), problem.penalty(trial)
        tried[t] = trial, parts
        return sum(parts)

    full = objective(1.0)
    length, _, _ = armijo(
        objective,
        value + slack * _EPS * abs(value),
        lambda t: t * slope,
        first=full,
        c=1e-4 if line_search else 0.0,
        most=(40 if slack else 12) if line_search else 0,
    )
    promised = -slope - 0.5 * quadratic
    rho = reduction_ratio(value - full, promised, 10 * _EPS * abs(value))
    return tried[length], length, rho, promised
