"""The training loop: a generator of Records, the same for RLHF and any torch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import torch

from .arguments import function, whole
from .objective.parameters import assign, flatten
from .objective.task_loss import TaskLoss, check_finite
from .optimizer import RLHFOptimizer
from .record import Record
from .timing import Stopwatch

Evaluate = Callable[[], dict[str, float]]
_SCORES = {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}


def train(
    loss_fn: Callable,
    optimizer: torch.optim.Optimizer,
    batches: Iterable,
    *,
    epochs: int = 1,
    max_steps: int | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int = 1,
    curvature_batches: Callable[[int], Iterable] | slice | None = None,
    count: Callable | str | None = None,
) -> Iterator[Record]:
    """Train, and yield one Record per optimizer step, the state before the first one as step 0.

    Args:
        loss_fn: ``loss_fn(batch)`` returns ``(mean loss, outputs)``.
        optimizer: an RLHFOptimizer, or any ``torch.optim`` optimizer, over the same parameters.
        batches: re-iterable; one optimizer step for each of its elements. An element is a batch,
            or a list of micro-batches of unequal size, whose mean is weighted by sample counts. A
            list of tensors, as DataLoader's ``[inputs, labels]``, is one batch.
        epochs: passes over ``batches``. max_steps: stop earlier.
        evaluate: returns any of train_loss, train_accuracy, val_loss, val_accuracy; called at step
            0, every ``evaluate_every`` steps and after the last.
        curvature_batches: for RLHF, gives the step's curvature micro-batches by step number; or a
            slice of the step's micro-batches.
        count: weight of a micro-batch, default its number of samples; "sum" adds up losses that are
            sums (see :class:`~rlhf_lib.objective.TaskLoss`).

    Stopping the iteration anywhere leaves the model as the last Record describes it.

    Raises:
        FloatingPointError: the loss has become NaN or infinite; the Records so far have been
            yielded and the parameters are those of the last one.
        ValueError: no batches.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"expected an optimizer of torch's kind, got {type(optimizer).__name__}")
    if isinstance(batches, str) or not isinstance(batches, Iterable):
        raise TypeError(f"expected batches to iterate over, got {type(batches).__name__}")
    epochs, evaluate_every = whole("epochs", epochs, 0), whole("evaluate_every", evaluate_every, 1)
    max_steps = None if max_steps is None else whole("max_steps", max_steps, 0)
    if evaluate is not None:
        function("evaluate", evaluate)
    rlhf = optimizer if isinstance(optimizer, RLHFOptimizer) else None
    params = [p for group in optimizer.param_groups for p in group["params"]]
    clock, cost, step, total = 0.0, 0.0, 0, _total(batches, epochs, max_steps)

    def measured(record: Record) -> Record:
        due = step % evaluate_every == 0 or step == total
        if not due or evaluate is None:
            return record
        found = evaluate()
        if not isinstance(found, Mapping) or not found.keys() <= _SCORES:
            raise TypeError(f"expected evaluate() to give any of {sorted(_SCORES)}, got {found!r}")
        return record.with_(**found)

    first, compared = None, False
    for _ in range(epochs):
        for batch in batches:
            micro = _micro_batches(batch)
            if first is None:
                ranks = None if rlhf is None else rlhf.ranks
                first = TaskLoss(
                    loss_fn, micro, count=count, device=params[0].device, process_group=ranks
                )
                penalty = 0.0 if rlhf is None else rlhf.penalty()
                start = Record(step=0, loss=first.value(), penalty=penalty, reason="start")
                compared = first.compared
                first.undo(buffers_only=True)  # the first step is what moves them
                yield measured(start)
            if max_steps is not None and step >= max_steps:
                return
            step += 1
            if rlhf is not None:
                few = curvature_batches
                few = few(step) if callable(few) else few
                rlhf.step(loss_fn, batches=micro, curvature_batches=few)
                yield measured(rlhf.record)
                continue
            watch = Stopwatch()
            task = TaskLoss(
                loss_fn, micro, count=count, device=params[0].device, compare=not compared
            )
            loss, norm, evaluations = _first_order_step(task, optimizer, params)
            compared |= task.compared
            cost += task.samples * evaluations
            clock += watch.seconds.wall
            yield measured(Record(step=step, loss=loss, grad_norm=norm, cost=cost, seconds=clock))
    if first is None:
        raise ValueError("expected at least one batch, got none: is the data set empty?")


def _micro_batches(batch: Any) -> list:
    several = isinstance(batch, list) and not any(isinstance(part, torch.Tensor) for part in batch)
    return batch if several else [batch]


def _first_order_step(
    task: TaskLoss, optimizer: torch.optim.Optimizer, params: list[torch.Tensor]
) -> tuple[float, float, int]:
    """Loss and gradient norm before the step, and how many gradients it took."""
    evaluated = []

    def closure() -> torch.Tensor:
        loss, gradient = task.value_and_gradient(params)
        check_finite("the loss", loss)
        check_finite("the gradient", gradient)
        offset = 0
        for p in params:
            p.grad = gradient[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        evaluated.append((loss, float(gradient.norm())))
        return torch.tensor(loss, dtype=torch.float64)

    # Called here rather than inside step(): first-order optimizers step on .grad alone, and those
    # that do want a closure (L-BFGS) call it again themselves.
    if isinstance(optimizer, torch.optim.LBFGS):
        before = flatten(p.detach() for p in params)
        try:
            optimizer.step(closure)
        except BaseException:
            assign(params, before)  # the error may have come at a trial point
            raise
    else:
        closure()
        optimizer.step()
    return *evaluated[0], len(evaluated)


def _total(batches: Iterable, epochs: int, max_steps: int | None) -> int | None:
    if not isinstance(batches, Sized):
        return max_steps
    try:
        steps = epochs * len(batches)
    except TypeError:  # a DataLoader has a length by name, and over a stream of samples none
        return max_steps
    return steps if max_steps is None else min(steps, max_steps)
