"""Logistic regression on a model's frozen features: a baseline, and where fine-tuning may start.

A new head that starts at random or at zero sends steps into the layers below before it has learnt
anything, and they lose features that they had; a head that is fitted first leaves them alone
(Kumar et al., 2022, "Fine-tuning can distort pretrained features and underperform
out-of-distribution": linear probing, then fine-tuning).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..arguments import one_of, real
from ..optimizer import RLHFOptimizer
from ..record import Record
from ..timing import Stopwatch
from .cached import NO_DATA
from .head import head_layer, is_zero
from .task import IGNORED, Task
from .turns import check_task, turn_of

STARTS = ("probe", "zero", "as_loaded")
PROBE_LAMBDA = 0.1
_MOST_STEPS = 50
_SMALL_GRADIENT = 1e-9
_MOST_ROWS = 2_000  # n (C - 1), up to which the exact solve in sample space is cheap


def probe(task: Task, lambda_reg: float = PROBE_LAMBDA) -> Record:
    """The Record of logistic regression on the features that the task's head sees at the start.

    It minimizes, over the head's last linear layer alone, the mean cross-entropy plus
    lambda_reg / 2 times the sum of squares of its weights; the bias is free. Two classes have two
    rows of weights here: with one, as scikit-learn has it, the same minimum is at half the lambda,
    C = 2 / (n lambda_reg); with more classes at C = 1 / (n lambda_reg).

    task: a ClassificationTask, or an EntityTask, whose samples are its scored words. Its weights
        are left as they were, its label smoothing holds.
    lambda_reg: > 0, since without a penalty the minimum may lie at infinity.

    Returns a Record with losses and accuracies on both sets, `extra["lambda_reg"]`, and what
    `assess` finds beside in `extra`. step counts Newton steps, the last gradient's norm is
    grad_norm, `seconds` are those of features and solve; cost is that of the features, one forward
    pass over the training samples.

    Raises ValueError for a task of another loss, and where it did not converge.
    """
    check_task(task)
    with turn_of(task.model).lock:
        task.own()
        before, begun = [p.detach().clone() for p in task.module.parameters()], task._start
        try:
            task.reset()
            fitted = _set_probe(task, lambda_reg)
            return fitted.with_(**task.evaluate(), extra=fitted.extra | task.measures)
        finally:
            with torch.no_grad():
                for p, value in zip(task.module.parameters(), before, strict=True):
                    p.copy_(value)
            task._start = begun


def start_head(
    task: Task,
    start: str | None = None,
    probe_lambda: float = PROBE_LAMBDA,
    *,
    training: dict[str, Tensor] | None = None,
) -> Record:
    """Put a task back to its start, with its head where it is to begin; `reset` undoes the latter.

    start: "probe" puts the solution of `probe` into the head's last linear layer, "zero" zeros,
        "as_loaded" leaves what the model came with. None: "probe" for a pooled model whose head
        is still zero, and "as_loaded" for any other, trained or random.
    training: what the probe learns from; None: all of the task's training set.

    `task.distance()` counts from there. Returns a Record with the cost and seconds that it took,
    and `extra["start"]`.
    """
    one_of("start", start, (*STARTS, None)), real("probe_lambda", probe_lambda, 0.0)
    if not task.training:
        raise ValueError(NO_DATA)
    task.reset()
    if start is None:
        pooled = task.linear_head and hasattr(task.model, "pooling")
        new = pooled and is_zero(head_layer(task.module))
        start = "probe" if new else "as_loaded"
    record = Record(step=0, loss=float("nan"))
    if start == "probe":
        record = _set_probe(task, probe_lambda, training)
    elif start == "zero":
        for p in head_layer(task.module).parameters():
            nn.init.zeros_(p)
    task.begin_here()
    extra = {"start": start} | ({"probe_lambda": probe_lambda} if start == "probe" else {})
    return record.with_(extra=extra)


def _set_probe(task: Task, lambda_reg: float, training: dict | None = None) -> Record:
    """Fit the head's last layer and write it into the model."""
    if not task.linear_head:
        raise ValueError(
            f"probe: expected a task with a linear head, got {type(task).__name__}: "
            'take start="zero" or "as_loaded"'
        )
    if not 0 < real("probe: lambda_reg", lambda_reg, finite=False) < float("inf"):
        raise ValueError(f"probe: expected a finite lambda_reg > 0, got {lambda_reg!r}")
    watch = Stopwatch()
    layer = head_layer(task.module)
    features, batch = _features(task, layer, task.training if training is None else training)
    fitted, record = fit_head(
        features, layer.out_features, lambda_reg, lambda outputs: task.head_loss(outputs, batch)
    )
    if task.cross_entropy:
        _center(fitted)
    with torch.no_grad():
        layer.weight.copy_(fitted.weight)
        if layer.bias is not None:
            layer.bias.copy_(fitted.bias)
    return record.with_(
        cost=len(features) / 3, seconds=watch.seconds.wall, extra={"lambda_reg": lambda_reg}
    )


