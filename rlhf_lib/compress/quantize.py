"""Integers for weights: int8 and fewer bits, by torchao."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn

from ..quiet import quiet
from .weights import Model, is_quantized, refuse_masks, weight_of

BITS = tuple(range(2, 9))


def quantize(
    model: Model,
    bits: int = 8,
    *,
    dynamic: bool | None = None,
    group_size: int | None = None,
    embeddings: bool = False,
) -> Model:
    """A copy of a model with its linear layers in integers, for use, not for training.

    A weight becomes scale * integer, with one scale for each row (output) or for each
    ``group_size`` numbers in it; the largest magnitude decides the scale, so the error of a weight
    is at most half a scale. Biases, LayerNorm and activations between layers stay as they are.

    bits: 2 to 8 for a weight. Below 8 torchao keeps an integer in a byte of memory; the file that
        :func:`save` writes has ``bits`` each.
    dynamic: activations, too, are rounded to 8 bits with one scale for each token, found as they
        come, and the products are taken in integers (torchao's Int8DynamicActivationInt8Weight);
        needs bits=8 without groups, where it is the default. False: weights are turned back into
        floats at each use.
    embeddings: the tables of embeddings, too (one scale for each token, or group).

    On a CPU without VNNI torchao's dynamic kernel could overflow; weights and activations get 7
    bits there, so results differ a little from one kind of machine to another. And without a fast
    integer product, as on such a CPU, dynamic=True can take many times as long as the floats:
    measure with :func:`latency` before you ship it, and take dynamic=False for small files.

    Raises ValueError for settings that do not go together, masks left by pruning, and a model that
    is quantized already, is not in float32, has nothing to quantize, keeps matrices in other
    modules than linear layers (GPT-2), or ties one to be quantized to another module.
    """
    if bits not in BITS:
        raise ValueError(f"bits: expected one of {BITS}, got {bits!r}")
    plain = bits == 8 and group_size is None
    dynamic = plain if dynamic is None else dynamic
    if dynamic and not plain:
        raise ValueError(
            f"expected bits=8 without groups, got bits={bits}, group_size={group_size}: "
            "take dynamic=False"
        )
    refuse_masks(model)
    if any(is_quantized(p) for p in model.parameters()):
        raise ValueError("expected a float model, got one that is quantized already")
    kinds = (nn.Linear, nn.Embedding) if embeddings else (nn.Linear,)
    chosen = [m for m in model.modules() if isinstance(m, kinds)]
    if not any(isinstance(m, nn.Linear) for m in chosen):
        raise ValueError(f"expected a model with linear layers, got {type(model).__name__}")
    _refuse_other_matrices(model, chosen)
    for module in chosen:
        if module.weight.dtype != torch.float32:
            raise ValueError(
                f"expected weights in float32, got {module.weight.dtype}: call model.float() first"
            )
        if group_size is not None and module.weight.shape[1] % group_size:
            raise ValueError(
                f"group_size: expected a divisor of the rows' lengths, {module.weight.shape[1]} "
                f"among them, got {group_size}"
            )
    with quiet():
        from torchao.quantization import (
            Int8DynamicActivationInt8WeightConfig,
            IntxWeightOnlyConfig,
            PerAxis,
            PerGroup,
            quantize_,
        )
        from torchao.utils import should_reduce_range

        granularity = PerAxis(0) if group_size is None else PerGroup(group_size)
        weights = IntxWeightOnlyConfig(getattr(torch, f"int{bits}"), granularity)
        linear = weights
        if dynamic:
            reduce = should_reduce_range(chosen[0].weight.device)
            linear = Int8DynamicActivationInt8WeightConfig(
                reduce_range=reduce, set_inductor_config=False
            )
        model = copy.deepcopy(model)
        quantize_(model, linear, filter_fn=lambda module, name: isinstance(module, nn.Linear))
        if embeddings:
            quantize_(model, weights, filter_fn=lambda m, name: isinstance(m, nn.Embedding))
    return model


def _refuse_other_matrices(model: nn.Module, chosen: Sequence[nn.Module]) -> None:
    """Raise ValueError where a part would stay in floats, or come apart, without a word."""
    having = [m for m in model.modules() if m._parameters.get("weight") is not None]
    other = {
        type(m).__name__
        for m in having
        if weight_of(m).ndim > 1 and not isinstance(m, nn.Linear | nn.Embedding)
    }
    if other:
        raise ValueError(
            f"expected matrices in linear layers, got {', '.join(sorted(other))} in this "
            f"{type(model).__name__}, which torchao would leave in floats: take an architecture "
            "of linear layers"
        )
    owners = Counter(id(m.weight) for m in having)
    if any(owners[id(m.weight)] > 1 for m in chosen):
        raise ValueError(
            "expected weights of one module each, got a matrix or table that is tied to another "
            "one: integers would untie them; with embeddings=False tables are left alone"
        )
