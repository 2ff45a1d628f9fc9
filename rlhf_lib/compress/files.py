"""One safetensors file for a pruned, quantized or distilled model, and the model back from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..arguments import file_to_read, flag
from ..disk import replacing
from ..quiet import quiet
from .masks import Model, refuse_masks
from .packing import pack, unpack
from .units import KINDS, find_units, resize
from .weights import is_quantized

_FORMAT = "rlhf_lib.compress 1"


@torch.no_grad()
def save(model: nn.Module, path: str | Path, *, packed: bool = True) -> int:
    """Write all parameters and buffers to one file; returns its size in bytes.

    packed: a tensor with many zeros is kept as a bit for each entry and its other entries, and
        integers of fewer than 8 bits in as many bits, wherever that is smaller. False: as it is.

    A table or matrix that is tied to another is written once. A file that was there is replaced
    when the new one is whole. Raises ValueError for a model under pruning masks, or whose state is
    not in tensors with values.
    """
    refuse_masks(model)
    owners = _owners(model)
    state = {n: _whole(n, t) for n, t in model.state_dict().items() if owners.get(n, n) == n}
    bits = {}
    lengths = {n: len(m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    flag("packed", packed)
    metadata = {"format": _FORMAT, "layers": json.dumps(lengths)}
    if _pooling(model) is not None:
        metadata["pooling"] = json.dumps(_pooling(model))
    integers = {n: t for n, t in state.items() if is_quantized(t)}
    if integers:
        for name, tensor in integers.items():
            kind = getattr(tensor, "target_dtype", None)
            if kind not in (None, torch.int8):
                module, _, weight = name.rpartition(".")
                bits[f"{module}._{weight}_qdata"] = int(str(kind).removeprefix("torch.int"))
        with quiet():
            from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
        # torchao wants a dot in each name; a model that is one layer has none in its own.
        dotted: dict[str, Any] = {n if "." in n else f".{n}": t for n, t in integers.items()}
        parts, quantized = flatten_tensor_state_dict(dotted)
        state = {n: t for n, t in state.items() if n not in integers} | parts
        metadata["quantized"] = json.dumps(quantized)
    tensors, forms, used = {}, {}, set()
    for name, tensor in state.items():
        smaller = pack(tensor.cpu(), bits.get(name)) if packed else None
        if smaller is None:
            whole = tensor.contiguous()
            # Parameters of their own over one memory: safetensors wants each in its own.
            shared = whole.numel() and whole.data_ptr() in used
            tensors[name] = whole.clone() if shared else whole
            used.add(whole.data_ptr())
        else:
            parts, forms[name] = smaller
            tensors |= {f"{name}:{key}": part for key, part in parts.items()}
    metadata["packed"] = json.dumps(forms)
    with replacing(path) as part:
        save_file(tensors, part, metadata=metadata)
    return Path(path).stat().st_size


def _whole(name: str, tensor: object) -> Tensor:
    """A tensor of the state, detached, or an error where a file could not hold it."""
    if not isinstance(tensor, Tensor):
        got = type(tensor).__name__
    elif nn.parameter.is_lazy(tensor) or tensor.is_meta or tensor.is_quantized:
        got = "one without values" if not tensor.is_quantized else "one of torch.ao's"
    else:
        return tensor.detach()
    raise ValueError(f"expected a state of tensors with values, got {got} under {name}")


def _pooling(model: nn.Module) -> dict | None:
    """What the config states of how a text's features are made: no tensor tells it."""
    return getattr(getattr(model, "config", None), "pooling", None)


