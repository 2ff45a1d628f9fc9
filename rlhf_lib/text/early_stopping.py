"""Early stopping: keep the parameters of the least validation loss, or of the best metric."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import index

import torch
from torch import Tensor

from ..objective.parameters import assign, flatten
from ..record import Record
from .said import say
from .task import Task


def stop_early(
    records: Iterator[Record],
    task: Task,
    *,
    patience: int | None = None,
    keep_best: bool = True,
    metric: str = "loss",
    maximize: bool = False,
) -> Iterator[Record]:
    """Pass on a run's Records; stop it where validation no longer improves; put the best back.

    records: of a run that trains `task`, as `finetune` gives them. Those without val_loss pass.
    patience: stop after this many Records in a row without a new least val_loss; None: never.
    keep_best: at the end restore the parameters of the least val_loss, and yield one Record more
        that describes them: its step and losses are those of the best one, its cost and seconds
        those of the whole run, its reason "best", and extra["end"] has the losses and accuracies
        where the run had come to. So both are reported. A loss that is not finite is never best;
        where none is finite, a warning says that nothing was put back.
    metric, maximize: judge by another value of the validation set, "accuracy" or one that the
        Records have in `extra` as val_NAME, and take the largest for the best.

    The validation set has then chosen, so its loss is too good by choice: measure on a third set
    (Prechelt, 1998, has the rules and what they cost).
    """
    if patience is not None:
        try:
            valid = not isinstance(patience, bool) and index(patience) >= 1
        except TypeError:
            valid = False
        if not valid:
            raise ValueError(
                f"patience: expected an integer of at least 1 or None, got {patience!r}"
            )
    sign = -1.0 if maximize else 1.0
    best: Record | None = None
    last: Record | None = None
    saved: Tensor | None = None
    least, cost, seconds, waited = math.inf, 0.0, 0.0, 0
    for record in records:
        cost, seconds = record.cost, record.seconds
        if record.val_loss is not None:
            last = record
            waited += 1
            value = sign * _value(record, metric)
            if math.isfinite(value) and value < least:
                best, least, waited = record, value, 0
                if keep_best:
                    saved = flatten(p.detach() for _, p in task.trained()).clone()
        yield record
        if patience is not None and waited >= patience:
            break
    if best is None and last is not None:
        say(
            f"early stopping: the validation's {metric} was never finite, so none was best and "
            "the parameters are those of the end."
        )
    if best is None or saved is None:
        return
    with torch.no_grad():
        assign([p for _, p in task.trained()], saved)
    end = {
        name: getattr(last, name)
        for name in ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    }
    yield best.with_(reason="best", cost=cost, seconds=seconds, extra={**best.extra, "end": end})


def _value(record: Record, metric: str) -> float:
    name = f"val_{metric}"
    value = vars(record).get(name, record.extra.get(name))
    if value is None:
        found = [key[4:] for key in (*vars(record), *record.extra) if key.startswith("val_")]
        raise ValueError(f"metric: expected one of {', '.join(found)}, got {metric!r}")
    return value
