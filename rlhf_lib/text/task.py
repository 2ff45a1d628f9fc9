"""What every task is: a module, its data as tensors, its loss, and how it is scored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cached import batches


class Task:
    """What `finetune` trains: a module with training and validation data.

    model: the whole model. module: what is trained of it, called with a batch's inputs; the model
        itself, or a part like `CachedTop`.
    training, validation: dicts of tensors with one length, `labels` among them.
    micro_batch: most samples in one graph; bounds the memory.

    Attributes: model, module, training, validation, micro_batch, device, samples (of the training
    set). A kind of task defines `loss_fn` and `correct`.
    """

    def __init__(
        self, model: nn.Module, module: nn.Module, training: dict[str, Tensor],
        validation: dict[str, Tensor], *, micro_batch: int = 64,
    ):  # fmt: skip
        self.model, self.module, self.micro_batch = model, module, micro_batch
        self.training, self.validation = training, validation
        self.device = next(model.parameters()).device
        self.samples = len(training["labels"])
        self.module.eval()
        self._start = {n: p.detach().clone() for n, p in self.trained()}

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean loss over the batch, the outputs that it is a function of)."""
        raise NotImplementedError

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many samples of the batch the outputs answer correctly."""
        raise NotImplementedError

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

    @torch.no_grad()
    def score(self, data: dict[str, Tensor]) -> tuple[float, float]:
        """(mean loss, share of correct answers) on a data set, without dropout."""
        was_training = self.module.training
        self.module.eval()
        total, loss, correct = 0, 0.0, 0
        try:
            for batch in batches(data, 2 * self.micro_batch):
                mean, outputs = self.loss_fn(batch)
                n = len(batch["labels"])
                total, loss = total + n, loss + n * float(mean)
                correct += self.correct(outputs, batch)
        finally:
            self.module.train(was_training)
        return loss / total, correct / total

    def evaluate(self) -> dict[str, float]:
        """Losses and accuracies on both sets, by the names that a Record has for them."""
        train_loss, train_accuracy = self.score(self.training)
        val_loss, val_accuracy = self.score(self.validation)
        return {
            "train_loss": train_loss, "train_accuracy": train_accuracy,
            "val_loss": val_loss, "val_accuracy": val_accuracy,
        }  # fmt: skip
