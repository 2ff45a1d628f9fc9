"""Fine-tune a task by RLHF or by AdamW, one Record for each step or epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from .. import arguments
from ..baselines.penalized_adamw import PenalizedAdamW
from ..optimizer import RLHFOptimizer
from ..record import Record
from ..regularizers import Regularizer
from ..train import train
from .cached import batches
from .early_stopping import stop_early
from .head import adamw_with_head, parameter_groups, pulled_head
from .masks import Masked, with_dropout
from .probe import PROBE_LAMBDA, start_head
from .scoring import Metric, set_metric
from .task import Task
from .turns import one_at_a_time

METHODS = ("rlhf", "adamw")
SCHEDULES = ("constant", "linear")


class _Shuffled:
    """Minibatches in a new seeded order at each pass."""

    def __init__(self, data: dict[str, Tensor], size: int, seed: int):
        self.data, self.size = data, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.data["labels"]) // self.size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return batches(self.data, self.size, self.generator)


class _Steps:
    """The training set in a new order at each pass, `batch` samples for each step as micro-batches,
    of which the first, `self.curvature`, hold the `size` samples of the curvature products."""

    def __init__(self, task: Task, size: int, seed: int, batch: int):
        self.task, self.size, self.batch = task, size, batch
        self.curvature = slice(-(-size // task.micro_batch))
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-self.task.samples // self.batch)

    def __iter__(self) -> Iterator[list[dict[str, Tensor]]]:
        order = torch.randperm(self.task.samples, generator=self.generator)
        for mine in order.split(self.batch):
            yield [
                {key: value[index.to(value.device)] for key, value in self.task.training.items()}
                for part in (mine[: self.size], mine[self.size :])
                for index in part.split(self.task.micro_batch)
                if len(index)
            ]


@one_at_a_time
def finetune(
    task: Task,
    method: str = "rlhf",
    *,
    steps: int = 12,
    lambda_reg: float = 0.0,
    regularizer: str | Regularizer | None = "l2sp",
    coupled: bool = False,
    dropout: float = 0.0,
    patience: int | None = None,
    keep_best: bool = False,
    metric: Metric = "loss",
    maximize: bool | None = None,
    damping: float = 1.0,
    max_iter: int = 10,
    lr: float | None = None,
    batch_size: int | None = None,
    schedule: str = "constant",
    warmup: float = 0.1,
    curvature_size: int | None = 64,
    seed: int = 0,
    start: str | None = None,
    probe_lambda: float = PROBE_LAMBDA,
    lambda_head: float | None = None,
    head_center: str = "start",
    **options: Any,
) -> Generator[Record]:
    """Fine-tune from the task's starting point and yield Records with both sets' losses.

    task: what to train; it is reset first, so that runs can be compared. Of two runs on one model
        the later one goes on, whatever the threads; the earlier ends with a RuntimeError.
    method: "rlhf": each of the `steps` is one step on the whole training set, or with `batch_size`
        an epoch of steps on minibatches. "adamw": each is an epoch of minibatches.
    lambda_reg, regularizer: of rlhf, see RLHFOptimizer, which also takes damping, max_iter and
        `options`. With adamw, `lambda_reg` is its own decoupled weight decay, unless
    coupled: adamw minimizes loss + lambda R like rlhf does; see PenalizedAdamW.
    dropout: rate of every nn.Dropout while training (T5 keeps the rate of its attention as a
        number, which stays); scores are without it. An rlhf step has one mask for its gradient,
        products and line search, the next one another; an adamw step has its own.
    patience, keep_best: stop early, put the best parameters back: see `stop_early`.
    metric, maximize: what is best, by validation: "loss" (the least), "accuracy", "macro_f1", "f1"
        and so on, or a function of predictions and labels, with maximize: see `set_metric`. It is
        in each Record's `extra` as val_NAME and train_NAME.
    lr: default 1 for rlhf, 0.5 on minibatches, 5e-5 for adamw.
    batch_size: default 16 for adamw; for rlhf the whole training set. On minibatches of rlhf
        `damping` stays as it is ("fixed") unless `damping_rule` says otherwise: the reduction ratio
        tells how well the model fits the minibatch that it was made of and nothing of the other
        samples, so that the rules which follow it let mu fall until a step is wrong even there. Try
        a few values. With few classes solver="dual" is the exact step in the minibatch's space.
    schedule: of adamw's learning rate: "constant", or "linear", which rises from 0 to lr over the
        share `warmup` of all updates and falls to 0 over the rest (Devlin et al., 2019, appendix
        A.2).
    curvature_size: samples that the curvature products of a step see, drawn anew at each step; None
        takes all. Of a minibatch no more than it holds.
    seed: of the order of samples and of the masks. Torch's own generator is left alone.
    start, probe_lambda: of the head: see `start_head`. Its cost and seconds are the run's, too.
    lambda_head: lambda_reg of the new head, where it is not to be that of the pre-trained part.
    head_center: what the SP kinds pull the head to: "start", where the run begins, or "zero", as
        Xuhong Li et al. (2018) do. With start="probe", "zero" and lambda_head =
        probe_lambda the probe is the minimum over the head, from which the body alone goes on.

    With start other than "as_loaded", lambda_head or head_center="zero" each Record's `extra` says
    so by these names.
    """
    arguments.one_of("method", method, METHODS)
    arguments.one_of("schedule", schedule, SCHEDULES)
    for name, size in (("curvature_size", curvature_size), ("batch_size", batch_size)):
        if size is not None:
            arguments.whole(name, size, 1)
    arguments.flag("coupled", coupled), arguments.flag("keep_best", keep_best)
    seed = arguments.seed_of("seed", seed)
    dropout = arguments.real("dropout", dropout, 0.0)
    lambda_reg = arguments.real("lambda_reg", lambda_reg, 0.0)
    if lambda_head is not None:
        lambda_head = arguments.real("lambda_head", lambda_head, 0.0)
    if lr is not None:
        lr = arguments.real("lr", lr, 0.0)
    if method == "adamw" and options:
        raise TypeError(
            "method 'adamw': expected no options of RLHFOptimizer, got "
            f"{', '.join(sorted(options))}"
        )
    if method == "rlhf" and coupled:
        raise TypeError(
            "coupled: expected False with method 'rlhf', which always has the penalty in its "
            f"loss, got {coupled!r}"
        )
    if method == "rlhf" and schedule != "constant":
        raise TypeError(
            "schedule: expected 'constant' with method 'rlhf', whose steps have a length of their "
            f"own, got {schedule!r}"
        )
    warmup = arguments.real("warmup", warmup, 0.0)
    if warmup > 1:
        raise ValueError(f"warmup: expected a share of the updates, 0 to 1, got {warmup!r}")
    judged_by, largest = set_metric(task, metric, maximize)
    begun = start_head(task, start, probe_lambda)
    said = begun.extra if begun.extra["start"] != "as_loaded" else {}
    if lambda_head is not None or head_center != "start":
        said = said | {"lambda_head": lambda_head, "head_center": head_center}
    loss_fn = task.training_loss
    if dropout:
        loss_fn = with_dropout(loss_fn, task.module, dropout)
    if method == "adamw":
        optimizer = adamw_with_head(
            task.trained(),
            5e-5 if lr is None else lr,
            lambda_reg,
            lambda_head,
            coupled,
            pulled_head(regularizer, task.trained(), head_center),
        )
        steps = arguments.whole("steps", steps, 0)
        data = _Shuffled(task.training, batch_size or 16, seed)
        updates = steps * len(data)
        rate = get_scheduler(schedule, optimizer, round(warmup * updates), updates)
        records = _adamw(task, loss_fn, steps, optimizer, rate, data, dropout, seed)
    else:
        params, ordered = task.trained(), task.trained()
        if lambda_head is not None:
            params = parameter_groups(params, "lambda_reg", lambda_reg, lambda_head)
            ordered = [pair for group in params for pair in group["params"]]
        few = batch_size is not None and batch_size < task.samples
        if few:
            options.setdefault("damping_rule", "fixed")
        optimizer = RLHFOptimizer(
            params,
            lr=(0.5 if few else 1.0) if lr is None else lr,
            lambda_reg=lambda_reg,
            regularizer=pulled_head(regularizer, ordered, head_center),
            damping=damping,
            max_iter=max_iter,
            count=task.count,
            **options,
        )
        batch = batch_size if few else None
        records = _rlhf(task, loss_fn, steps, optimizer, batch, curvature_size, dropout, seed)
    if patience is not None or keep_best:
        records = stop_early(
            records,
            task,
            patience=patience,
            keep_best=keep_best,
            metric=judged_by,
            maximize=largest,
        )
    for record in records:
        yield record.with_(
            cost=record.cost + begun.cost,
            seconds=record.seconds + begun.seconds,
            extra=record.extra | said,
        )


def _adamw(
    task: Task,
    loss_fn: Callable,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    rate: LRScheduler,
    data: _Shuffled,
    dropout: float,
    seed: int,
) -> Iterator[Record]:
    penalized = optimizer if isinstance(optimizer, PenalizedAdamW) else None
    per_epoch = len(data)
    for record in train(
        loss_fn,
        optimizer,
        Masked(data, seed) if dropout else data,
        epochs=epochs,
        evaluate=task.evaluate,
        evaluate_every=per_epoch,
        count=task.count,
    ):
        if record.step:
            rate.step()
        if record.step % per_epoch == 0:
            # As everywhere: that before the step; at the start, that of the start.
            penalty = 0.0
            if penalized is not None:
                penalty = penalized.penalty_value if record.step else penalized.penalty()
            yield record.with_(
                step=record.step // per_epoch,
                penalty=penalty,
                extra={"steps": record.step, **task.measures},
            )


def _rlhf(
    task: Task,
    loss_fn: Callable,
    steps: int,
    optimizer: RLHFOptimizer,
    batch: int | None,
    curvature_size: int | None,
    dropout: float,
    seed: int,
) -> Iterator[Record]:
    most = batch or task.samples
    size = most if curvature_size is None else min(curvature_size, most)
    whole: Iterable
    if not dropout and batch is None:
        whole = [list(batches(task.training, task.micro_batch))]
        generator = torch.Generator().manual_seed(seed)

        def curvature_batches(step: int) -> list[dict[str, Tensor]]:
            index = torch.randperm(task.samples, generator=generator)[:size]
            part = {key: value[index.to(value.device)] for key, value in task.training.items()}
            return list(batches(part, task.micro_batch))

    else:
        # A part of the step's own batches, so that both see one mask.
        steps_of = _Steps(task, size, seed, most)
        whole, curvature_batches = steps_of, steps_of.curvature
        if dropout:
            whole = Masked(steps_of, seed)

    per_epoch = 1 if batch is None else -(-task.samples // batch)
    for record in train(
        loss_fn,
        optimizer,
        whole,
        epochs=steps,
        evaluate=task.evaluate,
        evaluate_every=per_epoch,
        curvature_batches=curvature_batches if size < most else None,
        count=task.count,
    ):
        if record.step % per_epoch == 0:
            extra = {**record.extra, **task.measures}
            if batch is not None:
                extra["steps"] = record.step
            yield record.with_(step=record.step // per_epoch, extra=extra)
