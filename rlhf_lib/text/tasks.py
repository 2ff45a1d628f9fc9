"""A task is a module, its data and its loss; `finetune` trains it and yields Records."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..optimizer import RLHFOptimizer
from ..record import Record
from ..train import train
from .cached import CachedTop, batches
from .datasets import TextDataset, encode

METHODS = ("rlhf", "adamw")


class ClassificationTask:
    """Classify texts with a pre-trained model: whole, or the top layers on cached activations.

    model, tokenizer: as `load_model("classification")` gives them.
    training, validation: data sets of texts and labels.
    top_layers: k >= 1 trains the top k layers, pooler and classifier on activations that are
        computed once, here; None trains all parameters.
    max_length: longer texts are cut to this many tokens.
    micro_batch: most samples in one graph; bounds the memory.

    Attributes: model, module (what is trained of it), training and validation (dicts of tensors
    with `labels`), samples (n of the training set).

    Raises ValueError where a data set has more classes than the model.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer,
        training: TextDataset,
        validation: TextDataset,
        *,
        top_layers: int | None = None,
        max_length: int = 64,
        micro_batch: int = 64,
    ):
        classes = model.config.num_labels
        for data in (training, validation):
            if len(data.label_names) > classes:
                raise ValueError(
                    f"{data.name} has {len(data.label_names)} classes, the model {classes}: load "
                    f"it with num_labels={len(data.label_names)}"
                )
        self.model, self.micro_batch, self.samples = model, micro_batch, len(training)
        self.module = model if top_layers is None else CachedTop(model, top_layers)
        self.device = next(model.parameters()).device
        self.training = self._tensors(tokenizer, training, max_length)
        self.validation = self._tensors(tokenizer, validation, max_length)
        self.module.eval()
        self._start = {n: p.detach().clone() for n, p in self.trained()}

    def _tensors(self, tokenizer, data: TextDataset, max_length: int) -> dict[str, Tensor]:
        encoded = {**encode(tokenizer, data.texts, max_length=max_length)}
        encoded["labels"] = torch.tensor(data.labels)
        encoded = {key: value.to(self.device) for key, value in encoded.items()}
        return self.module.cache(encoded) if isinstance(self.module, CachedTop) else encoded

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """(name, parameter) of all that is trained."""
        return [(n, p) for n, p in self.module.named_parameters() if p.requires_grad]

    @torch.no_grad()
    def reset(self) -> None:
        """Put the trained parameters back to where they were when the task was made."""
        for name, p in self.trained():
            p.copy_(self._start[name])

    @torch.no_grad()
    def distance(self) -> float:
        """2-norm of how far the trained parameters are from where they started."""
        return sum(float((p - self._start[n]).pow(2).sum()) for n, p in self.trained()) ** 0.5

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy, logits of shape (n, C)) of a batch."""
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        logits = self.module(**inputs)
        logits = logits if isinstance(logits, Tensor) else logits.logits
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    @torch.no_grad()
    def score(self, data: dict[str, Tensor]) -> tuple[float, float]:
        """(mean cross-entropy, share of correct answers) on a data set, without dropout."""
        was_training = self.module.training
        self.module.eval()
        try:
            parts = [
                (len(b["labels"]), *self.loss_fn(b), b["labels"])
                for b in batches(data, 2 * self.micro_batch)
            ]
        finally:
            self.module.train(was_training)
        total = sum(n for n, *_ in parts)
        loss = sum(n * float(loss) for n, loss, _, _ in parts) / total
        correct = sum(int((logits.argmax(1) == labels).sum()) for _, _, logits, labels in parts)
        return loss, correct / total

    def evaluate(self) -> dict[str, float]:
        """Losses and accuracies on both sets, by the names that a Record has for them."""
        train_loss, train_accuracy = self.score(self.training)
        val_loss, val_accuracy = self.score(self.validation)
        return {
            "train_loss": train_loss, "train_accuracy": train_accuracy,
            "val_loss": val_loss, "val_accuracy": val_accuracy,
        }  # fmt: skip


class _Shuffled:
    """Minibatches in a new seeded order at each pass."""

    def __init__(self, data: dict[str, Tensor], size: int, seed: int):
        self.data, self.size = data, size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.data["labels"]) // self.size)

    def __iter__(self):
        return batches(self.data, self.size, self.generator)


def finetune(
    task: ClassificationTask,
    method: str = "rlhf",
    *,
    steps: int = 12,
    lambda_reg: float = 0.0,
    regularizer: str = "l2sp",
    damping: float = 1.0,
    max_iter: int = 10,
    lr: float | None = None,
    batch_size: int = 16,
    curvature_size: int | None = 64,
    seed: int = 0,
    **options,
) -> Iterator[Record]:
    """Fine-tune from the task's starting point and yield Records with both sets' losses.

    task: what to train; it is reset first, so that runs can be compared.
    method: "rlhf": each of the `steps` is one step on the whole training set. "adamw": each is an
        epoch of minibatches, weight decay being `lambda_reg`.
    lambda_reg, regularizer, damping, max_iter: see RLHFOptimizer; `options` go there, too.
    lr: default 1 for rlhf, 5e-5 for adamw.
    batch_size: of adamw. curvature_size: samples that the curvature products of a step see, drawn
        anew at each step; None takes all.
    seed: of the order of samples. Dropout, where the module trains with it, draws from torch's
        own generator.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {METHODS}, came {method!r}")
    if method == "adamw" and options:
        raise TypeError(f"adamw has no option {', '.join(sorted(options))}; RLHFOptimizer may have")
    task.reset()
    if method == "adamw":
        optimizer = torch.optim.AdamW(
            [p for _, p in task.trained()], lr=5e-5 if lr is None else lr, weight_decay=lambda_reg
        )
        data = _Shuffled(task.training, batch_size, seed)
        per_epoch = len(data)
        for record in train(
            task.loss_fn, optimizer, data, epochs=steps, evaluate=task.evaluate,
            evaluate_every=per_epoch,
        ):  # fmt: skip
            if record.step % per_epoch == 0:
                yield record.with_(step=record.step // per_epoch, extra={"steps": record.step})
        return
    optimizer = RLHFOptimizer(
        task.trained(), lr=1.0 if lr is None else lr, lambda_reg=lambda_reg,
        regularizer=regularizer, damping=damping, max_iter=max_iter, **options,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    whole = [list(batches(task.training, task.micro_batch))]

    def curvature_batches(step: int):
        index = torch.randperm(task.samples, generator=generator)[:curvature_size]
        part = {key: value[index.to(value.device)] for key, value in task.training.items()}
        return list(batches(part, task.micro_batch))

    few = curvature_size is not None and curvature_size < task.samples
    yield from train(
        task.loss_fn, optimizer, whole, epochs=steps, evaluate=task.evaluate,
        curvature_batches=curvature_batches if few else None,
    )  # fmt: skip
