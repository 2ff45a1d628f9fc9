"""The two training problems: digits with an MLP, and the course's reviews with a BERT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lib import text


@dataclass
class Task:
    """A model at its seeded start, with data and budget.

    Attributes:
        named: (name, parameter) of what is trained. loss_fn: batch -> (mean loss, outputs).
        training: dict of tensors. evaluate: names of Record -> values, on both whole sets.
        batch_size: of the first-order methods. curvature_samples: that the products of a
        second-order step see, drawn anew at each step.
        budget: in gradients of the whole training set.
    """

    title: str
    named: list[tuple[str, nn.Parameter]]
    loss_fn: Callable
    training: dict[str, Tensor]
    evaluate: Callable[[], dict[str, float]]
    batch_size: int
    curvature_samples: int
    budget: float

    @property
    def samples(self) -> int:
        """Size of the training set."""
        return len(self.training["labels"])

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for _, p in self.named)

    def draw(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """A random part of the training set."""
        index = torch.randperm(self.samples, generator=generator)[:size]
        return {key: value[index] for key, value in self.training.items()}


class Minibatches:
    """All of a data set in batches, in a new seeded order at each pass."""

    def __init__(self, data: dict[str, Tensor], size: int, seed: int):
        self.data, self.size = data, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.data["labels"]) // self.size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return text.batches(self.data, self.size, self.generator)


def digits(seed: int, *, fast: bool = False) -> Task:
    """scikit-learn's digits, 64-32-10 with tanh; the seed makes the weights, the split stays."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]
    n = 60 if fast else 1000
    training, held_out = {"x": x[:n], "labels": y[:n]}, {"x": x[1000:], "labels": y[1000:]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))

    def loss_fn(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits = model(batch["x"])
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    @torch.no_grad()
    def score(data: dict[str, Tensor]) -> tuple[float, float]:
        loss, logits = loss_fn(data)
        return float(loss), float((logits.argmax(1) == data["labels"]).float().mean())

    def evaluate() -> dict[str, float]:
        (train_loss, _), (val_loss, val_accuracy) = score(training), score(held_out)
        return {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}

    return Task(
        f"digits, MLP 64-32-10, {n} training images",
        list(model.named_parameters()),
        loss_fn,
        training,
        evaluate,
        batch_size=50,
        curvature_samples=n // 4,
        budget=4 if fast else 100,
    )


def reviews(seed: int, *, fast: bool = False) -> Task:
    """The course's reviews, a BERT's top layer on cached activations (notebook 10).

    The seed draws the training reviews and the classifier's random start. Labels are clean.
    """
    model, tokenizer = text.load_model(
        "classification", name="tiny-random" if fast else "minilm", pooling="model", seed=seed
    )
    data = text.load_dataset("course-reviews")
    n, held_out = (24, 24) if fast else (100, 200)
    task = text.ClassificationTask(
        model,
        tokenizer,
        data.train.subset(n, seed=seed),
        data.validation.subset(held_out, seed=0),
        top_layers=1,
        max_length=32,
    )
    return Task(
        f"reviews, top layer of {'a tiny' if fast else 'the embedded'} BERT, {n} training reviews",
        task.trained(),
        task.loss_fn,
        task.training,
        task.evaluate,
        batch_size=16,
        curvature_samples=min(32, n),
        budget=4 if fast else 20,
    )


TASKS: dict[str, Callable[..., Task]] = {"digits": digits, "reviews": reviews}
