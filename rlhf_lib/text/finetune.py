"""Fine-tune a task by RLHF or by AdamW, one Record for each step or epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..optimizer import RLHFOptimizer
from ..record import Record
from ..train import train
from .cached import batches
from .task import Task

METHODS = ("rlhf", "adamw")


class _Shuffled:
    """Minibatches in a new seeded order at each pass."""

    def __init__(self, data: dict[str, Tensor], size: int, seed: int):
        self.data, self.size = data, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.data["labels"]) // self.size)

    def __iter__(self):
        return batches(self.data, self.size, self.generator)


def finetune(
    task: Task,
    method: str = "rlhf",
    *,
    steps: int = 12,
    lambda_reg: float = 0.0,
    regularizer: str = "l2sp",
    damping: float = 1.0,
    max_iter: int = 10,
    lr: float | None = None,
    batch_size: int = 16,
    curvature_size: int | None = 64,
    seed: int = 0,
    **options,
) -> Iterator[Record]:
    """Fine-tune from the task's starting point and yield Records with both sets' losses.

    task: what to train; it is reset first, so that runs can be compared.
    method: "rlhf": each of the `steps` is one step on the whole training set. "adamw": each is an
        epoch of minibatches, weight decay being `lambda_reg`.
    lambda_reg, regularizer, damping, max_iter: see RLHFOptimizer; `options` go there, too.
    lr: default 1 for rlhf, 5e-5 for adamw.
    batch_size: of adamw. curvature_size: samples that the curvature products of a step see, drawn
        anew at each step; None takes all.
    seed: of the order of samples. Dropout, where the module trains with it, draws from torch's
        own generator.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {METHODS}, came {method!r}")
    if method == "adamw" and options:
        raise TypeError(f"adamw has no option {', '.join(sorted(options))}; RLHFOptimizer may have")
    task.reset()
    if method == "adamw":
        optimizer = torch.optim.AdamW(
            [p for _, p in task.trained()], lr=5e-5 if lr is None else lr, weight_decay=lambda_reg
        )
        data = _Shuffled(task.training, batch_size, seed)
        per_epoch = len(data)
        for record in train(
            task.loss_fn, optimizer, data, epochs=steps, evaluate=task.evaluate,
            evaluate_every=per_epoch,
        ):  # fmt: skip
            if record.step % per_epoch == 0:
                yield record.with_(step=record.step // per_epoch, extra={"steps": record.step})
        return
    optimizer = RLHFOptimizer(
        task.trained(), lr=1.0 if lr is None else lr, lambda_reg=lambda_reg,
        regularizer=regularizer, damping=damping, max_iter=max_iter, **options,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    whole = [list(batches(task.training, task.micro_batch))]

    def curvature_batches(step: int):
        index = torch.randperm(task.samples, generator=generator)[:curvature_size]
        part = {key: value[index.to(value.device)] for key, value in task.training.items()}
        return list(batches(part, task.micro_batch))

    few = curvature_size is not None and curvature_size < task.samples
    yield from train(
        task.loss_fn, optimizer, whole, epochs=steps, evaluate=task.evaluate,
        curvature_batches=curvature_batches if few else None,
    )  # fmt: skip
