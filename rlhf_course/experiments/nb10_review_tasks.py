"""Notebook 10's tasks: the reviews with more or fewer wrong labels, few or more layers trained."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch

from rlhf_lib import text
from rlhf_lib.panels.histogram import size_counts
from rlhf_lib.record import Record

LENGTH = 22  # tokens; one review in thirteen is longer and loses its end


class ReviewTasks:
    """`tasks(layers, noise)`: a task that trains the top layers on reviews with wrong labels.

    A task is made when it is first asked for, which takes seconds, and kept. Those that train
    equally many layers share one model and the activations below it, because these do not depend
    on the labels; every run starts by putting the weights back.

    sentences, held_out: how many reviews are trained on, and how many judge.
    name, pooling, seed: as for `load_model`; the seed also draws the reviews and the wrong labels.
    """

    def __init__(
        self,
        sentences: int = 200,
        held_out: int = 200,
        *,
        name: str = "minilm",
        pooling: str | text.Pooling | None = "model",
        seed: int = 0,
    ):
        self.name, self.pooling, self.seed = name, pooling, seed
        whole = text.load_dataset("course-reviews")
        self.clean = whole.train.subset(sentences, seed=seed)
        self.validation = whole.validation.subset(held_out, seed=seed)
        self._kept: dict[tuple[int, float], text.ClassificationTask] = {}

    def training(self, noise: float) -> text.TextDataset:
        """The training reviews, this share of their labels wrong."""
        return self.clean.with_label_noise(noise, seed=self.seed)

    def __call__(self, layers: int, noise: float) -> text.ClassificationTask:
        if (layers, noise) not in self._kept:
            data = self.training(noise)
            like = next((t for (k, _), t in self._kept.items() if k == layers), None)
            if like is None:
                # A model for each number of layers: what one trains is frozen in another.
                model, tokenizer = text.load_model(
                    "classification", self.name, pooling=self.pooling, seed=self.seed
                )
                task = text.ClassificationTask(
                    model, tokenizer, data, self.validation, top_layers=layers, max_length=LENGTH
                )
            else:
                task = copy.copy(like)
                labels = torch.tensor(data.labels, device=task.device)
                task.training = like.training | {"labels": labels}
            self._kept[layers, noise] = task
        return self._kept[layers, noise]


def with_weights(task: text.Task, records: Iterable[Record]) -> Iterator[Record]:
    """The records of a run of this task, `size_counts` of the weights in their `extra`.

    "weights before" and "weights now" are those of the trained weights, "change" those of the
    difference. Before is where the first record finds them.
    """
    start = before = None
    for record in records:
        now = [p.detach() for _, p in task.trained()]
        if start is None:
            start, before = [p.clone() for p in now], size_counts(now)
        counts = {
            "weights before": before,
            "weights now": size_counts(now),
            "change": size_counts(p - s for p, s in zip(now, start, strict=True)),
        }
        yield record.with_(extra=record.extra | counts)
