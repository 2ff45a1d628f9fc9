"""How much each class counts in the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

Weights = str | Sequence[float] | Mapping[str, float] | Tensor


def weigh_classes(weights: Weights, labels: Sequence[int], names: Sequence[str], of: str) -> Tensor:
    """A weight for each class, (C,), with mean 1 over the samples.

    A mean of losses times these weights is the weighted mean, sum w l / sum w, over all samples,
    and a mean over samples over any part of them: no micro-batch has a denominator of its own.

    weights: "balanced" makes all classes that have samples count alike, n / (C n_c); or a number
        for each class, in the order of `names` or by name. Only their ratios matter.
    labels: n indices into `names`. of: what has them, for messages.

    Raises ValueError for anything else: another number of weights, one that is negative or not
    finite, no weight for any sample.
    """
    samples = torch.tensor([*labels]).bincount(minlength=len(names)).double()
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(
                f"class_weights: expected 'balanced' or a number for each class, got {weights!r}"
            )
        return (samples.sum() / (samples * (samples > 0).sum())).nan_to_num(posinf=0.0)
    if isinstance(weights, Mapping):
        if {*weights} != {*names}:
            raise ValueError(
                f"class_weights: expected a number for each class of {of}, {tuple(names)}, got "
                f"some for {tuple(weights)}"
            )
        weights = [weights[name] for name in names]
    try:
        found = [float(weight) for weight in weights] if isinstance(weights, Iterable) else []
    except (TypeError, ValueError):
        found = []
    if len(found) != len(names):
        raise ValueError(
            f"class_weights: expected a number for each of the {len(names)} classes of {of}, "
            f"{tuple(names)}, got {weights!r}"
        )
    for name, weight in zip(names, found, strict=True):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"class_weights: expected finite numbers of at least 0, got {weight} for {name!r}"
            )
    given = torch.tensor(found, dtype=torch.float64)
    mean = float((given * samples).sum() / samples.sum())
    if not mean > 0:
        raise ValueError(
            f"class_weights: expected a weight over 0 for some class that {of} has texts of, got "
            f"{found}"
        )
    return given / mean
