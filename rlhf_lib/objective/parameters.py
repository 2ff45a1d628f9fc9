"""A model's parameters as one flat vector, the form in which curvature and solvers see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..arguments import tensor_list


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """Concatenate tensors of any shapes into one vector of shape (n,), in their order.

    >>> flatten([torch.ones(2, 2), torch.zeros(1)])
    tensor([1., 1., 1., 1., 0.])
    """
    found: Any = tensors
    try:
        found = list(tensors)
        return torch.cat([t.reshape(-1) for t in found])
    except (AttributeError, TypeError, ValueError, RuntimeError):  # checked after: this is hot
        if not tensor_list("tensors", found):
            raise ValueError("expected at least one tensor, got none") from None
        raise


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut a flat vector of shape (n,) into views with the shapes of ``like``.

    >>> like = [torch.zeros(2, 2), torch.zeros(1)]
    >>> [tuple(piece.shape) for piece in unflatten(torch.ones(5), like)]
    [(2, 2), (1,)]
    """
    try:
        pieces = vector.split([t.numel() for t in like])
        return [piece.view_as(t) for piece, t in zip(pieces, like, strict=True)]
    except (AttributeError, TypeError, ValueError, RuntimeError):  # checked after: this is hot
        n = sum(t.numel() for t in tensor_list("like", like))
        if not isinstance(vector, Tensor) or vector.shape != (n,):
            got = tuple(vector.shape) if isinstance(vector, Tensor) else type(vector).__name__
            raise ValueError(f"expected a vector of shape ({n},), got {got}") from None
        raise


@torch.no_grad()
def assign(params: Sequence[Tensor], vector: Tensor) -> None:
    """Copy a flat vector into the parameters in place (bit for bit when dtypes agree)."""
    params = tensor_list("params", params)
    for p, value in zip(params, unflatten(vector, params), strict=True):
        p.copy_(value)
    torch.clear_autocast_cache()  # which has casts of what the parameters were


def check_params(params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list, or a clear error for what curvature cannot handle.

    Raises:
        ValueError: no parameters, frozen, sparse or complex ones, duplicates, or parameters on
            several devices or in several dtypes.
    """
    params = tensor_list("params", params)
    if not params:
        raise ValueError("expected at least one parameter, got an empty list")
    for i, p in enumerate(params):
        if is_lazy(p):
            raise ValueError(
                f"expected parameters with a shape, got parameter {i} of a lazy module: run the "
                "model on one batch first"
            )
        shape = tuple(p.shape)
        if not p.requires_grad:
            raise ValueError(
                f"expected trained parameters, got a list where parameter {i} of shape {shape} is "
                "frozen (requires_grad=False): [p for p in model.parameters() if p.requires_grad]"
            )
        if p.is_meta:
            raise ValueError(
                f"expected parameters with values, got parameter {i} of shape {shape} on the meta "
                "device: load the model, or model.to_empty(device=...) and initialize it"
            )
        if p.is_sparse or p.is_complex():
            kind = "sparse" if p.is_sparse else "complex"
            raise ValueError(
                f"expected dense real tensors, got parameter {i} of shape {shape}, which is {kind}:"
                " make it dense (nn.Embedding(sparse=False)) or keep real and imaginary parts apart"
            )
    if len({id(p) for p in params}) != len(params):
        raise ValueError(
            "expected each parameter once, got a list where one appears twice; pass tied weights "
            "once, as model.parameters() does"
        )
    if len({(p.device, p.dtype) for p in params}) > 1:
        kinds = sorted({f"{p.dtype} on {p.device}" for p in params})
        raise ValueError(f"expected one dtype and one device for all parameters, got {kinds}")
    return params