def _features(
    task: Task, layer: nn.Module, data: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the head's last layer sees of a data set (n, d), and what the loss of n rows takes."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        parts = [batch for batch, _, _ in task.outputs(data)]
    finally:
        hook.remove()
    features = torch.cat([x.reshape(-1, x.shape[-1]) for x in seen]).double()
    rows = {
        key: torch.cat([part[key] for part in parts]) for key in ("labels", "share") if key in data
    }
    if not task.cross_entropy:
        return features, rows
    rows["labels"] = rows["labels"].reshape(-1)
    kept = rows["labels"] != IGNORED
    return features[kept], {key: value[kept] for key, value in rows.items()}


def logistic_regression(
    features: Tensor, labels: Tensor, classes: int, lambda_reg: float, label_smoothing: float = 0.0
) -> tuple[nn.Linear, Record]:
    """(the layer at the minimum, in float64; a Record of the solve) for features (n, d).

    The objective leaves the sum of the biases open; it is 0.
    """

    def loss(outputs: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels, label_smoothing=label_smoothing)

    layer, record = fit_head(features, classes, lambda_reg, loss)
    return _center(layer), record


def _center(layer: nn.Linear) -> nn.Linear:
    with torch.no_grad():
        layer.bias.sub_(layer.bias.mean())
    return layer


def fit_head(
    features: Tensor, outputs: int, lambda_reg: float, loss: Callable[[Tensor], Tensor]
) -> tuple[nn.Linear, Record]:
    """(a linear layer at the minimum of loss + lambda_reg / 2 |weights|^2, in float64; a Record).

    features: (n, d). loss: convex, a mean over the rows of outputs (n, C). Newton steps: for a
    linear model the Gauss-Newton matrix is the Hessian.
    """
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(features.shape[1], outputs).to(features)
    for p in layer.parameters():
        nn.init.zeros_(p)
    optimizer = RLHFOptimizer(
        layer.named_parameters(),
        lambda_reg=lambda_reg,
        regularizer="l2",
        damping=1e-9,
        damping_rule="fixed",
        solver="dual" if len(features) * max(outputs - 1, 1) <= _MOST_ROWS else "cg",
        rtol=1e-8,
        progress_tol=None,
        max_iter=500,
    )

    def closure():
        found = layer(features)
        return loss(found), found

    norm, small = math.inf, 0.0
    for _ in range(_MOST_STEPS):
        optimizer.step(closure)
        record = optimizer.record
        assert record.grad_norm is not None  # of a step
        norm = record.grad_norm
        small = small or _SMALL_GRADIENT * max(norm, 1.0)  # labels may be of any size
        if norm <= small:
            return layer, record.with_(reason="converged")
        if not record.accepted:
            break
    raise ValueError(
        f"probe: expected to converge in {_MOST_STEPS} Newton steps, the gradient's norm is still "
        f"{norm:.1e}: raise lambda_reg, now {lambda_reg}"
    )
