"""Notebook 12's task: BERT's pooler and a new classifier on stored outputs of everything below."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlhf_lib import text
from rlhf_lib.text.task import Task


class Head(nn.Module):
    """Pooler, dropout and classifier: tanh of a linear map of the first token's output, logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.pooler, self.classifier = model.bert.pooler.dense, model.classifier
        self.dropout = nn.Dropout(0.0)

    def forward(self, first: Tensor) -> Tensor:
        """(n, C) logits of the first tokens' outputs, (n, d)."""
        return self.classifier(self.dropout(torch.tanh(self.pooler(first))))


class PooledReviews(text.ClassificationTask):
    """`ClassificationTask` on the reviews whose runs take a second: 148,610 trained weights.

    All encoder layers are frozen, so that the first token's output, all that the pooler sees, is
    computed once.

    sentences: training reviews, drawn by `seed`, which is that of the classifier, too.
    noise: share of wrong training labels; `wrong_labels` changes it.
    """

    classes, class_weights = 2, None

    def __init__(
        self, sentences: int = 200, noise: float = 0.2, *, name: str = "minilm", seed: int = 0
    ):
        whole = text.load_dataset("course-reviews")
        self.clean, self.seed, self.label_smoothing = whole.train.subset(sentences, seed), seed, 0.0
        model, tokenizer = text.load_model("classification", name, pooling="model", seed=seed)
        head = Head(model)
        for p in model.parameters():
            p.requires_grad_(False)
        for p in head.parameters():
            p.requires_grad_(True)

        @torch.no_grad()
        def tensors(data: text.TextDataset) -> dict[str, Tensor]:
            encoded = text.encode(tokenizer, data.texts, max_length=24)
            parts = [
                model.bert(**part).last_hidden_state[:, 0] for part in text.batches(encoded, 64)
            ]
            return {"first": torch.cat(parts), "labels": torch.tensor(data.labels)}

        Task.__init__(self, model, head, tensors(self.clean), tensors(whole.validation))
        self.wrong_labels(noise)

    def wrong_labels(self, share: float) -> None:
        """Turn this share of the training labels round."""
        labels = self.clean.with_label_noise(share, seed=self.seed).labels
        self.training["labels"] = torch.tensor(labels)
