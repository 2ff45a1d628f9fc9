"""Early stopping: keep the parameters of the least validation loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..objective.parameters import assign, flatten
from ..record import Record
from .task import Task


def stop_early(
    records: Iterator[Record], task: Task, *, patience: int | None = None, keep_best: bool = True
) -> Iterator[Record]:
    """Pass on a run's Records; stop it where validation no longer improves; put the best back.

    records: of a run that trains `task`, as `finetune` gives them. Those without val_loss pass.
    patience: stop after this many Records in a row without a new least val_loss; None: never.
    keep_best: at the end restore the parameters of the least val_loss, and yield one Record more
        that describes them: its step and losses are those of the best one, its cost and seconds
        those of the whole run, its reason "best", and extra["end"] has the losses and accuracies
        where the run had come to. So both are reported. A loss that is not finite is never best.

    The validation set has then chosen, so its loss is too good by choice: measure on a third set
    (Prechelt, 1998, has the rules and what they cost).
    """
    if patience is not None and (isinstance(patience, bool) or patience < 1):
        raise ValueError(f"patience: expected an integer of at least 1 or None, got {patience!r}")
    best: Record | None = None
    last: Record | None = None
    saved: Tensor | None = None
    least, cost, seconds, waited = math.inf, 0.0, 0.0, 0
    for record in records:
        cost, seconds = record.cost, record.seconds
        if record.val_loss is not None:
            last = record
            waited += 1
            if math.isfinite(record.val_loss) and record.val_loss < least:
                best, least, waited = record, record.val_loss, 0
                if keep_best:
                    saved = flatten(p.detach() for _, p in task.trained()).clone()
        yield record
        if patience is not None and waited >= patience:
            break
    if best is None or saved is None:
        return
    with torch.no_grad():
        assign([p for _, p in task.trained()], saved)
    end = {
        name: getattr(last, name)
        for name in ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    }
    yield best.with_(reason="best", cost=cost, seconds=seconds, extra={**best.extra, "end": end})
