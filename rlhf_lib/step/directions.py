"""Minimize the local model: by conjugate gradients, in sample space or by proximal steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..curvature.diagonals import (
    diagonal_preconditioner,
    empirical_fisher_diagonal,
    gauss_newton_diagonal,
    hutchinson_diagonal,
)
from ..curvature.operators import GaussNewtonOperator
from ..per_sample.factor import SampleSpace
from ..solve.conjugate_gradient import CGResult, conjugate_gradient
from ..solve.proximal import proximal_solve
from ..solve.sample_space import sample_space_solve
from ..work import CG_MOVES, Work, known
from .globalization import Iterates
from .model import LocalModel, Proposal

_PRECONDITIONERS = ("fisher", "ggn", "hutchinson")


@dataclass(frozen=True)
class Solver:
    """Which solver, and its settings: see :class:`~rlhf_lib.optimizer.RLHFOptimizer`.

    ``kinked`` says that the penalty has kinks, ``separable`` that it has an orthant-wise method.
    """

    name: str = "cg"
    kinks: str | None = None
    max_iter: int = 50
    rtol: float = 1e-3
    progress_tol: float | None = None
    preconditioner: str | Tensor | Callable | None = None
    warm_start: float = 0.0
    backtrack: bool = False
    kinked: bool = False
    separable: bool = True

    def __post_init__(self):
        for what, value, choices in (
            ("solver", self.name, ("cg", "dual", "auto")),
            ("kinks", self.kinks, (None, "orthant", "proximal")),
        ):
            if value not in choices:
                raise ValueError(f"expected {what} to be one of {choices}, got {value!r}")
        if isinstance(self.preconditioner, str) and self.preconditioner not in _PRECONDITIONERS:
            raise ValueError(
                f"expected a preconditioner from {_PRECONDITIONERS}, a tensor or a function, got "
                f"{self.preconditioner!r}"
            )
        if self.max_iter < 1:
            raise ValueError(f"expected max_iter >= 1, got {self.max_iter}")
        if not 0 <= self.warm_start <= 1:
            raise ValueError(f"expected 0 <= warm_start <= 1, got {self.warm_start}")
        if self.kinks == "orthant" and not self.separable:
            raise ValueError(
                "kinks='orthant' needs a penalty that is a sum over single weights, which the "
                "group lasso is not: use kinks='proximal'"
            )
        if self.proximal and self.name == "dual":
            raise ValueError("solver='dual' cannot take proximal steps: use kinks='orthant'")
        if self.backtrack and self.kinked:
            raise ValueError(
                "backtrack works with smooth penalties: where a kink cuts an iterate its promise "
                "is lost. Leave it to the line search"
            )

    @property
    def proximal(self) -> bool:
        """Whether proximal steps minimize the model."""
        return self.kinked and (self.kinks == "proximal" or not self.separable)

    def propose(self, model: LocalModel, state: dict) -> tuple[Proposal, dict]:
        """A direction for the model, and what to add to the state if the step comes to an end.

        The state has the present ``damping`` and ``radius``; ``direction``, the last proposal for
        the warm start; ``products``, what CG took last; ``chosen``, how "auto" decided, on which
        number of samples.
        """
        damping = state["damping"]
        if self.proximal:
            found = by_proximal_steps(model, damping, rtol=self.rtol, max_iter=self.max_iter)
            return found, {}
        options = {
            "rtol": self.rtol, "max_iter": self.max_iter, "progress_tol": self.progress_tol,
            "preconditioner": self.preconditioner, "keep": Iterates() if self.backtrack else None,
        }  # fmt: skip
        space, note, changes = None, self.name, {}
        if self.name == "auto" and damping == 0:
            note = "cg: the solve in sample space needs damping"
        elif self.name == "auto":
            samples = model.curvature.task.samples
            if state["chosen"] is None or state["chosen"][0] != samples:
                space, note = choose(model, state["products"] or self.max_iter)
                changes["chosen"] = (samples, note)
            else:
                note = state["chosen"][1]
        if note.startswith("dual"):
            try:
                return by_samples(model, damping, space=space, note=note, **options), changes
            except (ValueError, MemoryError) as error:
                if self.name == "dual":
                    raise
                note = f"cg: {error}"  # the batch is not the one that was chosen for
        start = None
        if self.warm_start and state["direction"] is not None:
            start = torch.zeros_like(model.gradient)
            start[: len(state["direction"])] = self.warm_start * state["direction"]
        found = by_cg(model, damping, start=start, radius=state["radius"], note=note, **options)
        changes["products"] = model.curvature.products
        changes["direction"] = found.direction if self.warm_start else None
        return found, changes


def by_cg(
    model: LocalModel, damping: float, *, start: Tensor | None = None,
    preconditioner: str | Tensor | Callable | None = None, keep: Iterates | None = None,
    note: str = "cg", **options,
) -> Proposal:  # fmt: skip
    """Conjugate gradients, with the options of ``conjugate_gradient``."""
    if start is not None and model.free is not None:
        start = start * model.free
    approximate, cost = _preconditioner(preconditioner, model, damping)
    solved = conjugate_gradient(
        model.system(damping), -model.gradient, x0=start, preconditioner=approximate,
        callback=keep, **options,
    )  # fmt: skip
    proposal = _proposal(solved, model, damping, note, cost)
    if keep is None:
        return proposal
    earlier = [
        Proposal(x, "backtracked", _quadratic(solved, i, x, model, damping), note, cost)
        for i, x in keep.kept
        if i < len(solved.values) - 1
    ]
    return replace(proposal, earlier=tuple(earlier))


def by_samples(
    model: LocalModel, damping: float, *, rtol: float, space: SampleSpace | None = None,
    note: str = "dual", **options,
) -> Proposal:  # fmt: skip
    """The solve in sample space; conjugate gradients go on from it if it is not good enough."""
    if not isinstance(model.curvature, GaussNewtonOperator):
        raise ValueError("solver='dual' needs curvature='ggn': only J' H_L J has per-sample rows")
    space = space or SampleSpace(model.curvature.task, model.curvature.params)
    own = model.task_gradient is model.curvature.gradient  # not that of another batch
    solved = sample_space_solve(
        model.system(damping), -model.gradient, rtol=rtol, space=space,
        gradient=model.task_gradient if own else None,
    )  # fmt: skip
    if solved.converged:
        return _proposal(solved, model, damping, note, space.cost)
    left = solved.residual_norms[-1] / solved.residual_norms[0]
    start = solved.x if left < 1 else None
    note = f"cg, because the sample-space solution had a relative residual of {left:.1g}"
    proposal = by_cg(model, damping, start=start, rtol=rtol, note=note, **options)
    return replace(proposal, cost=proposal.cost + space.cost)


def by_proximal_steps(
    model: LocalModel, damping: float, *, rtol: float, max_iter: int
) -> Proposal:
    """Minimize m with the penalty as it is (proximal Newton)."""
    solved = proximal_solve(
        model.system(damping), model.task_gradient, model.penalty, model.theta,
        rtol=rtol, max_iter=max(max_iter, 2),
    )  # fmt: skip
    d = solved.direction
    quadratic = float(d @ solved.product) - damping * float(d @ d)
    return Proposal(d, solved.reason, quadratic, "proximal", point=solved.point)


def choose(model: LocalModel, expected: int) -> tuple[SampleSpace | None, str]:
    """Sample space or conjugate gradients, by the number of matrix products each will take.

    Inside :func:`~rlhf_lib.work.calibrated` by the seconds that it predicts:
    matrix products are not all that takes time.

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
            operator.task, operator.params, every_use_known=True, most_outputs=1 + 2 * expected
        )
    except (ValueError, MemoryError) as error:
        return None, f"cg: {error}"
    machine = known()
    if machine is None:
        by_dual = space.predicted_cost + operator.product_cost
        by_products, unit = expected * operator.product_cost, "gradients"
    else:
        product = space.product_work(operator.product_cost)
        by_dual = machine.seconds(space.predicted_work + product)
        vectors = Work(vectors=CG_MOVES * operator.shape[0])
        by_products, unit = machine.seconds(expected * (product + vectors)), "seconds"
    digits = ".1f" if machine is None else ".2g"
    grounds = (
        f"{space.rows} rows take {by_dual:{digits}} {unit}, up to {expected} products "
        f"{by_products:{digits}}"
    )
    return (space, f"dual: {grounds}") if by_dual < by_products else (None, f"cg: {grounds}")


