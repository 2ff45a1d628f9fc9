"""RLHFOptimizer: regularized Hessian-free optimization as a torch.optim.Optimizer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .curvature import CurvatureOperator, GaussNewtonOperator, HessianOperator
from .flat import assign, check_params, flatten
from .globalize import Damping, armijo, reduction_ratio
from .objective import TaskLoss, check_finite
from .record import Record
from .regularizers import Regularizer, check_has_penalty, check_lambda, make_regularizer
from .solvers import NOT_FINITE, CGResult, Shifted, conjugate_gradient

_FORWARD_COST = 1 / 3
_OPERATORS = {"ggn": GaussNewtonOperator, "hessian": HessianOperator}

_NO_CLOSURE = """RLHFOptimizer.step() needs a closure, because it evaluates the loss several times
in a step and differentiates it twice. Instead of

    loss.backward()
    optimizer.step()

write

    def closure():                       # no zero_grad(), no backward()
        outputs = model(inputs)
        return loss_function(outputs, labels), outputs

    optimizer.step(closure)"""


@dataclass
class _System:
    """One step's linear system (B + shift) d = -gradient, and where it lives."""

    gradient: Tensor
    curvature: CurvatureOperator
    shift: Tensor
    free: Tensor | None
    signs: Tensor


class RLHFOptimizer(torch.optim.Optimizer):
    """Minimize task loss + lambda R(theta) with curvature products and conjugate gradients.

    One step (Martens, 2010, with the regularizer inside the model): gradient of the objective;
    solve (B + lambda R'' + mu I) d = -gradient by CG, B being the Gauss-Newton matrix or the
    Hessian of the task loss; backtrack from theta + lr * d until the objective has decreased
    enough; adapt mu to the reduction ratio. For L1-type penalties the solve runs on the free
    coordinates and the trial points are projected onto the orthant (Andrew and Gao, 2007; Byrd et
    al., 2016), so that zeros are exact zeros.

    Args:
        params: parameters, (name, parameter) pairs or parameter groups. A group may have its own
            ``lr`` and ``lambda_reg``.
        lr: step length that the line search starts from: 1 is the full Newton step. Schedulers
            scale it, which shortens the steps; it is not a gradient step size. A group's lr
            scales its part of the direction.
        lambda_reg: weight of the penalty. Biases and normalization weights are left out.
        regularizer: "l1", "l2", "elastic-net", "l2sp", "l1sp", None or a Regularizer. The SP
            kinds pull to the parameters' values at construction; they are part of the state.
        damping: initial mu, in units of curvature (loss per squared parameter).
        curvature: "ggn" (closure returns ``(loss, outputs)``) or "hessian" (the loss will do).
        solver: "cg".
        damping_rule: "nielsen", "martens" or "fixed".
        max_iter: most CG iterations, i.e. curvature products, in a step.
        rtol: CG's relative residual. progress_tol: Martens' stop (see conjugate_gradient), or None.
        warm_start: CG starts from this factor times the last step's solution; 0 starts at zero.
        line_search: False takes the full step wherever the objective decreases at all.
        keep_graph: see :class:`~rlhf_lib.curvature.CurvatureOperator`.
        count: weight of a micro-batch, default its number of samples.

    Attributes:
        record: the :class:`~rlhf_lib.record.Record` of the last step.

    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = RLHFOptimizer(model.parameters(), lambda_reg=0.01, regularizer="l2")
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1.0,
        lambda_reg: float = 0.0,
        regularizer: str | Regularizer | None = "l1",
        damping: float = 1.0,
        curvature: str = "ggn",
        solver: str = "cg",
        *,
        damping_rule: str = "nielsen",
        max_iter: int = 50,
        rtol: float = 1e-3,
        progress_tol: float | None = None,
        warm_start: float = 0.0,
        line_search: bool = True,
        keep_graph: bool = True,
        count: Callable | None = None,
    ):
        if curvature not in _OPERATORS:
            raise ValueError(f"expected curvature 'ggn' or 'hessian', got {curvature!r}")
        if solver != "cg":
            raise ValueError(f"expected solver 'cg', got {solver!r}")
        if max_iter < 1:
            raise ValueError(f"expected max_iter >= 1, got {max_iter}")
        if not 0 <= warm_start <= 1:
            raise ValueError(f"expected 0 <= warm_start <= 1, got {warm_start}")
        self.regularizer = make_regularizer(regularizer)
        self._pull_to_start = (
            self.regularizer is not None
            and self.regularizer.from_start
            and self.regularizer.center is None
        )
        self.curvature, self.solver, self.max_iter, self.rtol = curvature, solver, max_iter, rtol
        self.progress_tol, self.warm_start, self.line_search = progress_tol, warm_start, line_search
        self.keep_graph, self.count = keep_graph, count
        self.record: Record | None = None
        super().__init__(params, {"lr": lr, "lambda_reg": lambda_reg})
        rule = Damping(damping, damping_rule)
        self.state["rlhf"] = {
            "step": 0, "damping": rule.value, "nu": rule.nu, "rule": damping_rule,
            "cost": 0.0, "seconds": 0.0, "direction": None,
        }  # fmt: skip

    def add_param_group(self, param_group: dict) -> None:
        """Add a group; an SP penalty pulls its parameters to their present values."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_group(group)
            check_params([p for g in self.param_groups for p in g["params"]])
            check_has_penalty(group["lambda_reg"], self.regularizer)
        except ValueError:
            self.param_groups.pop()
            raise
        if self._pull_to_start:
            for p in group["params"]:
                self.state[p]["center"] = p.detach().clone()

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue as the optimizer whose ``state_dict`` this is, bit for bit."""
        super().load_state_dict(state_dict)
        self.state["rlhf"] = dict(self.state["rlhf"])  # not shared with that optimizer

    def _bound_regularizer(self) -> Regularizer:
        """The penalty over the flat vector with the groups' present lambdas."""
        named, lambdas = [], []
        for group in self.param_groups:
            _check_group(group)
            names = group.get("param_names") or [""] * len(group["params"])
            named += list(zip(names, group["params"], strict=True))
            lambdas += [group["lambda_reg"]] * len(group["params"])
        regularizer = self.regularizer
        if regularizer is None:
            regularizer, lambdas = make_regularizer("l2"), [0.0] * len(named)
        if self._pull_to_start:
            regularizer.center = flatten(self.state[p]["center"] for _, p in named)
        return regularizer.bind(named, lambdas)

    def penalty(self) -> float:
        """lambda R(theta) at the present parameters."""
        return float(self._bound_regularizer().value())

    @torch.no_grad()
    def step(
        self,
        closure: Callable | None = None,
        *,
        batches: Iterable | None = None,
        curvature_batches: Iterable | None = None,
    ) -> float:
        """Take one step and return the task loss before it.

        Args:
            closure: returns ``(loss, outputs)`` and does not call ``backward()``. Called without
                arguments, or with a micro-batch where ``batches`` are given.
            batches: micro-batches of the gradient and the line search, weighted by sample counts.
            curvature_batches: micro-batches for the curvature products, if they should be others
                (fewer) than those of the gradient.

        Raises:
            TypeError: no closure, or one that returns something else.
            FloatingPointError: the loss or its gradient is not finite; nothing has changed.
        """
        if closure is None:
            raise TypeError(_NO_CLOSURE)
        if curvature_batches is not None and batches is None:
            raise ValueError("curvature_batches need batches, too: the closure takes a batch")
        started = time.perf_counter()
        state = self.state["rlhf"]
        params = check_params(p for group in self.param_groups for p in group["params"])
        penalty = self._bound_regularizer()
        task = TaskLoss(closure, batches, count=self.count, device=params[0].device)
        theta = flatten(p.detach() for p in params).clone()

        system, loss, curvature_task = self._linearize(
            task, params, theta, penalty, curvature_batches
        )
        penalty_value = float(penalty.value(theta))
        value = loss + penalty_value
        solved = self._solve(system, state)
        if solved.reason == NOT_FINITE:
            check_finite("a curvature product", math.nan)
        direction = solved.x if float(solved.x.norm()) > 0 else -system.gradient
        lengths = flatten(
            torch.full_like(p, group["lr"]) for group in self.param_groups for p in group["params"]
        )
        scaled = direction * lengths

        def trial(t: float) -> Tensor:
            return penalty.project(theta + t * scaled, system.signs)

        point, straight = trial(1.0), theta + scaled
        full_step = scaled if torch.equal(point, straight) else point - theta
        predicted = _predicted_reduction(system, solved, full_step, state["damping"])

        evaluations = 0

        def objective(t: float) -> float:
            nonlocal evaluations
            evaluations += 1
            point = trial(t)
            assign(params, point)
            return task.value() + float(penalty.value(point))

        try:
            full = objective(1.0)
            rounding = 10 * torch.finfo(theta.dtype).eps * abs(value)
            rho = reduction_ratio(value - full, predicted, rounding)
            length, _, _ = armijo(
                objective, value, lambda t: float(system.gradient @ (trial(t) - theta)),
                first=full, c=1e-4 if self.line_search else 0.0,
                most=12 if self.line_search else 0,
            )  # fmt: skip
        except BaseException:
            assign(params, theta)  # an error or Ctrl-C in the closure must not lose the weights
            raise
        final = trial(length) if length else theta
        assign(params, final)

        used = state["damping"]
        rule = Damping(used, state["rule"], nu=state["nu"])
        if bool(scaled.any()):  # with lr = 0, the start of a warm-up, rho says nothing of mu
            state["damping"] = rule.update(rho)
        state["nu"], state["direction"] = rule.nu, solved.x if self.warm_start else None
        state["step"] += 1
        state["cost"] += task.samples * (1 + _FORWARD_COST * evaluations)
        state["cost"] += curvature_task.samples * (
            system.curvature.product_cost * system.curvature.products
            + (0 if curvature_task is task else 1)
        )
        state["seconds"] += time.perf_counter() - started
        self.record = Record(
            step=state["step"], loss=loss, penalty=penalty_value,
            grad_norm=float(system.gradient.norm()), step_norm=float((final - theta).norm()),
            step_length=length, damping=used, rho=rho, products=system.curvature.products,
            reason=solved.reason, accepted=length > 0, cost=state["cost"],
            seconds=state["seconds"],
        )  # fmt: skip
        return loss

    def _linearize(self, task, params, theta, penalty, curvature_batches):
        """Gradient and curvature at the present point; one graph serves both if it can."""
        operator = _OPERATORS[self.curvature]
        if curvature_batches is None:
            curvature_task = task
            curvature = operator(task, params, keep_graph=self.keep_graph)
            loss, gradient = curvature.loss, curvature.gradient
        else:
            loss, gradient = task.value_and_gradient(params)
            curvature_task = TaskLoss(
                task.fn, curvature_batches, count=self.count, device=params[0].device
            )
            curvature = operator(curvature_task, params, keep_graph=self.keep_graph)
        check_finite("the loss", loss)
        check_finite("the gradient", gradient)
        total = penalty.subgradient(gradient, theta)
        free, signs = None, torch.zeros_like(theta)
        if not penalty.smooth:
            signs, stay = penalty.orthant(theta, -total)
            free = ~stay
        system = _System(total, curvature, penalty.curvature(theta), free, signs)
        return system, loss, curvature_task

    def _solve(self, system: _System, state: dict) -> CGResult:
        damped = Shifted(system.curvature, system.shift + state["damping"], system.free)
        x0 = None
        if self.warm_start and state["direction"] is not None:
            x0 = torch.zeros_like(system.gradient)
            x0[: len(state["direction"])] = self.warm_start * state["direction"]
            if system.free is not None:
                x0 *= system.free
        return conjugate_gradient(
            damped, -system.gradient, x0=x0, rtol=self.rtol, max_iter=self.max_iter,
            progress_tol=self.progress_tol,
        )  # fmt: skip


def _predicted_reduction(system: _System, solved: CGResult, s: Tensor, damping: float) -> float:
    """m(0) - m(s) of the undamped model at the full step s."""
    g = system.gradient
    if torch.equal(s, solved.x):
        # CG's residual r = -g - (B + mu) s saves the product.
        quadratic = -float(s @ (g + solved.residual)) - damping * float(s @ s)
    else:  # lr is not 1, or the orthant cut the step short
        quadratic = float(s @ (system.curvature @ s + system.shift * s))
    return -float(g @ s) - 0.5 * quadratic


def _check_group(group: dict) -> None:
    if not 0 <= group["lr"] < math.inf:
        raise ValueError(f"expected a finite lr >= 0, got {group['lr']}")
    check_lambda(group["lambda_reg"])
