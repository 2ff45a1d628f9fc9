"""A task's fits along a path of lambdas: what `select_lambda` needs to choose one for a model."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from ..optimizer import RLHFOptimizer
from ..select.grid import lambda_grid
from ..train import train
from .cached import batches
from .probe import PROBE_LAMBDA, start_head
from .scoring import Metric, set_metric
from .task import Task
from .turns import in_turn


class LambdaPathFit:
    """The `fit` of `select_lambda` for a task: RLHF steps at each lambda, from large to small.

        task = ClassificationTask(model, tokenizer, reviews, reviews, top_layers=1)
        fit = LambdaPathFit(task, steps=3)
        select_lambda(fit, task.training["labels"], fit.grid(5))

    Folds are parts of the task's *training* data; its validation data is not looked at. Each path
    begins at the task's starting point with a fresh optimizer; the next lambda goes on from the
    weights (and the damping) that the last one ended with. The "SP" penalties pull to the task's
    start throughout.

    task: any Task; its weights are back at their start after each path. Samples are its rows: of
        rows that belong together (windows of one text) hand select_lambda `groups=task.groups`, or
        they may come into different folds.
    steps: RLHF steps at each lambda. first_steps: at the largest, which begins at the start;
        default the same.
    regularizer, damping, max_iter: see RLHFOptimizer; `options` go there, too.
    start, probe_lambda: of the head: see `start_head`; the probe learns from a path's training
        samples alone.
    curvature_size: samples that the curvature products of a step see, drawn anew at each step by
        the seed; None takes all.

    metric, maximize: a further metric that scores have, see `set_metric`; choose by it with
        select_lambda's own `metric` and `maximize`.

    Each score has what the task's `assess` finds on the left-out samples, "loss", "accuracy" and
    more, "train_loss", "distance" from the start (2-norm), and "cost", in gradients of the path's
    training samples since its beginning.
    """

    def __init__(
        self,
        task: Task,
        *,
        regularizer: str = "l2sp",
        steps: int = 4,
        first_steps: int | None = None,
        damping: float = 1.0,
        max_iter: int = 10,
        curvature_size: int | None = 64,
        start: str | None = None,
        probe_lambda: float = PROBE_LAMBDA,
        metric: Metric = "loss",
        maximize: bool | None = None,
        **options: Any,
    ):
        set_metric(task, metric, maximize)  # a name that is none is found before any fit
        self.metric, self.maximize = metric, maximize
        first_steps = steps if first_steps is None else first_steps
        if min(steps, first_steps) < 1:
            raise ValueError(f"expected at least one step, got {min(steps, first_steps)}")
        self.task, self.steps, self.first_steps = task, steps, first_steps
        self.curvature_size = curvature_size
        self.start, self.probe_lambda = start, probe_lambda
        self.options: dict[str, Any] = {
            "regularizer": regularizer,
            "damping": damping,
            "max_iter": max_iter,
            **options,
        }

    def grid(self, number: int = 20, ratio: float = 1e-3) -> list[float]:
        """Lambdas for this task and its penalty, from where that leaves nothing: see
        :func:`~rlhf_lib.select.lambda_grid`, at the path's start on the whole training set."""
        task = self.task
        try:
            start_head(task, self.start, self.probe_lambda)
            return lambda_grid(
                task.training_loss,
                task.trained(),
                list(batches(task.training, task.micro_batch)),
                regularizer=self.options["regularizer"],
                count=task.count,
                number=number,
                ratio=ratio,
            )
        finally:
            task.reset()

    def __call__(
        self, train_index: Tensor, validation_index: Tensor, lambdas: list[float], seed: int
    ) -> Iterator[dict[str, float]]:
        """Yield the scores of each lambda in turn."""
        return in_turn(self.task, lambda: self._path(train_index, validation_index, lambdas, seed))

    def _path(
        self, train_index: Tensor, validation_index: Tensor, lambdas: list[float], seed: int
    ) -> Generator[dict[str, float]]:
        task = self.task
        set_metric(task, self.metric, self.maximize)
        training, left_out = (_rows(task.training, i) for i in (train_index, validation_index))
        whole = [list(batches(training, task.micro_batch))]
        generator, n = torch.Generator().manual_seed(seed), len(train_index)

        def curvature_batches(step: int) -> list[dict[str, Tensor]]:
            index = torch.randperm(n, generator=generator)[: self.curvature_size]
            return list(batches(_rows(training, index), task.micro_batch))

        few = self.curvature_size is not None and self.curvature_size < n
        loss_fn = task.training_loss
        terms = sum(task.count(batch) for batch in whole[0])
        begun = start_head(task, self.start, self.probe_lambda, training=training)
        optimizer = RLHFOptimizer(
            task.trained(), lambda_reg=lambdas[0], count=task.count, **self.options
        )
        try:
            for i, value in enumerate(lambdas):
                for group in optimizer.param_groups:
                    group["lambda_reg"] = value
                *_, last = train(
                    loss_fn,
                    optimizer,
                    whole,
                    epochs=self.steps if i else self.first_steps,
                    curvature_batches=curvature_batches if few else None,
                    count=task.count,
                )
                yield {
                    **task.assess(left_out),
                    "train_loss": task.score(training)[0],
                    "distance": task.distance(),
                    "cost": (begun.cost + last.cost) / terms,
                }
        finally:
            task.reset()


def _rows(data: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {key: value[index.to(value.device)] for key, value in data.items()}