def _proposal(solved: CGResult, model: LocalModel, damping: float, note: str, cost: float):
    d, start = solved.x, solved.residual_norms[0]
    if bool(d.any()):
        quadratic = _quadratic(solved, -1, d, model, damping)
    else:  # negative curvature at once, or no iteration
        d = -model.gradient
        quadratic = model.quadratic(d)
    residuals = tuple(norm / start for norm in solved.residual_norms) if start else (0.0,)
    return Proposal(d, solved.reason, quadratic, note, cost, residuals=residuals)


def _quadratic(solved: CGResult, i: int, d: Tensor, model: LocalModel, damping: float) -> float:
    """d'(B + C) d without a product, from the value d'Ad/2 - b'd of iterate i."""
    return 2 * (solved.values[i] - float(model.gradient @ d)) - damping * float(d @ d)


def _preconditioner(kind, model: LocalModel, damping: float):
    """What conjugate_gradient takes as such, and its cost in gradients."""
    if kind is None:
        return None, 0.0
    operator, shift, cost = model.curvature, model.shift + damping, 0.0
    if kind == "hutchinson":
        approximate = diagonal_preconditioner(hutchinson_diagonal(operator), shift)
    elif isinstance(kind, str):
        diagonal = {"fisher": empirical_fisher_diagonal, "ggn": gauss_newton_diagonal}[kind]
        approximate = diagonal_preconditioner(diagonal(operator.task, operator.params), shift)
        cost = 1.0  # forward, backward and the rows, for one direction of the outputs
    else:
        approximate = kind if hasattr(kind, "__matmul__") else kind(operator, shift)
    if model.free is None:
        return approximate, cost
    inside = approximate * model.free if isinstance(approximate, Tensor) else None
    if inside is not None and inside.ndim == 1:
        return torch.where(model.free, inside, 1.0), cost
    product = approximate if callable(approximate) else approximate.__matmul__
    return (lambda r: product(r * model.free) * model.free + r * ~model.free), cost
