"""Which weights of a model are pruned, and how many of them are zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

Model = TypeVar("Model", bound=nn.Module)


def weight_modules(model: nn.Module, *, embeddings: bool = False) -> dict[str, nn.Module]:
    """Modules whose ``weight`` is a matrix, by the weight's name; no bias, no LayerNorm.

    embeddings: with them. Without, a matrix that is tied to an embedding is left out, too.

    Raises ValueError for a model without such a matrix.
    """
    tables = {id(_parameter(m)) for m in model.modules() if isinstance(m, nn.Embedding)}
    found: dict[str, nn.Module] = {}
    seen = set()
    for name, module in model.named_modules():
        weight = _parameter(module)
        if weight is None or weight.ndim < 2 or id(weight) in seen:
            continue
        if embeddings or id(weight) not in tables:
            seen.add(id(weight))
            found[f"{name}.weight" if name else "weight"] = module
    if not found:
        raise ValueError(
            f"expected a model with weight matrices, got {type(model).__name__} with none"
            + ("" if embeddings else " beside its embeddings: pass embeddings=True for those")
        )
    return found


def _parameter(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight_orig", getattr(module, "weight", None))
    return weight if isinstance(weight, Tensor) else None


def weight_of(module: nn.Module) -> Tensor:
    """A module's weight as it computes with it: masked, quantized."""
    weight = module.weight
    assert isinstance(weight, Tensor)  # to torch, what a module holds may be a module, too
    return weight


def masked(model: nn.Module) -> list[nn.Module]:
    """Modules on which :func:`prune` has left a mask."""
    return [m for m in model.modules() if "weight_mask" in dict(m.named_buffers(recurse=False))]


def make_permanent(model: Model) -> Model:
    """Write the zeros into the weights and take the masks off; the model itself, changed in place.

    Afterwards parameters have their own names again, training moves the zeros, and the model can be
    copied, quantized and saved.
    """
    for module in masked(model):
        required = module.get_parameter("weight_orig").requires_grad
        torch_prune.remove(module, "weight")
        module.get_parameter("weight").requires_grad_(required)
    return model


def refuse_masks(model: nn.Module) -> None:
    """Raise ValueError where pruning masks are still on the model."""
    if masked(model):
        raise ValueError(
            "expected a model without pruning masks, got one that prune has masked: call "
            "compress.make_permanent(model) first"
        )


@dataclass(frozen=True)
class Sparsity:
    """How many of a model's prunable weights are exactly zero.

    Attributes:
        zeros, weights: counts.
        by_name: share of zeros by weight.
    """

    zeros: int
    weights: int
    by_name: dict[str, float]

    @property
    def share(self) -> float:
        return self.zeros / self.weights


@torch.no_grad()
def sparsity(model: nn.Module, *, embeddings: bool = False) -> Sparsity:
    """Count the exact zeros in the weight matrices, as the model uses them: masked, quantized."""
    zeros = weights = 0
    shares = {}
    for name, module in weight_modules(model, embeddings=embeddings).items():
        weight = weight_of(module)
        weight = weight.dequantize() if is_quantized(weight) else weight
        count = int((weight == 0).sum())
        zeros, weights = zeros + count, weights + weight.numel()
        shares[name] = count / weight.numel()
    return Sparsity(zeros, weights, shares)


def is_quantized(weight: Tensor) -> bool:
    """Whether a weight is one of torchao's quantized tensors."""
    return hasattr(weight, "tensor_data_names")
