"""Classify texts: any number of classes, the whole model or its top layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cached import CachedTop
from .datasets import TextDataset, encode
from .task import Task


class ClassificationTask(Task):
    """Classify texts with a pre-trained model: whole, or the top layers on cached activations.

    model, tokenizer: as `load_model("classification")` gives them.
    training, validation: data sets of texts and labels.
    top_layers: k >= 1 trains the top k layers, pooler and classifier on activations that are
        computed once, here; None trains all parameters.
    max_length: longer texts are cut to this many tokens.
    micro_batch: most samples in one graph; bounds the memory.

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
        module = model if top_layers is None else CachedTop(model, top_layers)
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
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        logits = self.module(**inputs)
        logits = logits if isinstance(logits, Tensor) else logits.logits
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many texts have their largest logit at their label."""
        return int((outputs.argmax(1) == batch["labels"]).sum())
