"""Integers for weights: int8 and fewer bits, by torchao."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ..arguments import flag, one_of, whole
from ..quiet import quiet
from .masks import Model, refuse_masks
from .weights import Matrix, find_matrices, refuse, refuse_not_finite, refuse_quantized

BITS = tuple(range(2, 9))


def quantize(
    model: Model,
    bits: int = 8,
    *,
    dynamic: bool | None = None,
    group_size: int | None = None,
    embeddings: bool = False,
    others: str | None = None,
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
    others: "leave" keeps matrices of other layers in floats: attention's, which torch computes
        without a call of its linear layers, recurrent ones, convolutions (GPT-2's, too), tied and
        parametrized ones and those of a user's own modules. None refuses a model that has some.

    On a CPU without VNNI torchao's dynamic kernel could overflow; weights and activations get 7
    bits there, so results differ a little from one kind of machine to another. And without a fast
    integer product, as on such a CPU, dynamic=True can take many times as long as the floats:
    measure with :func:`latency` before you ship it, and take dynamic=False for small files.

    Raises ValueError for settings that do not go together, masks left by pruning, and a model that
    is quantized already, is not in float32 or finite, has nothing to quantize, or has others.
    """
    bits = whole("bits", bits)
    if bits not in BITS:
        raise ValueError(f"bits: expected one of {BITS}, got {bits!r}")
    group_size = None if group_size is None else whole("group_size", group_size, 1)
    one_of("others", others, ("leave", None))
    plain = bits == 8 and group_size is None
    dynamic = plain if dynamic is None else flag("dynamic", dynamic)
    flag("embeddings", embeddings)
    if dynamic and not plain:
        raise ValueError(
            f"expected bits=8 without groups, got bits={bits}, group_size={group_size}: "
            "take dynamic=False"
        )
    refuse_masks(model)
    refuse_quantized(model, "take the one that it was made from")
    linear, tables = _quantizable(model, embeddings, others)
    refuse_not_finite(linear | tables)
    for name, matrix in (linear | tables).items():
        if matrix.value.dtype != torch.float32:
            raise ValueError(
                f"expected weights in float32, got {name} in {matrix.value.dtype}: call "
                "model.float() first"
            )
        if not matrix.value.numel():
            raise ValueError(f"expected weights, got {name} of shape {tuple(matrix.value.shape)}")
        if group_size is not None and matrix.value.shape[1] % group_size:
            raise ValueError(
                f"group_size: expected a divisor of the rows' lengths, {matrix.value.shape[1]} of "
                f"{name} among them, got {group_size}"
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
        products = weights
        if dynamic:
            device = next(iter(linear.values())).value.device
            products = Int8DynamicActivationInt8WeightConfig(
                reduce_range=should_reduce_range(device), set_inductor_config=False
            )
        model = copy.deepcopy(model)
        quantize_(model, products, filter_fn=lambda module, path: _weight(path) in linear)
        if tables:
            quantize_(model, weights, filter_fn=lambda module, path: _weight(path) in tables)
    return model


def _weight(path: str) -> str:
    return f"{path}.weight" if path else "weight"


def _quantizable(
    model: nn.Module, embeddings: bool, others: str | None
) -> tuple[dict[str, Matrix], dict[str, Matrix]]:
    """Matrices of linear layers and of embeddings, where nothing else is left out unasked."""
    matrices = find_matrices(model)
    linear = {n: m for n, m in matrices.items() if m.linear}
    tables = {n: m for n, m in matrices.items() if m.role == "table"}
    if embeddings:  # as integers they would come apart from what they are tied to
        alone = {n: m for n, m in tables.items() if len(m.places) == 1}
        tables = {n: m for n, m in alone.items() if isinstance(m.places[0][0], nn.Embedding)}
    else:  # left alone, but not as a linear layer that one is tied to
        tables = {
            n: m
            for n, m in tables.items()
            if not any(isinstance(k, nn.Linear) for k, _ in m.places)
        }
    rest = {n: m for n, m in matrices.items() if n not in linear | tables}
    if others is None:
        refuse(
            model,
            rest,
            "untied matrices in linear layers",
            "torchao would leave them in floats, or take them apart; others='leave' quantizes the "
            "linear layers beside them",
        )
    if not linear:
        raise ValueError(f"expected a model with linear layers, got {type(model).__name__}")
    return linear, tables if embeddings else {}
