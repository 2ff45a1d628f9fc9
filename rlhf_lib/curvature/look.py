"""Is a closure one function of the parameters, and are its outputs those that curvature needs?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..objective.parameters import flatten
from ..objective.second_derivative import nodes
from ..objective.task_loss import Outputs, TaskLoss, gradients

_LOG_PROBABILITIES = ("LogSoftmax", "LogSigmoid")


def look(
    task: TaskLoss, params: Sequence[Tensor], theta: Tensor, loss: float, *, outputs: bool
) -> list[int]:
    """Evaluate once more at the same parameters, and look at the graphs.

    Args:
        theta: the parameters before the first evaluation, shape (n,).
        loss: what the first evaluation gave.
        outputs: whether the outputs are to carry a Gauss-Newton matrix.

    Returns:
        The indices of the parameters that nothing reaches in any micro-batch.

    Raises:
        ValueError: the loss is another one than before; the parameters are others; a part of the
            loss was computed before the closure was called; or the Gauss-Newton matrix of an output
            is zero whatever the parameters are. Where it is zero at this point alone, a warning
            says so.
    """
    unreached = {id(p): i for i, p in enumerate(params)}
    dtypes = {theta.dtype}

    def own_value() -> tuple[None, float]:
        value, start = 0.0, _sequence()
        for weight, part, found in task.evaluate():
            old = False
            for node in nodes([part]):
                variable = getattr(node, "variable", None)
                if variable is not None:
                    unreached.pop(id(variable), None)
                elif node._sequence_nr() < start:
                    old = True
            if old and _is_stale(task, params):
                raise ValueError(_STALE)
            if outputs:
                _check_curved(part, found)
            dtypes.add(part.dtype)
            value += weight * part.item()
            start = _sequence()
        return None, value

    _, again = task.together(own_value)
    if not torch.equal(theta, flatten(p.detach() for p in params)):
        raise ValueError(
            "expected a closure that leaves the parameters alone, got one that changes them "
            "(nn.Embedding(max_norm=...), clamping, another optimizer's step?): bound weights by a "
            "penalty, and step other optimizers outside of the closure"
        )
    check_same(loss, again, *dtypes)
    return sorted(unreached.values())


def check_same(first: float, again: float, *dtypes: torch.dtype) -> None:
    """Raise ValueError if two losses at the same parameters differ by more than rounding.

    Args:
        dtypes: in which they were computed.
    """
    eps = max(torch.finfo(dtype).eps for dtype in dtypes)
    # Processors add in different orders at times; half precision shows it in its last digit.
    limit = min(eps**0.5, max(eps, 1e-3))
    if not abs(again - first) <= limit * max(abs(first), abs(again)):  # nor is NaN the same
        raise ValueError(
            f"expected one loss at the same parameters, got {first:.6g} and then {again:.6g}: the "
            "closure draws new numbers (noise, an augmentation) or a new batch (next(...)) at each "
            "call, or moves something that it depends on. Draw before the step, and let the "
            "closure only use what was drawn"
        )


_STALE = (
    "expected a loss that is computed anew in each call, got one with a part that was computed "
    "before the closure was called and hangs on trained parameters: it stays as it is when they "
    "move. Call the model inside the closure (and no cache of parametrizations around the step)"
)


def _sequence() -> int:
    """The number that autograd gives to a node made in this thread at this moment."""
    with torch.enable_grad():
        node = torch.zeros((), requires_grad=True).clone().grad_fn
    assert node is not None
    return node._sequence_nr()


def _is_stale(task: TaskLoss, params: Sequence[Tensor]) -> bool:
    """Whether two calls share nodes that lead to trained parameters.

    Numbers of nodes suggest it, but threads number for themselves.
    """
    trained = {id(p) for p in params}
    first = [set(nodes([loss])) for _, loss, _ in task.evaluate()]
    for before, (_, loss, _) in zip(first, task.evaluate(), strict=True):
        for node in before & set(nodes([loss])):
            below = (getattr(n, "variable", None) for n, _ in node.next_functions if n is not None)
            if any(id(variable) in trained for variable in below):
                return True
    return False


def _check_curved(loss: Tensor, outputs: Outputs) -> None:
    """Is the loss curved in each of the outputs? Asked by one product with its Hessian there."""
    slopes = gradients(loss, outputs, create_graph=True)
    probes = [torch.arange(u.numel()).to(u).cos().view_as(u) for u in slopes]
    curved = [(u, r) for u, r in zip(slopes, probes, strict=True) if u.requires_grad]
    products = (
        gradients([u for u, _ in curved], outputs, [r for _, r in curved])
        if curved
        else [torch.zeros_like(z) for z in outputs]
    )
    for z, u, product in zip(outputs, slopes, products, strict=True):
        if product.any() or not u.any():
            continue
        name = "" if z.grad_fn is None else z.grad_fn.name()
        if not u.requires_grad or name.startswith(_LOG_PROBABILITIES):
            raise ValueError(
                "expected outputs in which the loss is curved, got "
                + ("log-probabilities" if name.startswith(_LOG_PROBABILITIES) else "others")
                + ": the loss is linear in them, so that their Gauss-Newton matrix is 0 and a step "
                "would be gradient descent by 1 / damping. Return what comes before (the logits, "
                "with cross_entropy in place of log_softmax and nll_loss), or use "
                "curvature='hessian'"
            )
        warnings.warn(
            "the loss has no curvature in an output at this point (an absolute value, a hinge, a "
            "Huber loss far out, log-probabilities?): the Gauss-Newton matrix is 0 there, and "
            "steps are gradient descent by 1 / damping. curvature='hessian', or another output, "
            "may have more to say",
            stacklevel=11,  # the caller of RLHFOptimizer.step
        )
