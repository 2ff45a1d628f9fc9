"""The course's reviews as 384 numbers each, from the embedded BERT, for fast experiments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from rlhf_lib import text

LONGEST = 64  # tokens; no review has more


@cache
def review_features() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(X, y, X_new, y_new): features (400, 384) float64 and labels (400,) of both splits.

    A review's features are the mean over its tokens of the last layer's activations. The model is
    frozen, so they are computed once, and nothing in them comes from any other review.
    """
    parts = text.load_dataset("course-reviews")
    X, X_new = (mean_features(part.texts) for part in parts)
    y, y_new = (torch.tensor(part.labels) for part in parts)
    return X, y, X_new, y_new


@torch.no_grad()
def mean_features(texts: Sequence[str]) -> Tensor:
    """Features of texts, (n, 384) float64, as :func:`review_features` has them."""
    model, tokenizer = text.load_model("classification")
    model = model.base_model.eval()
    encoded = text.encode(tokenizer, texts, max_length=LONGEST)
    lengths = encoded["attention_mask"].sum(1)
    found = torch.empty(len(texts), model.config.hidden_size, dtype=torch.float64)
    # Sorted by length: padding is work for nothing.
    for rows in lengths.argsort().split(50):
        part = {k: v[rows, : int(lengths[rows].max())] for k, v in encoded.items()}
        hidden = model(**part).last_hidden_state.double()  # (b, T, 384)
        mask = part["attention_mask"][..., None]
        found[rows] = (hidden * mask).sum(1) / mask.sum(1)
    return found


def balanced_sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features (n, 384) and labels (n,) of n training reviews, half of each class (n even)."""
    X, y, _, _ = review_features()
    shuffled = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    rows = torch.cat([shuffled[y[shuffled] == label][: n // 2] for label in (0, 1)])
    return X[rows], y[rows]
