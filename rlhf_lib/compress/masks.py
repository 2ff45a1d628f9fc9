"""Masks that keep pruned weights at zero while training goes on."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

Model = TypeVar("Model", bound=nn.Module)


def put_mask(module: nn.Module, name: str, keep: Tensor) -> None:
    """Let a module compute with a parameter times ``keep``, of its shape, True where it stays.

    The parameter becomes ``{name}_orig`` beside a buffer ``{name}_mask``, as torch.nn.utils.prune
    calls them. Their product is a property and not, as there, a tensor that a hook renews before
    the module's own forward: attention reads the weights of its output layer without calling it,
    and an encoder layer in its fast path those of all its parts.
    """
    _rename(module, name, f"{name}_orig")
    module.register_buffer(f"{name}_mask", keep.to(module.get_parameter(f"{name}_orig")))
    plain, names = _unmasked(module)
    module.__class__ = _masked_class(plain, (*names, name))


def remove_mask(module: nn.Module, name: str) -> None:
    """Write a mask's zeros into the parameter and give it its own name again."""
    plain, names = _unmasked(module)
    if name not in names:  # by torch.nn.utils.prune itself
        torch_prune.remove(module, name)
        return
    gone = module.get_buffer(f"{name}_mask") == 0
    del module._buffers[f"{name}_mask"]
    with torch.no_grad():
        module.get_parameter(f"{name}_orig").masked_fill_(gone, 0)
    left = tuple(n for n in names if n != name)
    module.__class__ = _masked_class(plain, left) if left else plain
    _rename(module, f"{name}_orig", name)


def masks(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """(module, name) of every parameter under a mask."""
    check_model(model)
    return [
        (module, name.removesuffix("_mask"))
        for module in model.modules()
        for name, _ in module.named_buffers(recurse=False)
        if name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in module._parameters
    ]


def make_permanent(model: Model) -> Model:
    """Write the zeros into the weights and take the masks off; the model itself, changed in place.

    Afterwards parameters have their own names again, training moves the zeros, and the model can be
    quantized and saved.
    """
    for module, name in masks(model):
        remove_mask(module, name)
    return model


def check_model(model: object) -> None:
    """Raise TypeError for what is no model."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")


def refuse_masks(model: nn.Module) -> None:
    """Raise ValueError where pruning masks are still on the model."""
    if masks(model):
        raise ValueError(
            "expected a model without pruning masks, got one that prune has masked: call "
            "compress.make_permanent(model) first"
        )


def _rename(module: nn.Module, old: str, new: str) -> None:
    """Rename a parameter where it is: optimizers' states go by the order of parameters."""
    for name in list(module._parameters):
        parameter = module._parameters.pop(name)
        module._parameters[new if name == old else name] = parameter


def _unmasked(module: nn.Module) -> tuple[type[nn.Module], tuple[str, ...]]:
    """The class that a module had before it got masks, and the names under them."""
    return getattr(type(module), "_unmasked", (type(module), ()))


@cache
def _masked_class(plain: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    def product_of(name: str) -> property:
        return property(
            lambda self: self._parameters[f"{name}_orig"] * self._buffers[f"{name}_mask"]
        )

    def reduce(self: nn.Module, protocol: Any) -> tuple:
        with torch.no_grad():  # what an LSTM keeps of its weights, a copy could not have a graph of
            _, _, *state = plain.__reduce_ex__(self, protocol)
        return _again, (plain, names), *state

    members: dict[str, Any] = {name: product_of(name) for name in names}
    members |= {"_unmasked": (plain, names), "__reduce_ex__": reduce}
    return type(f"Masked{plain.__name__}", (plain,), members)


def _again(plain: type[nn.Module], names: tuple[str, ...]) -> nn.Module:
    """An empty module under masks, for copies and pickles."""
    cls = _masked_class(plain, names)
    return cls.__new__(cls)
