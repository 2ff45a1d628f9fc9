"""Newton's method with the exact Hessian, for toys: a generator that shows every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..arguments import flag, function, one_of, real, whole
from ..curvature.exact import MatrixOperator, exact_hessian
from ..objective.task_loss import gradients
from ..record import Record
from ..regularizers import Regularizer, check_has_penalty, make_regularizer
from ..regularizers.base import Zero
from ..scaling import norm
from ..solve.conjugate_gradient import CONVERGED, SINGULAR
from ..timing import Stopwatch
from .dense import DenseDirection
from .directions import Direction
from .globalization import Damping, DampingRule, reduction_ratio
from .model import LocalModel, Path
from .search import search
from .shorthand import DENSE, dense_direction_of


def newton(
    f: Callable[[Tensor], Tensor],
    theta0: Tensor | Sequence[float],
    *,
    regularizer: str | Regularizer | None = None,
    lambda_reg: float = 0.0,
    damping: float = 0.0,
    damping_rule: str | DampingRule = "fixed",
    scale: str | None = None,
    line_search: bool = False,
    max_steps: int = 50,
    tol: float = 1e-8,
    direction: str | Direction = "newton",
    method: str | None = None,
) -> Iterator[Record]:
    """Minimize f(theta) + lambda R(theta) by theta <- theta - (H + mu I)^-1 gradient.

    With a smooth penalty this is the textbook step (Nocedal and Wright, 2006, eq. 3.30), taken in
    full unless ``line_search``: undamped, it walks into saddles and may diverge, which is what the
    notebooks show. A penalty with kinks needs one of two methods, and a line search always follows:

    "orthant": the orthant-wise method of Andrew and Gao (2007) with Newton steps on the free
        coordinates (Byrd, Chin, Nocedal and Oztoprak, 2016), for L1 and elastic net;
    "proximal": the proximal Newton method of Lee, Sun and Saunders (2014), whose every step
        minimizes the quadratic model of f plus the penalty itself, for any penalty.

    In both, zeros are exact zeros.

    Args:
        f: the task loss, from a vector of shape (n,) to a scalar.
        theta0: start, shape (n,): a tensor, or anything that makes one of a floating point type.
        regularizer: "l1", "l2", "elastic-net", "l2sp", "l1sp", "pseudo-huber", or an object, such
            as GroupLasso(groups=...); SP kinds pull to theta0. All coordinates are penalized,
            unless the object's ``weight`` or groups say otherwise.
        lambda_reg: weight of the penalty; an object's own ``weight`` multiplies it.
        damping: mu >= 0, added to the diagonal.
        damping_rule: "fixed", or how mu answers to each step, as in RLHFOptimizer.
        scale: "variables" takes each step, with its damping and what ``direction`` changes in H, in
            variables whose own second derivatives are of order one, so that it does not depend
            on the units of single variables (More, 1978, section 3).
        line_search: backtrack from the full step until f decreases enough (smooth penalties).
        max_steps: most steps.
        tol: converged when the 2-norm of the (minimum-norm sub)gradient is at most tol; relative to
            the first one where that is so small from the start though f has still to fall.
        direction: what to do with H + mu I where it is not positive definite: "newton" nothing
            (with kinks: as "saddle-free" on the free coordinates of the orthant-wise method),
            "cholesky" adds a multiple of I, "saddle-free" takes its eigenvalues' moduli. The last
            two descend in any case, and with ``line_search`` they converge from afar.
        method: "orthant" or "proximal" for penalties with kinks; default the first where the
            penalty is separable, else the second.

    Yields:
        Records with theta, step 0 first. ``extra["eigenvalues"]`` holds those of the Hessian of
        the objective (without mu) at theta, ascending, and ``extra["jitter"]`` how far the last
        step's solve changed H + mu I (see DirectResult). The last one's reason says why it ended:
        "converged", "max_steps", "singular", "not_finite" or "line_search_failed".

    Raises:
        TypeError: theta0 is not of a floating point type, or f does not return a scalar tensor that
            depends on theta.
        ValueError: lambda_reg > 0 without a regularizer, negative or non-finite settings, an
            unknown direction or method, the orthant-wise method for a penalty without orthants.
    """
    start = _float_vector(theta0)
    tol, max_steps = real("tol", tol, 0), whole("max_steps", max_steps, 0)
    mu = Damping(damping, damping_rule)
    check_has_penalty(lambda_reg, regularizer)
    one_of("scale", scale, (None, "variables"))
    flag("line_search", line_search), function("f", f)
    theta = start.clone()
    penalty = (make_regularizer(regularizer) or Zero()).on([theta], [lambda_reg])
    proposer, method = dense_direction_of(direction, method, penalty, 0.5 * tol)
    if scale and not isinstance(direction, str):
        raise ValueError(f"expected direction {', '.join(DENSE)} with scale, got {direction!r}")
    proximal, memory, otherwise = method == "proximal", {}, None
    if method == "orthant" and isinstance(direction, str):
        otherwise, _ = dense_direction_of(direction, "proximal", penalty, 0.5 * tol)
    if scale:
        proposer, otherwise = _with(proposer, scaled=True), _with(otherwise, scaled=True)
    eye = torch.eye(theta.numel(), dtype=theta.dtype, device=theta.device)
    watch = Stopwatch()

    last: tuple[Tensor, Tensor] = (theta, theta)  # point as a leaf, task loss with its graph

    def objective(point: Tensor) -> float:
        nonlocal last
        with torch.enable_grad():
            leaf = point.detach().clone().requires_grad_(True)
            last = leaf, _scalar(f(leaf))
        return last[1].item() + float(penalty.value(point))

    value, loss, gradient = objective(theta), last[1].item(), _gradient(*last)
    taken: dict[str, Any] = {"reason": "start", "damping": mu.value}
    said, ended, first_norm = {"jitter": 0.0}, "", None
    for step in range(max_steps + 1):
        curvature = MatrixOperator(exact_hessian(f, theta))
        model = LocalModel(theta, gradient, curvature, penalty, proximal=proximal, damping=mu.value)
        H = curvature.dense() + penalty.curvature_product(eye, theta)
        size = norm(model.gradient)
        finite = math.isfinite(loss) and bool(H.isfinite().all() & model.gradient.isfinite().all())
        if first_norm is None:
            first_norm = size
            if finite and 0 < size <= tol:  # at a minimum, or in small units?
                closer = _with(proposer, atol=0.5 * tol * size)
                promise = Path(model, closer.propose(model, memory)).predicted
                if promise > 10 * torch.finfo(theta.dtype).eps * abs(value):
                    tol, proposer = tol * size, closer
                    otherwise = _with(otherwise, atol=0.5 * tol)
        eigenvalues = torch.linalg.eigvalsh((H + H.T) / 2) if finite else H.new_full((1,), math.nan)
        ended = (
            "not_finite"
            if not finite
            else "converged"
            if size <= tol
            else "max_steps"
            if step == max_steps
            else ended
        )
        taken["reason"] = ended or taken["reason"]
        yield Record(
            step=step,
            loss=loss,
            penalty=value - loss,
            grad_norm=size,
            seconds=watch.seconds.wall,
            theta=theta.clone(),
            extra={"eigenvalues": eigenvalues, "nonzeros": int((theta != 0).sum()), **said},
            **taken,
        )
        if ended:
            return
        proposal = proposer.propose(model, memory)
        memory, said = proposal.memory, {"jitter": 0.0, **proposal.extra}
        path = Path(model, proposal)
        full, length = objective(path(1.0)), 1.0
        if line_search or method is not None:
            # Near a minimum the decrease is smaller than the rounding of the values compared.
            slack = 4 * torch.finfo(theta.dtype).eps * abs(value)
            length, proposal, path, full = search(
                objective,
                model,
                proposal,
                path,
                full,
                value + slack,
                partial(otherwise.propose, memory={"first_norm": first_norm})
                if otherwise
                else None,
                most=40,
            )
            said = {"jitter": 0.0, **proposal.extra}
        start, before = theta, value
        if length:  # the accepted point is the one evaluated last
            theta, loss, gradient = last[0].detach(), last[1].item(), _gradient(*last)
            value = loss + float(penalty.value(theta))
        taken = {
            "step_length": length,
            "step_norm": float((theta - start).norm()),
            "damping": mu.value,
            "rho": (before - full) / path.predicted if path.predicted else math.nan,
            "products": curvature.products + proposal.products,
            "reason": proposal.reason,
            "accepted": length > 0,
        }
        rounding = 10 * torch.finfo(theta.dtype).eps * abs(before)
        mu.update(reduction_ratio(before - full, path.predicted, rounding))
        # A penalty with kinks bounds what the Hessian leaves flat, and its line search decides.
        flat = method is None and proposal.reason == SINGULAR and not said["jitter"]
        # Where rounding hides all that the model still promises, it is a minimum.
        failed = CONVERGED if 0 <= path.predicted <= rounding else "line_search_failed"
        ended = "singular" if flat else "" if length else failed


def _with(direction: Any, **settings: Any) -> Any:
    """The direction with other settings, where it is one that has them."""
    return replace(direction, **settings) if isinstance(direction, DenseDirection) else direction


def _float_vector(theta0: Any) -> Tensor:
    try:
        theta = torch.as_tensor(theta0).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"expected theta0 as a tensor of shape (n,), got {type(theta0).__name__}: {error}"
        ) from error
    if not theta.is_floating_point():
        raise TypeError(
            f"expected theta0 of a floating point type, got {theta.dtype}: write numbers with a "
            "point, as in torch.tensor([1.0, 2.0]), or convert it by .double()"
        )
    if theta.is_meta or theta.dtype in (torch.float16, torch.bfloat16):
        got = "a tensor on the meta device" if theta.is_meta else str(theta.dtype)
        raise TypeError(f"expected theta0 in float32 or float64, with values, got {got}")
    if theta.ndim != 1 or not theta.numel():
        raise ValueError(f"expected theta0 of shape (n,), n > 0, got {tuple(theta.shape)}")
    return theta


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        if not isinstance(value, Tensor):
            got = f"{type(value).__name__}"
        elif value.numel() != 1:
            got = f"a tensor of shape {tuple(value.shape)}"
        else:
            got = "one that does not depend on theta (was it detached?)"
        raise TypeError(
            f"expected f(theta) to be a scalar tensor computed from theta, got {got}: compute it "
            "with torch's functions, without float(), .item(), .numpy() and .detach()"
        )
    return value.reshape(())


def _gradient(leaf: Tensor, loss: Tensor) -> Tensor:
    return gradients(loss, [leaf])[0].detach()
