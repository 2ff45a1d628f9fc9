"""Classify texts: any number of classes, the whole model or its top layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .cached import CachedTop
from .datasets import TextDataset, encode
from .freezing import freeze
from .task import Task


class ClassificationTask(Task):
    """Classify texts with a pre-trained model: whole, or the top layers on cached activations.

    model, tokenizer: as `load_model("classification")` gives them.
    training, validation: data sets of texts and labels.
    top_layers: k >= 1 trains the top k layers, pooler and classifier on activations that are
        computed once, here; None trains all parameters.
    frozen: parts not to be trained, as `freeze` names them ("embeddings", "biases", "weights",
        "body", ...), the rest is trained; None leaves `requires_grad` of each parameter as it is.
    label_smoothing: share of every training label that is spread evenly over all classes; scores
        are against the labels themselves.
    max_length: longer texts are cut to this many tokens.
    micro_batch: most samples in one graph; bounds the memory.

    Raises ValueError where the data sets have other classes than each other, or more than the
    model, and for a share of smoothing outside [0, 1).
    """

    classes_last = True

    def __init__(
        self,
        model: nn.Module,
        tokenizer,
        training: TextDataset,
        validation: TextDataset,
        *,
        top_layers: int | None = None,
        frozen: Iterable[str] | None = None,
        label_smoothing: float = 0.0,
        max_length: int = 64,
        micro_batch: int = 64,
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing: expected a share in [0, 1), came {label_smoothing!r}"
            )
        self.label_smoothing = label_smoothing
        if validation.label_names != training.label_names:
            raise ValueError(
                f"{validation.name} has the classes {validation.label_names}, {training.name} "
                f"{training.label_names}: load it with label_names=training.label_names"
            )
        classes = model.config.num_labels
        for data in (training, validation):
            if len(data.label_names) > classes:
                raise ValueError(
                    f"{data.name} has {len(data.label_names)} classes, the model {classes}: load "
                    f"it with num_labels={len(data.label_names)}"
                )
        module = model if top_layers is None else CachedTop(model, top_layers)
        if frozen is not None:
            freeze(module, frozen)
        device = next(model.parameters()).device

        def tensors(data: TextDataset) -> dict[str, Tensor]:
            encoded = {**encode(tokenizer, data.texts, max_length=max_length)}
            encoded["labels"] = torch.tensor(data.labels)
            encoded = {key: value.to(device) for key, value in encoded.items()}
            return module.cache(encoded) if isinstance(module, CachedTop) else encoded

        super().__init__(
            model, module, tensors(training), tensors(validation), micro_batch=micro_batch
        )

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy, logits of shape (n, C)) of a batch."""
        logits = self._logits(batch)
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`loss_fn` against smoothed labels: (1 - s) times it + s times the mean of -log p_c over
        all classes c (Szegedy et al., 2016, section 7)."""
        logits = self._logits(batch)
        loss = nn.functional.cross_entropy(
            logits, batch["labels"], label_smoothing=self.label_smoothing
        )
        return loss, logits

    def _logits(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self.module(**{key: value for key, value in batch.items() if key != "labels"})
        return logits if isinstance(logits, Tensor) else logits.logits

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many texts have their largest logit at their label."""
        return int((outputs.argmax(1) == batch["labels"]).sum())
