"""Tensors with many zeros, or with small integers, in fewer bytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pack_bits(values: Tensor, bits: int) -> Tensor:
    """Unsigned integers below 2^bits, of any shape, as a stream of bytes; low bits first."""
    steps = torch.arange(bits)
    stream = (values.reshape(-1, 1).int() >> steps & 1).reshape(-1).to(torch.uint8)
    stream = torch.nn.functional.pad(stream, (0, -len(stream) % 8))
    return (stream.view(-1, 8) << torch.arange(8)).sum(1).to(torch.uint8)


def unpack_bits(stream: Tensor, bits: int, count: int) -> Tensor:
    """The ``count`` integers of :func:`pack_bits`, shape (count,), int32."""
    flat = (stream[:, None].int() >> torch.arange(8) & 1).reshape(-1)[: bits * count]
    return (flat.view(count, bits) << torch.arange(bits)).sum(1).to(torch.int32)


def pack(tensor: Tensor, bits: int | None = None) -> tuple[dict[str, Tensor], dict] | None:
    """The smallest form of a tensor: parts to store and how to read them, or None for as it is.

    "sparse": a bit for each entry, and those that are not zero; what is left of a negative zero,
    as a mask or a prox makes them, is a zero. "bits": int8 values of ``bits`` bits each.
    """
    n = tensor.numel()
    if n == 0 or tensor.dtype.is_complex:
        return None
    how: dict[str, Any] = {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
    }
    entry = tensor != 0
    width = tensor.element_size() if bits is None else bits / 8
    sizes = {"plain": n * tensor.element_size(), "sparse": n / 8 + int(entry.sum()) * width}
    if bits is not None:
        sizes["bits"] = n * bits / 8
    how["form"] = min(sizes, key=lambda form: sizes[form])
    if how["form"] == "plain":
        return None
    values = tensor[entry] if how["form"] == "sparse" else tensor.reshape(-1)
    parts = {"mask": pack_bits(entry, 1)} if how["form"] == "sparse" else {}
    if bits is None:
        return parts | {"values": values.contiguous()}, how
    return parts | {"values": pack_bits(values.int() + 2 ** (bits - 1), bits)}, how | {"bits": bits}


def unpack(parts: dict[str, Tensor], how: dict) -> Tensor:
    """The tensor that :func:`pack` took apart."""
    shape, dtype = how["shape"], getattr(torch, how["dtype"])
    n = torch.Size(shape).numel()
    entry = torch.ones(n, dtype=torch.bool)
    if how["form"] == "sparse":
        entry = unpack_bits(parts["mask"], 1, n).bool()
    values = parts["values"]
    if "bits" in how:
        values = unpack_bits(values, how["bits"], int(entry.sum())) - 2 ** (how["bits"] - 1)
    out = torch.zeros(n, dtype=dtype)
    out[entry] = values.to(dtype)
    return out.view(shape)
