"""The experiment of notebook 09: scikit-learn's digits, a small network, a budget of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from rlhf_lib.optimizer import RLHFOptimizer
from rlhf_lib.record import Record
from rlhf_lib.train import train

SAMPLES = 1000  # for training; the other 797 images validate
WEIGHT = 1e-3  # lambda of the objective that all methods minimize
BUDGET = 60  # gradients of the training set


class Digits:
    """Images of 8 x 8 pixels, ten classes; every method minimizes cross-entropy + λ|W|²/2.

    The penalty leaves biases out, as the library's does. All runs are float64 on the CPU, cost is
    counted in gradients of one image, and records carry the whole objective as ``train_loss``.

    Args:
        images, labels: ``*sklearn.datasets.load_digits(return_X_y=True)``.
        hidden: units of the hidden layer.

    Attributes:
        train, validation: (inputs (n, 64) in [0, 1], labels (n,)).
    """

    def __init__(self, images, labels, hidden: int = 32):
        inputs, labels = shuffled(images, labels)
        self.train = inputs[:SAMPLES], labels[:SAMPLES]
        self.validation = inputs[SAMPLES:], labels[SAMPLES:]
        self.hidden = hidden

    def network(self, seed: int, dropout: float = 0.0) -> nn.Sequential:
        """As :func:`network`, of this many hidden units."""
        return network(seed, self.hidden, dropout)

    def draw(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random batch of the training images."""
        chosen = torch.randperm(SAMPLES, generator=generator)[:size]
        return self.train[0][chosen], self.train[1][chosen]

    def evaluate(self, model: nn.Module, weight: float = WEIGHT) -> Callable[[], dict]:
        """For `train`: the objective on all training images, loss and accuracy on the others."""

        @torch.no_grad()
        def measure() -> dict[str, float]:
            images, labels = self.validation
            logits = model(images)
            return {
                "train_loss": float(loss_of(model)(self.train)[0] + penalty(model, weight)),
                "val_loss": float(nn.functional.cross_entropy(logits, labels)),
                "val_accuracy": float((logits.argmax(1) == labels).double().mean()),
            }

        return measure

    def first_order(
        self, make: Callable, seed: int, size: int = 100, budget: float = BUDGET
    ) -> list[Record]:
        """A run of a torch optimizer, `make(parameters)`, on shuffled batches of this size.

        Evaluated after each pass over the data, or each step where a batch is the whole set.
        """
        model, shuffle = self.network(seed), torch.Generator().manual_seed(seed)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                order = torch.randperm(SAMPLES, generator=shuffle)
                for part in order.split(size):
                    yield self.train[0][part], self.train[1][part]

        def objective(batch):
            loss, outputs = loss_of(model)(batch)
            return loss + penalty(model, WEIGHT), outputs

        records = train(
            objective,
            make(model.parameters()),
            batches(),
            evaluate=self.evaluate(model),
            evaluate_every=SAMPLES // size,
        )
        return [r for r in within(records, budget) if r.train_loss is not None]

    def rlhf(
        self,
        seed: int,
        curvature_size: int,
        *,
        lambda_reg: float = WEIGHT,
        budget: float = BUDGET,
        **settings,
    ) -> Iterator[Record]:
        """A run of RLHFOptimizer: gradient on all images, curvature on a new batch each step."""
        model, draw = self.network(seed), torch.Generator().manual_seed(seed)
        optimizer = RLHFOptimizer(
            model.parameters(), lambda_reg=lambda_reg, regularizer="l2", **settings
        )
        part = None
        if curvature_size < SAMPLES:

            def part(step):
                return [self.draw(curvature_size, draw)]

        records = train(
            loss_of(model),
            optimizer,
            [self.train],
            epochs=10**6,
            curvature_batches=part,
            evaluate=self.evaluate(model, lambda_reg),
        )
        yield from within(records, budget)


def shuffled(images, labels) -> tuple[Tensor, Tensor]:
    """Images (n, 64) of 0 to 16 in [0, 1], and their labels, in one random order."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return (torch.as_tensor(images) / 16)[order], torch.as_tensor(labels)[order]


def network(seed: int, hidden: int = 32, dropout: float = 0.0) -> nn.Sequential:
    """64 inputs, one hidden tanh layer, 10 logits, float64; initialized from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # By name, because the default dtype would decide which numbers are drawn.
        first = nn.Linear(64, hidden, dtype=torch.float64)
        second = nn.Linear(hidden, 10, dtype=torch.float64)
    middle = [nn.Tanh(), nn.Dropout(dropout)] if dropout else [nn.Tanh()]
    return nn.Sequential(first, *middle, second)


def loss_of(model: nn.Module) -> Callable:
    """batch -> (mean cross-entropy, logits), as the library wants it."""

    def loss(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        logits = model(batch[0])
        return nn.functional.cross_entropy(logits, batch[1]), logits

    return loss


def penalty(model: nn.Module, weight: float) -> Tensor:
    """λ|W|²/2 over the weight matrices."""
    return weight / 2 * sum(p.square().sum() for p in model.parameters() if p.ndim > 1)


def within(records: Iterator[Record], budget: float) -> Iterator[Record]:
    """The records whose cost is inside the budget, in gradients of the training set."""
    for record in records:
        if record.cost > budget * SAMPLES * (1 + 1e-9):
            return
        yield record
