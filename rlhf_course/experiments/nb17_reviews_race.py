"""The race on a BERT: its top layer and head on reviews with wrong labels, from a probe."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rlhf_lib import text
from rlhf_lib.regularizers import penalized

from .nb12_cures import PROBE_LAMBDA
from .race import Race

SENTENCES, NOISE, LENGTH = 128, 0.2, 22


def drawn(seed: int, tunes: bool) -> text.TextDataset:
    """Training reviews of a seed, from one half of them to tune with, from the other to judge."""
    both = text.load_dataset("course-reviews").train
    half = both.take([i for i in range(len(both)) if (i % 2 == 0) == tunes])
    return half.subset(SENTENCES, seed=seed)


@lru_cache(maxsize=1)
def _task(seed: int, tunes: bool) -> text.ClassificationTask:
    training = drawn(seed, tunes).with_label_noise(NOISE, seed=seed)
    model, tokenizer = text.load_model("classification")
    return text.ClassificationTask(
        model, tokenizer, training, training.subset(2), top_layers=1, max_length=LENGTH
    )


class ReviewsRace(Race):
    """Cross-entropy plus half λ times the squared distance from the probe, without biases and
    LayerNorm: L2-SP.

    Args:
        weight: λ.
    """

    samples = SENTENCES

    def __init__(self, seed: int, tunes: bool, weight: float):
        self.seed, self.weight = seed, weight
        self.task = _task(seed, tunes)
        text.start_head(self.task, "probe", PROBE_LAMBDA)
        self.named = self.task.trained()
        self.held = [
            (p, p.detach().clone())
            for p, held in zip(self.params, penalized(self.named), strict=True)
            if held
        ]

    def take(self, part: Tensor | None = None) -> dict[str, Tensor]:
        whole = self.task.training
        return whole if part is None else {key: value[part] for key, value in whole.items()}

    def loss_fn(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.task.loss_fn(batch)

    def penalty(self) -> Tensor | float:
        distances = [(p - start).square().sum() for p, start in self.held]
        return self.weight / 2 * torch.stack(distances).sum()

    def penalized(self) -> dict[str, Any]:
        return {"lambda_reg": self.weight, "regularizer": "l2sp"}

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """Objective on the training reviews."""
        return {"objective": float(self.objective(self.take()))}