def _owners(model: nn.Module) -> dict[str, str]:
    """The first name of each parameter and buffer, by all of its names."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        found[name] = first.setdefault(id(tensor), name)
    return found


@torch.no_grad()
def load(path: str | Path, model: Model) -> Model:
    """Put what :func:`save` wrote into a model of the original architecture; returns the model.

    The model is changed in place to fit: layers that the file lacks go, matrices take its heads
    and neurons, weights its integers. Outputs are bit by bit those of the model that was saved.

    A model on the meta device gets its values on the CPU.

    Raises ValueError for a file of another origin or that does not fit, naming the first tensor;
    the model may then be cut already, so make a fresh one.
    """
    refuse_masks(model)
    try:
        with safe_open(file_to_read("path", path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a whole safetensors file, got {error}") from None
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: expected a file by compress.save, got the format "
            f"{metadata.get('format')!r}: read others with load_model or load_state_dict"
        )
    pooling = json.loads(metadata.get("pooling", "null"))
    if pooling != _pooling(model):
        raise ValueError(
            f"{path}: expected a model with the pooling {pooling}, got one with {_pooling(model)}: "
            "give load_model the pooling of the model that was saved (for None: pooling='model')"
        )
    for name, how in json.loads(metadata["packed"]).items():
        parts = {
            key: tensors.pop(f"{name}:{key}")
            for key in ("mask", "values")
            if f"{name}:{key}" in tensors
        }
        tensors[name] = unpack(parts, how)
    if "quantized" in metadata:
        with quiet():
            from torchao.prototype.safetensors.safetensors_support import (
                unflatten_tensor_state_dict,
            )
        integers, rest = unflatten_tensor_state_dict(tensors, json.loads(metadata["quantized"]))
        tensors = rest | {name.removeprefix("."): tensor for name, tensor in integers.items()}
    device = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
    for name, length in json.loads(metadata["layers"]).items():
        _drop_layers(model, name, length)
    _resize(model, tensors)
    tied = _check(model, tensors, path)
    # Assigned and not copied: a quantized weight has no place in a float parameter.
    found = {name: tensor.to(device) for name, tensor in tensors.items()}
    model.load_state_dict(found, strict=False, assign=True)
    for name, source in tied.items():
        module, _, attribute = name.rpartition(".")
        there, _, kept = source.rpartition(".")
        setattr(model.get_submodule(module), attribute, getattr(model.get_submodule(there), kept))
    for p in model.parameters():
        if is_quantized(p):
            p.requires_grad_(False)
    empty = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    if empty:
        raise ValueError(
            f"{path}: expected buffers with values where no file has them, got {empty[0]} on the "
            "meta device: make the model on the CPU"
        )
    return model


def _drop_layers(model: nn.Module, name: str, length: int) -> None:
    """Cut a list of layers to the length that the saved model's list had."""
    try:
        layers = model.get_submodule(name)
    except AttributeError:
        return  # another architecture: its first tensor will be named
    if isinstance(layers, nn.ModuleList) and length < len(layers):
        set_layers(model, name, layers[:length])


def set_layers(model: nn.Module, name: str, layers: nn.ModuleList) -> None:
    """Give a model another list of layers, and its config their number."""
    model.set_submodule(name, layers)
    for i, layer in enumerate(layers):
        for module in layer.modules():  # by it a decoder finds its place among cached keys
            if isinstance(getattr(module, "layer_idx", None), int):
                vars(module)["layer_idx"] = i
    config = getattr(model, "config", None)
    for attribute in ("num_hidden_layers", "n_layers", "n_layer"):
        if attribute in vars(config or object):
            setattr(config, attribute, len(layers))


def _resize(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Shrink linear layers to the file's shapes, and tell attention how many heads it has."""
    for name, module in model.named_modules():
        weight = tensors.get(f"{name}.weight")
        if isinstance(module, nn.Linear) and weight is not None and weight.ndim == 2:
            old, new = module.weight.shape, weight.shape
            if old != new and new[0] <= old[0] and new[1] <= old[1]:
                rows = module.weight[: new[0], : new[1]]
                resize(module, rows, None if module.bias is None else module.bias[: new[0]])
    for kind in KINDS:
        try:
            units = find_units(model, kind)
        except TypeError:
            continue
        for unit in units:
            unit.count_heads()


def _check(model: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> dict[str, str]:
    """Which names of the model are tied to which of the file; all others have to be there."""
    owner: dict[int, str] = {}
    tied: dict[str, str] = {}
    everything = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    for name, tensor in everything.items():
        if name in tensors:
            owner.setdefault(id(tensor), name)
    state = model.state_dict()
    for name, tensor in state.items():
        if name in tensors and tensors[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: expected {name} of shape {tuple(tensor.shape)}, as in this "
                f"{type(model).__name__}, got {tuple(tensors[name].shape)}: load it into a model "
                "of the architecture it was saved from"
            )
        if name not in tensors:
            if id(everything.get(name)) not in owner:
                raise ValueError(
                    f"{path}: expected {name}, which this {type(model).__name__} has, got none: "
                    "load it into a model of the architecture it was saved from"
                )
            tied[name] = owner[id(everything[name])]
    extra = sorted(tensors.keys() - state.keys())
    if extra:
        raise ValueError(
            f"{path}: holds {len(extra)} tensors that this {type(model).__name__} has no place "
            f"for, among them {extra[0]}: load it into one of the architecture it was saved from"
        )
    return tied
