"""RLHFOptimizer: regularized Hessian-free optimization as a torch.optim.Optimizer."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

import torch
from torch import Tensor

from .arguments import flag, one_of, real
from .curvature.look import look
from .curvature.operators import CurvatureOperator, GaussNewtonOperator, HessianOperator
from .objective.groups import check_group, check_listed, named_params_of, own_state, params_of
from .objective.parameters import assign, check_params, flatten
from .objective.ranks import ProcessGroup, as_ranks, refuse_wrapped, solver_of_ranks
from .objective.second_derivative import twice_differentiable_attention
from .objective.task_loss import TaskLoss, check_finite
from .record import Record
from .regularizers import Regularizer, check_has_penalty, check_lambda, make_regularizer
from .regularizers.base import Zero
from .solve.conjugate_gradient import BOUNDARY, NEGATIVE_CURVATURE, NOT_FINITE, SINGULAR
from .step.directions import ConjugateGradients, Direction, SampleSpaceSolve
from .step.globalization import Damping, DampingRule, TrustRegion, reduction_ratio
from .step.model import LocalModel, Path, Proposal
from .step.saved import join, pack, plain_numbers, unpack
from .step.search import search
from .step.shorthand import direction_of
from .timing import Stopwatch

_FORWARD_COST = 1 / 3
_OPERATORS = {"ggn": GaussNewtonOperator, "hessian": HessianOperator}

_NO_CLOSURE = """expected a closure, got None: RLHFOptimizer.step() needs a closure, because it
evaluates the loss several times in a step and differentiates it twice. Instead of

    loss.backward()
    optimizer.step()

