"""Notebook 13's three tasks: their samples, dealt by a seed, and the loss of each unseen one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rlhf_lib import text


@dataclass(frozen=True)
class Kind:
    """What makes a task.

    Attributes:
        data: name of an embedded data set. model: the kind that `load_model` takes.
        build: makes the task. n: training samples. options: of `build`, how samples are cut.
        probed: whether its head is linear, so that a probe can be fitted.
    """

    data: str
    model: str
    build: type[text.Task]
    n: int
    options: dict[str, int]
    probed: bool


TASKS = {
    "sentiment": Kind(
        "course-reviews", "classification", text.ClassificationTask, 48, {"max_length": 32}, True
    ),
    "entities": Kind("course-entities", "ner", text.EntityTask, 40, {"max_length": 40}, True),
    "questions": Kind("course-questions", "qa", text.QuestionTask, 16, {"max_length": 192}, False),
}


@lru_cache
def _splits(name: str) -> Any:
    return text.load_dataset(TASKS[name].data)


@lru_cache(maxsize=64)
def deal(name: str, seed: int, tunes: bool) -> tuple[Any, Any]:
    """Training samples drawn by a seed, and half of the held-out ones: one half to tune by, the
    other to judge by."""
    first, second = _splits(name)
    half = [i for i in range(len(second)) if (i % 2 == 0) == tunes]
    return first.subset(TASKS[name].n, seed=seed), second.take(half)


def make(name: str, seed: int, tunes: bool) -> text.Task:
    """The task on the top layer of the embedded BERT. It is scored only while `scored` is set."""
    kind = TASKS[name]
    training, unseen = deal(name, seed, tunes)
    labels = {} if kind.model == "qa" else {"num_labels": len(training.label_names)}
    model, tokenizer = text.load_model(kind.model, seed=seed, **labels)
    task = SCORED[kind.build](model, tokenizer, training, unseen, top_layers=1, **kind.options)
    task.scored = True
    return task


def _quiet(build: type[text.Task]) -> type[text.Task]:
    class Quiet(build):  # type: ignore[misc, valid-type]
        scored = True

        def evaluate(self) -> dict[str, Any]:
            return super().evaluate() if self.scored else {}

    return Quiet


SCORED = {kind.build: _quiet(kind.build) for kind in TASKS.values()}


@torch.no_grad()
def every_loss(task: text.Task) -> Tensor:
    """The loss of each held-out sample (n,), float64, so weighted that their mean is the loss."""
    found = []
    for batch, _, outputs in task.outputs(task.validation):
        labels = batch["labels"]
        if isinstance(task, text.QuestionTask):
            outputs = outputs.masked_fill(batch["padding"][:, :, None], -torch.inf)
        elif outputs.ndim > 2:
            outputs = outputs.transpose(1, 2)
        losses = torch.nn.functional.cross_entropy(outputs, labels, reduction="none")
        found.append(losses.double().reshape(len(labels), -1).sum(1))
    counted = sum(task.count(batch) for batch in text.batches(task.validation, task.micro_batch))
    places = 2 if isinstance(task, text.QuestionTask) else 1
    losses = torch.cat(found)
    return losses * len(losses) / (counted * places)
