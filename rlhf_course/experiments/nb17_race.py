"""Methods that race on the digits: to one objective, within gradients or within CPU seconds.

Every method is written as torch's user would write it, with torch's fused updates, and nothing is
evaluated on the way: seconds are those of the method alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_lib.objective import assign, flatten
from rlhf_lib.optimizer import RLHFOptimizer

from .nb09_digits import loss_of, network, penalty, shuffled

SAMPLES = 400  # training images of a run
TUNING, TRAINING = 600, 797  # images to tune with, and to draw the judged runs from; others test

# Those "with decay" take their rate linearly to 0 as the budget is spent.
FIRST_ORDER: dict[str, Callable[[list, float], torch.optim.Optimizer]] = {
    "gradient descent": lambda p, rate: torch.optim.SGD(p, rate, fused=True),
    "SGD with momentum": lambda p, rate: torch.optim.SGD(p, rate, momentum=0.9, fused=True),
    "Adam": lambda p, rate: torch.optim.Adam(p, rate, fused=True),
    "Adam with decay": lambda p, rate: torch.optim.Adam(p, rate, fused=True),
    "AdamW with decay": lambda p, rate: torch.optim.AdamW(p, rate, fused=True),
}
GRADIENTS, SECONDS = "gradients", "seconds"


@dataclass
class Purse:
    """What a run may spend.

    Attributes:
        unit: GRADIENTS of the training set, or CPU SECONDS of this process.
        amount: how many of them.
        used: gradients so far, whatever the unit.
    """

    unit: str
    amount: float
    used: float = 0.0

    def __post_init__(self) -> None:
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self._start

    def share(self, more: float = 0.0) -> float:
        """The part that is spent, in [0, 1] within the budget, with so many gradients more."""
        spent = self.used + more if self.unit == GRADIENTS else self.seconds
        return spent / self.amount - 1e-9


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


class Race:
    """The problem of one seed: images, a network's start, and the objective.

    Args:
        weight: λ of the penalty λ|W|²/2.
    """

    def __init__(self, seed: int, tunes: bool, weight: float):
        inputs, labels = images()
        drawn = rows(seed, tunes)
        self.train, self.test = ((inputs[drawn[r]], labels[drawn[r]]) for r in ("train", "test"))
        self.seed, self.weight = seed, weight
        self.model = network(seed)

    def objective(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean loss of a batch with the whole penalty."""
        loss = loss_of(self.model)(batch)[0]
        return loss + penalty(self.model, self.weight) if self.weight else loss

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """Objective on the training images, and the loss of each test image."""
        logits = self.model(self.test[0])
        losses = nn.functional.cross_entropy(logits, self.test[1], reduction="none")
        return {"objective": float(self.objective(self.train)), "test_losses": losses}

    def first_order(self, method: str, rate: float, batch: int, purse: Purse) -> None:
        """A run of a method of FIRST_ORDER on shuffled batches of this size."""
        params = list(self.model.parameters())
        optimizer = FIRST_ORDER[method](params, rate)
        shuffle, decays = torch.Generator().manual_seed(self.seed), method.endswith("decay")
        while True:
            for part in torch.randperm(SAMPLES, generator=shuffle).split(batch):
                more = len(part) / SAMPLES
                if purse.share(more) > 1:
                    return
                if decays:
                    optimizer.param_groups[0]["lr"] = rate * max(1 - purse.share(), 0.0)
                loss = self.objective((self.train[0][part], self.train[1][part]))
                for p, gradient in zip(params, torch.autograd.grad(loss, params), strict=True):
                    p.grad = gradient
                optimizer.step()
                purse.used += more

    def lbfgs(self, history: int, purse: Purse) -> None:
        """L-BFGS with a strong Wolfe line search on all images; it ends at its best point."""
        params = list(self.model.parameters())
        optimizer = torch.optim.LBFGS(
            params,
            max_iter=10**6,
            max_eval=10**6,
            history_size=history,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )
        best, at = float("inf"), flatten(p.detach() for p in params)

        def closure() -> Tensor:
            nonlocal best, at
            if purse.share(1.0) > 1:
                raise _SpentError
            loss = self.objective(self.train)
            for p, gradient in zip(params, torch.autograd.grad(loss, params), strict=True):
                p.grad = gradient
            purse.used += 1
            if (value := loss.item()) < best:
                best, at = value, flatten(p.detach() for p in params)
            return loss

        try:
            optimizer.step(closure)
        except _SpentError:
            pass
        finally:
            assign(params, at)

    def rlhf(self, damping: float, products: int, curvature: int, purse: Purse) -> None:
        """RLHF: the gradient on all images, curvature on a fresh draw of them each step."""
        params = list(self.model.parameters())
        optimizer = RLHFOptimizer(
            params,
            lambda_reg=self.weight,
            regularizer="l2" if self.weight else None,
            damping=damping,
            max_iter=products,
        )
        draw = torch.Generator().manual_seed(self.seed)
        before = flatten(p.detach() for p in params)
        while True:
            part = torch.randperm(SAMPLES, generator=draw)[:curvature]
            few = [(self.train[0][part], self.train[1][part])] if curvature < SAMPLES else None
            optimizer.step(loss_of(self.model), batches=[self.train], curvature_batches=few)
            used = optimizer.record.cost / SAMPLES
            if purse.share(used - purse.used) > 1:
                assign(params, before)  # this step was not paid for
                return
            purse.used = used
            before = flatten(p.detach() for p in params)


class _SpentError(Exception):
    """The budget is spent."""
