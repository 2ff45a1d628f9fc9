"""Does a closure give what curvature needs? Asked by finite differences, before a long run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..arguments import one_of
from ..objective.parameters import assign, check_params, flatten
from ..objective.second_derivative import twice_differentiable_attention
from ..objective.task_loss import TaskLoss, gradients
from .look import look
from .operators import GaussNewtonOperator, HessianOperator


def check_closure(
    closure: Callable,
    params: Iterable[Tensor],
    *,
    batches: Iterable | None = None,
    curvature: str = "ggn",
    count: Callable | None = None,
) -> dict[str, float]:
    """Hold a closure's gradient and curvature against finite differences, in three products.

    Parameters, buffers and generators are as before afterwards.

    Args:
        closure, batches, count: as for :class:`~rlhf_lib.optimizer.RLHFOptimizer`'s step.
        curvature: "ggn" or "hessian".

    Returns:
        Relative differences: "gradient", of its slope along a direction v and the loss's difference
        quotient; "product", of B v for the Hessian and v'B v
        for the Gauss-Newton matrix, whose quotients are the gradient's and the outputs';
        "symmetry", of u'B v and v'B u; "smallest", the least u'B u / (|u| |B u|) seen; and
        "unreached", the number of parameters that nothing reaches.

    Raises:
        ValueError: one of them is larger than rounding and kinks explain, with the likely cause;
            or the loss is another one in a second call, or linear in the outputs.

    >>> w = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    >>> found = check_closure(lambda: (w**4).sum(), [w], curvature="hessian")
    >>> max(found["gradient"], found["product"], found["symmetry"]) < 1e-6
    True
    """
    kinds = {"ggn": GaussNewtonOperator, "hessian": HessianOperator}
    one_of("curvature", curvature, kinds)
    params = check_params(params)
    task = TaskLoss(closure, batches, count=count, device=params[0].device)
    theta = flatten(p.detach() for p in params)
    try:
        with twice_differentiable_attention():
            operator = kinds[curvature](task, params)
            return _compare(task, operator, theta, gauss_newton=curvature == "ggn")
    finally:
        assign(params, theta)
        task.undo()


def _compare(
    task: TaskLoss,
    operator: GaussNewtonOperator | HessianOperator,
    theta: Tensor,
    *,
    gauss_newton: bool,
) -> dict[str, float]:
    params, g = operator.params, operator.gradient
    eps = torch.finfo(theta.dtype).eps
    unreached = look(task, params, theta, operator.loss, outputs=gauss_newton)
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, len(theta), generator=generator, dtype=torch.float64).to(theta)
    u, v = u / u.norm(), v / v.norm() + g / g.norm().clamp_min(torch.finfo(g.dtype).tiny)
    bu, bv = operator @ u, operator @ v
    slope, along = float(g @ v), float(v @ bv)
    quotients = []
    for power in (1 / 3, 1 / 2):
        h = eps**power * max(1.0, float(theta.norm()))
        loss, gradient, outputs = _quotients(task, params, theta, v, h)
        b = _curvature_along(task, outputs) if gauss_newton else gradient
        quotients.append((loss, b))
    (far, b_far), (near, b_near) = quotients
    b = along if gauss_newton else bv
    found = {
        "gradient": _difference(slope, far, near, float(g.norm())),
        "product": _difference(b, b_far, b_near, _norm(b)),
        "symmetry": abs(float(u @ bv - v @ bu)) / _size(float(bv.norm()), eps),
        "smallest": min(
            float(x @ bx) / _size(float(x.norm() * bx.norm()), eps) for x, bx in ((u, bu), (v, bv))
        ),
        "unreached": len(unreached),
    }
    for name, cause in _CAUSES.items():
        limit = eps**0.25 * (10 if name == "product" else 1)  # gradients of ReLU networks jump
        if not found[name] <= limit:
            raise ValueError(f"expected {cause.format(found[name], limit)}")
    if gauss_newton and found["smallest"] < -(eps**0.5):
        raise ValueError(
            "expected u'G u >= 0 of the Gauss-Newton matrix, got a negative one: the loss is not "
            "convex in the outputs. Return others (what goes into a convex loss), or use "
            "curvature='hessian' with a trust-region radius"
        )
    return found


_CAUSES = {
    "gradient": "the gradient to be the slope of the loss, got a relative difference of {:.1e} "
    "(limit {:.1e}): a part of the model is cut off from the gradient (.detach(), .data, "
    "torch.no_grad(), rounding), has a backward of its own, or the loss has kinks or too few "
    "digits: try float64",
    "product": "curvature products to agree with finite differences, got a relative difference of "
    "{:.1e} (limit {:.1e}): an operation (a torch.autograd.Function?) has a first derivative "
    "whose own derivative is wrong, or the loss has kinks or too few digits: try float64",
    "symmetry": "a symmetric matrix, got u'B v and v'B u at a relative difference of {:.1e} "
    "(limit {:.1e}): the closure is not one function, or a backward is wrong",
}


def _size(value: float, least: float) -> float:
    return max(abs(value), least)


def _norm(x: Tensor | float) -> float:
    return float(torch.as_tensor(x).norm())


def _difference(x: Tensor | float, far: Tensor | float, near: Tensor | float, size: float) -> float:
    """|x - quotient| / size, less what two quotients differ by: over a kink they are no truth."""
    spread = _norm(far - near)
    best = min(_norm(x - far), _norm(x - near))
    return max(0.0, best - spread) / max(size, torch.finfo(torch.float32).tiny)


def _quotients(
    task: TaskLoss, params: list[Tensor], theta: Tensor, v: Tensor, h: float
) -> tuple[float, Tensor, list[list[Tensor]]]:
    """Central differences along v of the loss, its gradient and each micro-batch's outputs."""
    ends = []
    for sign in (1, -1):
        assign(params, theta + sign * h * v)
        value, gradient, seen = 0.0, torch.zeros_like(theta), []
        for weight, loss, outputs in task.evaluate():
            gradient += flatten(gradients(weight * loss, params))
            value += weight * loss.item()
            seen.append([z.detach() for z in outputs])
        ends.append((value, gradient, seen))
    assign(params, theta)
    (value, gradient, above), (other, other_gradient, below) = ends
    outputs = [
        [(a - b) / (2 * h) for a, b in zip(*pair, strict=True)]
        for pair in zip(above, below, strict=True)
    ]
    return (value - other) / (2 * h), (gradient - other_gradient) / (2 * h), outputs


def _curvature_along(task: TaskLoss, jv: list[list[Tensor]]) -> float:
    """(J v)' H_L (J v), the Hessian of the loss in the outputs along given vectors."""
    total = 0.0
    for (weight, loss, outputs), along in zip(task.evaluate(), jv, strict=True):
        slopes = gradients(weight * loss, outputs, create_graph=True)
        curved = [(s, x) for s, x in zip(slopes, along, strict=True) if s.requires_grad]
        hjv = gradients([s for s, _ in curved], outputs, [x for _, x in curved])
        total += sum(float((x * y).sum()) for x, y in zip(along, hjv, strict=True))
    return total