write

    def closure():                       # no zero_grad(), no backward()
        outputs = model(inputs)
        return loss_function(outputs, labels), outputs

    optimizer.step(closure)"""


class RLHFOptimizer(torch.optim.Optimizer):
    """Minimize task loss + lambda R(theta) with curvature products and conjugate gradients.

    One step (Martens, 2010, with the regularizer inside the model): gradient of the objective;
    solve (B + lambda R'' + mu I) d = -gradient, B being the Gauss-Newton matrix or the Hessian of
    the task loss; backtrack from theta + lr * d until the objective has decreased enough; adapt mu
    to the reduction ratio. For L1-type penalties the solve runs on the free coordinates and the
    trial points are projected onto the orthant (Andrew and Gao, 2007; Byrd et al., 2016), or it is
    a proximal Newton step (Lee, Sun and Saunders, 2014): zeros are exact zeros in both.

    Args:
        params: parameters, (name, parameter) pairs or parameter groups. A group may have its own
            ``lr`` and ``lambda_reg``.
        lr: step length that the line search starts from: 1 is the full Newton step. Schedulers
            scale it, which shortens the steps; it is not a gradient step size. A group's lr
            scales its part of the direction.
        lambda_reg: weight of the penalty. Biases and normalization weights are left out, as
            :func:`~rlhf_lib.regularizers.penalized` tells them.
        regularizer: "l1", "l2", "elastic-net", "group-lasso", "pseudo-huber", "l2sp", "l1sp", None
            or a Regularizer, whose own ``weight`` multiplies lambda_reg. The SP kinds pull to the
            parameters' values at construction; these are part of the state.
        damping: initial mu, in units of curvature (loss per squared parameter).
        curvature: "ggn" (closure returns ``(loss, outputs)``) or "hessian" (the loss will do).
        solver: "cg"; "dual", the exact solve in sample space (curvature "ggn", mu > 0; see
            :mod:`~rlhf_lib.solve.sample_space`); "auto", whichever takes fewer matrix products; or
            an object with ``propose(model, memory)``, see :mod:`~rlhf_lib.step.directions`, which
            has its own settings instead of those from ``max_iter`` to ``backtrack``.
        kinks: for penalties with kinks "orthant" or "proximal" (always for the group lasso). The
            default None is the orthant-wise method where there is one.
        damping_rule: "nielsen", "martens", "fixed" or a DampingRule.
        radius: initial trust-region radius for solver "cg", whose boundary and negative-curvature
            exits are Steihaug's (1983); None for no bound. mu is added all the same.
        max_iter: most CG iterations, i.e. curvature products, in a step.
        rtol: the solver's relative residual. progress_tol: Martens' stop (see
            conjugate_gradient), or None.
        preconditioner: for CG: "fisher" (Martens, 2010), "ggn" or "hutchinson", a diagonal to the
            power 3/4 (:mod:`~rlhf_lib.curvature.diagonals`); a tensor or an operator that
            conjugate_gradient takes; or a function of (operator, shift) that makes one each step.
        warm_start: CG starts from this factor times the last step's solution; 0 starts at zero.
        backtrack: go back over CG's iterates while the objective is lower there (Martens, 2010).
        line_search: False takes the full step wherever the objective decreases at all.
        keep_graph: see :class:`~rlhf_lib.curvature.operators.CurvatureOperator`.
        count: weight of a micro-batch, default its number of samples; "sum" adds up losses that are
            sums (see :class:`~rlhf_lib.objective.TaskLoss`).
        process_group: the ranks that share the loss, each with its own micro-batches (see
            :mod:`~rlhf_lib.objective.ranks`); every rank makes the same optimizer and takes the
            same steps. For solver "cg"; "auto" is "cg" then.

    Attributes:
        record: the :class:`~rlhf_lib.record.Record` of the last step; its ``extra["solver"]`` says
            which solver ran, and with "auto" why; ``extra["residuals"]`` are the relative residual
            norms |b - A d| / |b| of the linear system, one for each of its iterates from d = 0 (or
            the warm start, whose residual is then the unit).

    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = RLHFOptimizer(model.parameters(), lambda_reg=0.01, regularizer="l2")
    """

    _compared = False  # micro-batches with their parts, see TaskLoss
    state: defaultdict[Any, Any]  # of each parameter, and in "rlhf" what all steps have in common

    def __init__(
        self,
        params: Iterable,
        lr: float = 1.0,
        lambda_reg: float = 0.0,
        regularizer: str | Regularizer | None = "l1",
        damping: float = 1.0,
        curvature: str = "ggn",
        solver: str | Direction = "cg",
        *,
        kinks: str | None = None,
        damping_rule: str | DampingRule = "nielsen",
        radius: float | None = None,
        max_iter: int = ConjugateGradients.max_iter,
        rtol: float = ConjugateGradients.rtol,
        progress_tol: float | None = ConjugateGradients.progress_tol,
        preconditioner: str | Tensor | Callable | None = ConjugateGradients.preconditioner,
        warm_start: float = ConjugateGradients.warm_start,
        backtrack: bool = ConjugateGradients.backtrack,
        line_search: bool = True,
        keep_graph: bool = True,
        count: Callable | str | None = None,
        process_group: ProcessGroup = None,
    ):
        self.regularizer = make_regularizer(regularizer)
        self.ranks = as_ranks(process_group)
        if self.ranks is not None:
            solver = solver_of_ranks(solver, getattr(solver, "preconditioner", preconditioner))
        self._pull_to_start = (
            self.regularizer is not None
            and self.regularizer.from_start
            and self.regularizer.center is None
        )
        settings = {
            "max_iter": max_iter,
            "rtol": rtol,
            "progress_tol": progress_tol,
            "preconditioner": preconditioner,
            "warm_start": warm_start,
            "backtrack": backtrack,
        }
        self.direction = direction_of(solver, kinks, self.regularizer, settings)
        one_of("curvature", curvature, _OPERATORS)
        if isinstance(self.direction, SampleSpaceSolve) and curvature != "ggn":
            raise ValueError(
                "expected curvature 'ggn' with solver='dual', got 'hessian': solver='dual' needs "
                "curvature='ggn', because the Hessian has no factor in sample space"
            )
        if radius is not None and not getattr(self.direction, "bounded", False):
            raise ValueError(
                f"expected radius=None, got {radius}: a trust-region radius works with solver='cg' "
                "alone, without proximal steps and warm_start. Use damping, which works with "
                "everything"
            )
        self.curvature, self.line_search = curvature, flag("line_search", line_search)
        self.keep_graph, self.count = flag("keep_graph", keep_graph), count
        # None before the first step; Any, so that nobody has to ask for that after one.
        self.record: Record | Any = None
        self._bound: tuple[tuple, list[Tensor], Regularizer] | None = None  # see _bound_penalty
        # Under "rlhf" a saved group has what all steps have in common; see state_dict.
        super().__init__(check_listed(params), {"lr": lr, "lambda_reg": lambda_reg, "rlhf": ""})
        self.damping_rule = damping_rule
        # What the direction and the damping rule remember is theirs: two dicts nobody else reads.
        self.state["rlhf"] = {
            "step": 0,
            "cost": 0.0,
            "seconds": 0.0,
            "damping": float(Damping(damping, damping_rule).value),
            "radius": None if radius is None else float(TrustRegion(radius).radius),
            "direction memory": {},
            "damping memory": {},
        }
        check_params(self._params())
        self._bound_penalty()

    def __getstate__(self) -> dict:
        return own_state(self)

    def add_param_group(self, param_group: dict) -> None:
        """Add a group; an SP penalty pulls its parameters to their present values."""
        super().add_param_group(check_group(param_group))
        group = self.param_groups[-1]
        try:
            _check_group(group)
            if self._params():  # a first group may be empty
                check_params(self._params())
            check_has_penalty(group["lambda_reg"], self.regularizer)
            if self._pull_to_start:
                for p in group["params"]:
                    self.state[p]["center"] = p.detach().clone()
            if "rlhf" in self.state:  # a centre of its own is for all groups of the constructor
                self._bound_penalty()
        except (TypeError, ValueError):
            self.param_groups.pop()
            for p in group["params"]:
                self.state.pop(p, None)
            raise

    def state_dict(self) -> dict:
        """What a run goes on from, bit for bit, in torch's form.

        Vectors that the direction remembers are cut into the states of the parameters. All else
        that steps have in common is one JSON text, the same in each group, so that
        torch.distributed.checkpoint finds in a fresh optimizer the places for what it loads.

        Raises TypeError for a memory that is neither vectors of n entries nor JSON.
        """
        remembers = getattr(self.direction, "remembers", ())
        text = pack(self.state["rlhf"], self.state, self._params(), remembers)
        found = super().state_dict()
        del found["state"]["rlhf"]
        for group in found["param_groups"]:
            group |= plain_numbers(group) | {"rlhf": text}
        return found

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Continue as the optimizer whose ``state_dict`` this is, bit for bit.

        Raises ValueError for the state of another optimizer, which changes nothing.
        """
        pieces = ["center"] if self._pull_to_start else []
        common = unpack(state_dict, self._params(), self.state["rlhf"], pieces)
        super().load_state_dict(state_dict)
        self.state["rlhf"] = join(common, self.state, self._params())
        self._bound = None  # centres may have been written into the tensors that it knows
        for group in self.param_groups:
            group["rlhf"] = ""

    def _params(self) -> list[Tensor]:
        return params_of(self.param_groups)

    def _bound_penalty(self) -> Regularizer:
        """The penalty bound to the parameters with the groups' present lambdas."""
        lambdas: list[float] = []
        for group in self.param_groups:
            _check_group(group)
            lambdas += [float(group["lambda_reg"])] * len(group["params"])
        if not any(lambdas) or self.regularizer is None:
            return Zero()
        params = self._params()
        centers = [self.state[p]["center"] for p in params] if self._pull_to_start else []
        # Binding writes two vectors of the model's size, so it is not done again for nothing.
        tensors = [*params, *centers]
        key = (lambdas, [(p.dtype, p.device) for p in params])
        last_key, last_tensors, penalty = self._bound or (None, [], None)
        if penalty is None or last_key != key or not all(map(is_, tensors, last_tensors)):
            named, center = (
                named_params_of(self.param_groups),
                flatten(centers) if centers else None,
            )
            penalty = self.regularizer.on(named, lambdas, center)
            self._bound = key, tensors, penalty
        return penalty

    def penalty(self) -> float:
        """lambda R(theta) at the present parameters."""
        return float(self._bound_penalty().value(flatten(p.detach() for p in self._params())))

    @torch.no_grad()
    @torch.inference_mode(False)
    def step(  # pyrefly: ignore[bad-override] a closure returns (loss, outputs), not a number
        self,
        closure: Callable | None = None,
        *,
        batches: Iterable | None = None,
        curvature_batches: Iterable | slice | None = None,
    ) -> float:
        """Take one step and return the task loss before it.

        Args:
            closure: returns ``(loss, outputs)``, or what a transformers model returns, and does not
                call ``backward()``. Called without arguments, or with a micro-batch where
                ``batches`` are given; with gradients enabled, several times in a step, and before
                the first step once more to see that it is one function of the parameters. What it
                moves besides moves as in one call: dropout masks, the statistics of batch
                normalization (not at all where the step is rejected or fails), generators. See
                :func:`~rlhf_lib.curvature.check_closure.check_closure` for a thorough check.
            batches: micro-batches of the gradient and the line search, weighted by sample counts.
            curvature_batches: micro-batches for the curvature products, if they should be others
                (fewer) than those of the gradient, or a slice of these: see
                :meth:`~rlhf_lib.objective.TaskLoss.part`. With many samples take few: a product is
                an estimate of a step's direction, and more steps are worth more than a better one.
                At equal cost, 60 gradients, a quarter of the samples drawn anew at each step and
                ``max_iter=10`` ended at 0.19 to 0.44 of the training loss that all samples and
                the default 50 ended at, on four small nets, one recurrent.

        Raises:
            TypeError: no closure, or one that returns something else.
            ValueError, RuntimeError: a closure that is not what it should be, by name: it uses a
                part that was computed outside, draws a new batch at each call, returns
                log-probabilities as outputs, or has an operation without second derivatives.
            FloatingPointError: the loss or its gradient is not finite.

        After an error, and after Ctrl-C, everything is as before the step.
        """
        if closure is None:
            raise TypeError(_NO_CLOSURE)
        if curvature_batches is not None and batches is None:
            raise ValueError(
                "expected batches, got curvature_batches alone: curvature_batches need batches, "
                "because the closure takes a batch"
            )
        watch = Stopwatch()
        params = check_params(self._params())
        if self.record is None:
            refuse_wrapped(params, self.ranks)
        task = TaskLoss(
            closure,
            batches,
            count=self.count,
            device=params[0].device,
            process_group=self.ranks,
            compare=not self._compared,
        )
        theta = flatten(p.detach() for p in params)
        before, last = self.state["rlhf"], self.record
        try:
            with twice_differentiable_attention():  # in trials, too: of one function
                final, state, record = self._proposed(task, params, theta, curvature_batches)
            if record.accepted:
                task.settle()
            else:
                task.undo(buffers_only=True)
            assign(params, final)
            state["seconds"] += watch.seconds.wall
            self.state["rlhf"] = state
            self.record = record.with_(seconds=state["seconds"])
        except BaseException:
            # An error or Ctrl-C at any line, these above included, must leave nothing half done.
            assign(params, theta)
            self.state["rlhf"], self.record = before, last
            task.undo()
            raise
        return record.loss

    def _proposed(
        self,
        task: TaskLoss,
        params: list[Tensor],
        theta: Tensor,
        curvature_batches: Iterable | slice | None,
    ) -> tuple[Tensor, dict, Record]:
        """The parameters after this step, the state and the record; params are at a trial point."""
        state = dict(self.state["rlhf"])
        model, loss, curvature_task = self._linearize(task, params, theta, curvature_batches)
        self._compared |= task.compared
        penalty_value = float(model.penalty.value(theta))
        value = loss + penalty_value
        if not state["step"]:
            self._look(task, params, theta, loss)
        first = proposal = self.direction.propose(model, dict(state["direction memory"]))
        if proposal.reason == NOT_FINITE:
            check_finite("a curvature product", math.nan)
        evaluations = 0

        def objective(point: Tensor) -> float:
            nonlocal evaluations
            evaluations += 1
            assign(params, point)
            return task.value() + float(model.penalty.value(point))

        # All paths first: their promises may take products, and these the parameters as they are.
        lengths = self._lengths()
        options = [(p, Path(model, p, lengths)) for p in (proposal, *proposal.earlier[::-1])]
        proposal, path = options[0]
        full = objective(path(1.0))
        for option in options[1:]:
            lower = objective(option[1](1.0))
            if not lower < full:
                break
            full, (proposal, path) = lower, option
        kinks: Direction | Any = getattr(self.direction, "at_kinks", None)
        cuts = model.signs is not None and model.radius is None and self.line_search
        renewed = 0

        def otherwise(kinked: LocalModel) -> Proposal:
            nonlocal renewed
            assign(params, theta)
            assert isinstance(kinked.curvature, CurvatureOperator)  # see _linearize
            renewed += kinked.curvature.renew()
            return kinks.propose(kinked, {})

        length, proposal, path, full = search(
            objective,
            model,
            proposal,
            path,
            full,
            value,
            otherwise if kinks is not None and cuts else None,
            c=1e-4 if self.line_search else 0.0,
            most=12 if self.line_search else 0,
        )
        rounding = 10 * torch.finfo(theta.dtype).eps * abs(value)
        rho = reduction_ratio(value - full, path.predicted, rounding)
        final = path(length) if length else theta
        if not length:
            assign(params, theta)
            look(task, params, theta, loss, outputs=False)  # a wrong closure has its steps rejected

        used = state["damping"]
        self._adapt(state, rho, proposal.reason, moved=path.slope(1.0) != 0)
        state["direction memory"] = first.memory
        state["step"] += 1
        curvature = model.curvature
        state["cost"] += task.samples * (1 + _FORWARD_COST * evaluations)
        state["cost"] += curvature_task.samples * (
            curvature.product_cost * curvature.products
            + proposal.cost
            + renewed
            + (0 if curvature_task is task else 1)
        )
        record = Record(
            step=state["step"],
            loss=loss,
            penalty=penalty_value,
            grad_norm=float(model.gradient.norm()),
            step_norm=float(torch.dist(final, theta)),
            step_length=length,
            damping=used,
            rho=rho,
            products=curvature.products + proposal.products,
            reason=proposal.reason,
            accepted=length > 0,
            cost=state["cost"],
            extra={
                "solver": proposal.solver,
                "radius": state["radius"],
                "residuals": first.residuals,
                **proposal.extra,
            },
        )
        return final, state, record

    def _look(self, task: TaskLoss, params: list[Tensor], theta: Tensor, loss: float) -> None:
        """Before the first step, at the cost of one evaluation: is the closure a right one?"""
        unreached = look(task, params, theta, loss, outputs=self.curvature == "ggn")
        if not unreached or self.ranks is not None:  # another rank's batches may reach them
            return
        names = [n for group in self.param_groups for n in group.get("param_names", [])]
        shown = [names[i] if names else f"{i} {tuple(params[i].shape)}" for i in unreached[:5]]
        warnings.warn(
            f"the loss does not reach {len(unreached)} of the {len(params)} parameters: "
            f"{', '.join(shown)}{', ...' if len(unreached) > 5 else ''}. The data does not move "
            "them. Either they are not used, and need not be given to the optimizer; or what they "
            "make is cut off by .detach(), .data, .item() or torch.no_grad()",
            stacklevel=7,  # the caller of step
        )

    def _linearize(
        self,
        task: TaskLoss,
        params: list[Tensor],
        theta: Tensor,
        curvature_batches: Iterable | slice | None,
    ) -> tuple[LocalModel, float, TaskLoss]:
        """The model at the present point; one graph serves gradient and curvature if it can."""
        kind = _OPERATORS[self.curvature]
        if curvature_batches is None:
            curvature_task = task
            curvature = kind(task, params, keep_graph=self.keep_graph)
            loss, gradient = curvature.loss, curvature.gradient
        else:
            loss, gradient = task.value_and_gradient(params)
            curvature_task = task.part(curvature_batches)
            curvature = kind(curvature_task, params, keep_graph=self.keep_graph)
        check_finite("the loss", loss)
        check_finite("the gradient", gradient)
        model = LocalModel(
            theta,
            gradient,
            curvature,
            self._bound_penalty(),
            proximal=getattr(self.direction, "proximal", False),
            damping=self.state["rlhf"]["damping"],
            radius=self.state["rlhf"]["radius"],
        )
        return model, loss, curvature_task

    def _lengths(self) -> float | Tensor:
        """The groups' lr: a number if they agree, else of shape (n,)."""
        lengths = [float(group["lr"]) for group in self.param_groups]
        if len(set(lengths)) == 1:
            return lengths[0]
        return flatten(
            torch.full_like(p, length)
            for length, group in zip(lengths, self.param_groups, strict=True)
            for p in group["params"]
        )

    def _adapt(self, state: dict, rho: float, reason: str, moved: bool) -> None:
        """Damping and radius for the next step."""
        if moved:  # with lr = 0, the start of a warm-up, rho says nothing of mu
            memory = dict(state["damping memory"])
            state["damping"] = Damping(state["damping"], self.damping_rule, memory=memory).update(
                rho
            )
            state["damping memory"] = memory
        if state["radius"] is not None and moved:
            at_boundary = reason in (BOUNDARY, NEGATIVE_CURVATURE, SINGULAR)
            state["radius"] = TrustRegion(state["radius"]).update(rho, at_boundary)


def _check_group(group: dict) -> None:
    real("lr", group["lr"], 0.0)
    check_lambda(real("lambda_reg", group["lambda_reg"], finite=False))
