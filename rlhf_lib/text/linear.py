"""A task linearized at the present point of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..linearized import CrossEntropy, LinearModel, linearize
from .task import BESIDE, IGNORED

if TYPE_CHECKING:
    from .task import Task

# By problem_type, of other tasks than those of classes: names of losses of `linearize`.
LOSSES = {"regression": "mse", "multi_label_classification": "binary"}


def linearize_task(task: Task, **options: Any) -> LinearModel:
    """The task's module linearized, with the task's training and validation data and its loss.

    Training labels count as its `training_loss` has them, smoothed; held-out ones as they are.

    Raises TypeError for a task whose loss is no sum over the module's outputs that is known here, a
    cross-entropy over the last dimension, a binary one or squares, or one with class weights or
    windows.
    """
    loss = LOSSES.get(getattr(task, "problem_type", ""))
    if loss is None and not task.cross_entropy:
        raise TypeError(
            "expected a task whose loss is a cross-entropy over its module's outputs, got "
            f"{type(task).__name__}: linearize its module yourself, linearize(module, (inputs, "
            "targets), loss=function of outputs and targets)"
        )
    if task.row_weights(task.training) is not None:
        raise TypeError(
            "expected a task whose rows all count alike, got class weights or windows, which the "
            "linearized model has not: leave class_weights and overlap out"
        )
    smoothing = getattr(task, "label_smoothing", 0.0)
    options.setdefault("micro_batch", task.micro_batch)
    options = {key: value for key, value in options.items() if value is not None}
    return linearize(
        task.module,
        _data(task.training),
        _data(task.validation),
        loss=CrossEntropy(IGNORED, smoothing) if loss is None else loss,
        params=task.trained(),
        **options,
    )


def _data(batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    inputs = {key: value for key, value in batch.items() if key not in BESIDE}
    labels = batch["labels"]
    return inputs, labels if labels.is_floating_point() else labels.to(torch.long)
