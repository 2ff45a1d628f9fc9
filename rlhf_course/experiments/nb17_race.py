"""The race on the digits."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from .nb09_digits import loss_of, network, penalty, shuffled
from .race import Race

SAMPLES = 400  # training images of a run
TUNING, TRAINING = 600, 797  # images to tune with, and to draw the judged runs from; others test


@cache
def images() -> tuple[Tensor, Tensor]:
    """All digits, (1797, 64) in [0, 1] and their labels, in one random order."""
    from sklearn.datasets import load_digits

    return shuffled(*load_digits(return_X_y=True))


def rows(seed: int, tunes: bool) -> dict[str, list[int]]:
    """Training and test images of a run: indices into `images`.

    What tunes has images of its own, some to select by. What judges draws its training images from
    a second part, and is tested on all of a third.
    """
    order = torch.Generator().manual_seed(seed)
    if tunes:
        drawn = torch.randperm(TUNING, generator=order).tolist()
        return {"train": drawn[:SAMPLES], "test": drawn[SAMPLES:]}
    drawn = TUNING + torch.randperm(TRAINING, generator=order)[:SAMPLES]
    return {"train": drawn.tolist(), "test": list(range(TUNING + TRAINING, len(images()[1])))}


class DigitsRace(Race):
    """Images of one seed, and the network at its start.

    Args:
        weight: λ of the penalty λ|W|²/2.
    """

    samples = SAMPLES

    def __init__(self, seed: int, tunes: bool, weight: float):
        inputs, labels = images()
        drawn = rows(seed, tunes)
        self.train, self.test = ((inputs[drawn[r]], labels[drawn[r]]) for r in ("train", "test"))
        self.seed, self.weight = seed, weight
        self.model = network(seed)
        self.named = list(self.model.named_parameters())

    def take(self, part: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.train if part is None else (self.train[0][part], self.train[1][part])

    def loss_fn(self, batch: Any) -> tuple[Tensor, Tensor]:
        return loss_of(self.model)(batch)

    def penalty(self) -> Tensor | float:
        return penalty(self.model, self.weight) if self.weight else 0.0

    def penalized(self) -> dict[str, Any]:
        return {"lambda_reg": self.weight, "regularizer": "l2" if self.weight else None}

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """Objective on the training images, and the loss of each test image."""
        logits = self.model(self.test[0])
        losses = nn.functional.cross_entropy(logits, self.test[1], reduction="none")
        return {"objective": float(self.objective(self.train)), "test_losses": losses}
