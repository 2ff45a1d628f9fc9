"""Directions: objects that minimize the local model, each with its settings and its own memory.

A direction is anything with ``propose(model, memory) -> Proposal``. Its memory is a dict of
its own, kept in the optimizer's state; what it is after this step, the proposal says.
Three class attributes tell what a direction can do, all False by default: it takes the penalty's
kinks as they are (``proximal``), it keeps to ``model.radius`` (``bounded``), and ranks that share a
loss may use it (``for_ranks``). Vectors of n entries in its memory are named by ``remembers``, so
that a distributed checkpoint has places for them before the first step. ``at_kinks`` is a direction
that takes kinks as they are, for steps where the orthant leaves hardly anything of this one's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..arguments import flag, one_of, real, whole
from ..curvature.operators import CurvatureOperator, GaussNewtonOperator
from ..interrupt import Interrupted
from ..objective.task_loss import TaskLoss
from ..per_sample.factor import SampleSpace
from ..scaling import dot
from ..solve.conjugate_gradient import CGResult, conjugate_gradient
from ..solve.proximal import proximal_solve
from ..solve.sample_space import sample_space_solve
from ..timing import timed
from ..work import CG_MOVES, Work, known
from .globalization import Iterates
from .model import LocalModel, Proposal
from .preconditioning import check_preconditioner, preconditioner_for


class Direction(Protocol):
    """What RLHFOptimizer and newton ask for a direction."""

    def propose(self, model: LocalModel, memory: dict[str, Any]) -> Proposal:
        """A direction for the model. ``memory`` is what the last proposal left, {} at first."""


@dataclass(frozen=True)
class ConjugateGradients:
    """(B + C + mu I) d = -g by conjugate gradients; the settings are ``conjugate_gradient``'s.

    Args:
        preconditioner: "fisher" (Martens, 2010), "ggn" or "hutchinson", a tensor or operator that
            conjugate_gradient takes, or a function of (operator, shift) that makes one each step.
        warm_start: start from this factor times the last step's solution; 0 starts at zero.
        backtrack: also propose earlier iterates (Martens, 2010, section 4.6).

    Memory: ``products``, how many the last solve took; ``direction``, its solution, if needed.
    """

    max_iter: int = 50
    rtol: float = 1e-3
    progress_tol: float | None = None
    preconditioner: str | Tensor | Callable | None = None
    warm_start: float = 0.0
    backtrack: bool = False

    for_ranks = True

    def __post_init__(self):
        check_preconditioner(self.preconditioner)
        _check_limits(self.rtol, self.max_iter)
        if self.progress_tol is not None:
            real("progress_tol", self.progress_tol, 0)
        flag("backtrack", self.backtrack)
        if not 0 <= real("warm_start", self.warm_start) <= 1:
            raise ValueError(f"expected 0 <= warm_start <= 1, got {self.warm_start}")

    @property
    def bounded(self) -> bool:
        """The radius counts from zero, which a warm start is not."""
        return self.warm_start == 0

    @property
    def remembers(self) -> tuple[str, ...]:
        """The last solution, for a warm start."""
        return ("direction",) if self.warm_start else ()

    @property
    def at_kinks(self) -> ProximalNewton:
        """Proposes where an orthant stalls this one."""
        return ProximalNewton(self.rtol, self.max_iter)

    def propose(
        self,
        model: LocalModel,
        memory: dict[str, Any],
        *,
        start: Tensor | None = None,
        solver: str = "cg",
    ) -> Proposal:
        """Solve, from ``start`` if it is given; ``solver`` is what the proposal calls itself."""
        last = memory.get("direction")
        if start is None and self.warm_start and last is not None:
            start = torch.zeros_like(model.gradient)
            start[: len(last)] = self.warm_start * last  # parameters may have been added
        if start is not None and model.free is not None:
            start = start * model.free
        keep = Iterates() if self.backtrack else None
        approximate, cost = preconditioner_for(
            self.preconditioner, model, check="products" not in memory
        )
        solved = conjugate_gradient(
            model.system(),
            -model.gradient,
            x0=start,
            preconditioner=approximate,
            callback=keep,
            rtol=self.rtol,
            max_iter=self.max_iter,
            progress_tol=self.progress_tol,
            radius=model.radius,
        )
        found = _proposal(solved, model, solver, cost)
        kept = {"direction": found.direction} if self.warm_start else {}
        found = replace(found, memory={"products": model.curvature.products} | kept)
        if keep is None:
            return found
        earlier = tuple(
            Proposal(x, "backtracked", _quadratic(solved, i, x, model), solver, cost)
            for i, x in keep.kept
            if i < len(solved.values) - 1
        )
        return replace(found, earlier=earlier)


@dataclass(frozen=True)
class SampleSpaceSolve:
    """The exact solve in sample space; where it is not good enough, ``otherwise`` goes on from it.

    Args:
        rtol: relative residual of the system.
        otherwise: conjugate gradients, whose memory is kept.

    Memory: that of ``otherwise``; ``copied``, whether the rows take copies of the parameters, once
    the tape's alone have failed.
    """

    rtol: float = 1e-3
    otherwise: ConjugateGradients = field(default_factory=ConjugateGradients)

    def __post_init__(self):
        real("rtol", self.rtol, 0)
        _check_cg("otherwise", self.otherwise)

    @property
    def backtrack(self) -> bool:
        """Whether it may propose earlier iterates, too."""
        return self.otherwise.backtrack

    @property
    def remembers(self) -> tuple[str, ...]:
        """What conjugate gradients do."""
        return self.otherwise.remembers

    @property
    def at_kinks(self) -> ProximalNewton:
        """What conjugate gradients do."""
        return self.otherwise.at_kinks

    def propose(
        self,
        model: LocalModel,
        memory: dict[str, Any],
        *,
        space: SampleSpace | None = None,
        solver: str = "dual",
    ) -> Proposal:
        """Solve; ``space`` are the rows, if they are there already."""
        if not isinstance(model.curvature, GaussNewtonOperator):
            raise ValueError(
                f"expected a GaussNewtonOperator, got {type(model.curvature).__name__}: "
                "solver='dual' needs curvature='ggn', only J' H_L J has per-sample rows"
            )
        task, params = model.curvature.task, model.curvature.params
        own = model.task_gradient is model.curvature.gradient  # not that of another batch
        copied = memory.get("copied", False)
        space = space or SampleSpace(task, params, copied=copied, check="none")
        solved, cost = self._solve(model, space, own), space.cost
        kept = {"copied": True} if space.copied else {}
        if not solved.converged and not space.copied and "copied" not in memory:
            # Where the samples keep apart but parameters act in ways that no tape sees.
            kept = {"copied": False}
            try:
                space = SampleSpace(task, params, copied=True, check="raise")
                solved, cost = self._solve(model, space, own), cost + space.cost
                kept = {"copied": solved.converged}
            except (ValueError, MemoryError):
                pass
        if solved.converged:
            return replace(_proposal(solved, model, solver, cost), memory=memory | kept)
        left = solved.residual_norms[-1] / solved.residual_norms[0]
        words = f"cg, because the sample-space solution had a relative residual of {left:.1g}"
        found = self.otherwise.propose(
            model, memory, start=solved.x if left < 1 else None, solver=words
        )
        return replace(found, cost=found.cost + cost, memory=found.memory | kept)

    def _solve(self, model: LocalModel, space: SampleSpace, own: bool) -> CGResult:
        return sample_space_solve(
            model.system(),
            -model.gradient,
            rtol=self.rtol,
            space=space,
            gradient=model.task_gradient if own else None,
        )


@dataclass(frozen=True)
class ProximalNewton:
    """The minimum of the model with the penalty as it is (Lee, Sun and Saunders, 2014)."""

    rtol: float = 1e-3
    max_iter: int = 50

    proximal = True

    def __post_init__(self):
        _check_limits(self.rtol, self.max_iter)

    def propose(self, model: LocalModel, memory: dict[str, Any]) -> Proposal:
        """Minimize m by proximal steps; there is nothing to remember."""
        solved = proximal_solve(
            model.system(),
            model.task_gradient,
            model.penalty,
            model.theta,
            rtol=self.rtol,
            max_iter=max(self.max_iter, 2),
        )
        d = solved.direction
        quadratic = dot(d, solved.product) - model.damping * dot(d, d)
        return Proposal(d, solved.reason, quadratic, "proximal", point=solved.point)


@dataclass(frozen=True)
class Cheapest:
    """Conjugate gradients or sample space, whichever takes less work; the choice is kept.

    Args:
        cg: what conjugate gradients do.
        by: "counts", see :func:`choose`, or "seconds": where there is a choice to make, both solve,
            and the one that took less time is kept. Counts leave out all but matrix products, which
            for recurrent nets of small layers take less than half of the time.

    Memory: that of ``cg``, and ``choice``: on which number of samples, for sample space or not,
    and on what grounds in words. Another number of samples is another choice.
    """

    cg: ConjugateGradients = field(default_factory=ConjugateGradients)
    by: str = "counts"

    def __post_init__(self):
        _check_cg("cg", self.cg)
        one_of("by", self.by, ("counts", "seconds"))

    @property
    def backtrack(self) -> bool:
        """Whether it may propose earlier iterates, too."""
        return self.cg.backtrack

    @property
    def remembers(self) -> tuple[str, ...]:
        """What conjugate gradients do."""
        return self.cg.remembers

    @property
    def at_kinks(self) -> ProximalNewton:
        """What conjugate gradients do."""
        return self.cg.at_kinks

    def propose(self, model: LocalModel, memory: dict[str, Any]) -> Proposal:
        """Choose where that is due, and propose by what was chosen."""
        if model.damping == 0:
            words = "cg: the solve in sample space needs damping"
            return self._by_cg(model, memory, memory.get("choice"), words)
        curvature, space = model.curvature, None
        # A matrix has none: then conjugate gradients are chosen.
        samples = curvature.task.samples if isinstance(curvature, CurvatureOperator) else None
        choice: dict[str, Any] | None = memory.get("choice")
        if choice is None or choice["samples"] != samples:
            if self.by == "seconds" and isinstance(curvature, GaussNewtonOperator):
                return self._race(model, curvature.task, memory)
            space, words = choose(model, memory.get("products") or self.cg.max_iter)
            choice = {"samples": samples, "dual": space is not None, "grounds": words}
        if not choice["dual"]:
            return self._by_cg(model, memory, choice, choice["grounds"])
        try:
            found = SampleSpaceSolve(self.cg.rtol, self.cg).propose(
                model, memory, space=space, solver=choice["grounds"]
            )
        except Interrupted:
            raise
        except Exception as error:  # the batch is not the one it was chosen for
            return self._by_cg(model, memory, choice, _left_to_cg(error))
        return replace(found, memory=found.memory | {"choice": choice})

    def _race(self, model: LocalModel, task: TaskLoss, memory: dict[str, Any]) -> Proposal:
        """Both, the cost of both, and which of them took less time."""
        clock = "wall" if model.theta.is_cuda else "cpu"
        taken, found = timed(lambda: self.cg.propose(model, memory, solver="cg"))
        by_cg, by_dual, spent = getattr(taken, clock), math.inf, found.cost
        try:
            by_rows = SampleSpaceSolve(self.cg.rtol, self.cg)
            taken, other = timed(lambda: by_rows.propose(model, memory))
        except Interrupted:
            raise
        except Exception as error:
            words = _left_to_cg(error)
        else:
            by_dual, spent = getattr(taken, clock), spent + other.cost
            words = f"{by_dual:.2g} seconds in sample space, {by_cg:.2g} by conjugate gradients"
            words = f"{'dual' if by_dual < by_cg else 'cg'}: {words}"
            found = other if by_dual < by_cg else found
        choice = {"samples": task.samples, "dual": by_dual < by_cg, "grounds": words}
        return replace(found, solver=words, cost=spent, memory=found.memory | {"choice": choice})

    def _by_cg(
        self, model: LocalModel, memory: dict[str, Any], choice: dict[str, Any] | None, words: str
    ) -> Proposal:
        found = self.cg.propose(model, memory, solver=words)
        return replace(found, memory=found.memory | {"choice": choice})


def choose(model: LocalModel, expected: int) -> tuple[SampleSpace | None, str]:
    """Sample space or conjugate gradients, by the number of matrix products each will take.

    Inside :func:`~rlhf_lib.work.calibrated` by the seconds that it predicts: matrix products are
    not all that takes time.

    Args:
        expected: products that conjugate gradients are expected to need.

    Returns:
        The sample space if it will be cheaper, else None; and the grounds in words.
    """
    operator = model.curvature
    if not isinstance(operator, GaussNewtonOperator):
        return None, "cg: the Hessian has no factor in sample space"
    try:
        # A direction of the outputs costs about what a product does; the loss may curve in fewer
        # directions than there are outputs.
        space = SampleSpace(
            operator.task,
            operator.params,
            each_alone=False,
            most_outputs=1 + 2 * expected,
            check="raise",  # once for all steps that keep the choice
        )
    except Interrupted:
        raise
    except Exception as error:
        return None, _left_to_cg(error)
    prices = known()
    if prices is None:
        by_dual = space.predicted_cost + operator.product_cost
        by_products, unit = expected * operator.product_cost, "gradients"
    else:
        product = space.product_work(operator.product_cost)
        by_dual = prices.seconds(space.predicted_work + product)
        vectors = Work(vectors=CG_MOVES * operator.shape[0])
        by_products, unit = prices.seconds(expected * (product + vectors)), "seconds"
    digits = ".1f" if prices is None else ".2g"
    grounds = (
        f"{space.rows} rows take {by_dual:{digits}} {unit}, up to {expected} products "
        f"{by_products:{digits}}"
    )
    return (space, f"dual: {grounds}") if by_dual < by_products else (None, f"cg: {grounds}")


def _left_to_cg(error: Exception) -> str:
    """Why: our own words as they are; of any other error its kind, too."""
    own = type(error) in (ValueError, MemoryError)
    return f"cg: {error}" if own else f"cg: no rows, {type(error).__name__}: {error}"


def _proposal(solved: CGResult, model: LocalModel, solver: str, cost: float) -> Proposal:
    d, start = solved.x, solved.residual_norms[0]
    if bool(d.any()):
        quadratic = _quadratic(solved, -1, d, model)
    else:  # negative curvature at once, or no iteration
        d = -model.gradient
        quadratic = model.quadratic(d)
    residuals = tuple(norm / start for norm in solved.residual_norms) if start else (0.0,)
    return Proposal(d, solved.reason, quadratic, solver, cost, residuals=residuals)


def _quadratic(solved: CGResult, i: int, d: Tensor, model: LocalModel) -> float:
    """d'(B + C) d without a product, from the value d'Ad/2 - b'd of iterate i."""
    return 2 * (solved.values[i] - dot(model.gradient, d)) - model.damping * dot(d, d)


def _check_cg(name: str, value: Any) -> None:
    if not isinstance(value, ConjugateGradients):
        raise TypeError(f"expected {name} as ConjugateGradients(...), got {value!r}")


def _check_limits(rtol: float, max_iter: int) -> None:
    real("rtol", rtol, 0)
    if whole("max_iter", max_iter) < 1:
        raise ValueError(f"expected max_iter >= 1, got {max_iter}")
