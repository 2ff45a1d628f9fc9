"""Where PyTorch has no second derivative: the operation's name, and the way out.

Curvature products differentiate a gradient. Most operations allow that; some raise an error that
names an internal function, and one kind, `once_differentiable`, may raise nothing: its gradient
counts as a constant, and its part of the curvature would be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

_MISSING = re.compile(r"derivative for '?(?:aten::)?_*(\w+?)(?:_backward)?'? is not implemented")

_REPLACE = (
    "compute the same from operations that have one (as (x - y).square().sum(-1) for a squared "
    "distance), freeze all parameters below it (requires_grad_(False)), or train by a method that "
    "needs first derivatives only"
)
REENTRANT = (
    "the model uses reentrant checkpointing, which works with loss.backward() only, so that the "
    "parameters of the layers below it have no gradient here: pass use_reentrant=False to "
    "torch.utils.checkpoint.checkpoint, or to transformers as "
    'gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})'
)
# Part of the operation's name -> what to do.
_WAYS_OUT = {
    "attention": 'load the model with attn_implementation="eager", or evaluate it under '
    "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)",
    "cudnn": "evaluate the model under torch.backends.cudnn.flags(enabled=False)",
    "compile": "pass the model as it was before torch.compile (compiled._orig_mod); ModernBERT is "
    "loaded with reference_compile=False",
    "embedding_bag": "use embedding(...) and take its sum or mean",
}


def explain(error: RuntimeError) -> str | None:
    """A message for an error of double backward, or None for any other error."""
    text = str(error)
    found = _MISSING.search(text)
    if found:
        name = found[1]
    elif "does not currently support double backward" in text:
        name = "torch.compile"
    elif "scaled_dot_product" in text or "flash_attention" in text:
        name = "scaled_dot_product_attention"
    elif "use_reentrant" in text:
        return REENTRANT
    else:
        return None
    return missing(name)


def missing(name: str) -> str:
    """What an operation without a second derivative means, and what to do about it."""
    way_out = next((way for part, way in _WAYS_OUT.items() if part in name), _REPLACE)
    return f"{name} has no second derivative in PyTorch, and curvature products need it: {way_out}"


def nodes(values: Iterable[Tensor | GradientEdge]) -> Iterator[Node]:
    """Every node of the graph below these values, once."""
    seen, todo = set(), [v.grad_fn if isinstance(v, Tensor) else v.node for v in values]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        todo.extend(below for below, _ in node.next_functions)


def refuse_once_differentiable(values: Iterable[Tensor | GradientEdge]) -> None:
    """Raise RuntimeError for a graph with a Function whose backward is `once_differentiable`.

    Seen in the graph of the loss itself: autograd would leave the part out without a word wherever
    nothing asks for a derivative of that Function's saved tensors.
    """
    for node in nodes(values):
        function = getattr(node, "_forward_cls", None)
        if function is not None and _is_once_differentiable(function.backward):
            raise RuntimeError(missing(f"{function.__name__} (once_differentiable)"))


def refuse_weight_norm(values: Iterable[Tensor | GradientEdge]) -> None:
    """Raise RuntimeError for a graph with torch._weight_norm, whose second derivative is wrong.

    In torch 2.13 it takes the norms for constants (tests/library/curvature/test_operators.py). The
    Gauss-Newton matrix needs the first alone.
    """
    if any(node.name().startswith("WeightNorm") for node in nodes(values)):
        raise RuntimeError(
            "expected operations with a right second derivative, got weight_norm, which has a "
            "wrong one in PyTorch: take curvature='ggn', call remove_parametrizations, or compute "
            "v * (g / v.norm(dim=1, keepdim=True)) in the model"
        )


def refuse_reentrant_checkpoints(values: Iterable[Tensor | GradientEdge]) -> None:
    """Raise RuntimeError for a graph with a checkpoint that only ``loss.backward()`` goes through.

    Autograd does not see the parameters below it, which then look like unused ones.
    """
    for node in nodes(values):
        function = getattr(node, "_forward_cls", None)
        if function is not None and "checkpoint" in function.__name__.lower():
            raise RuntimeError(REENTRANT)


@contextmanager
def twice_differentiable_attention() -> Generator[None]:
    """Scaled dot products by matrix products: the fused kernels have no second derivative."""
    backends = torch.backends.cuda
    kernels = [
        (backends.flash_sdp_enabled, backends.enable_flash_sdp),
        (backends.mem_efficient_sdp_enabled, backends.enable_mem_efficient_sdp),
        (backends.cudnn_sdp_enabled, backends.enable_cudnn_sdp),
        (backends.math_sdp_enabled, backends.enable_math_sdp),
    ]
    before = [enabled() for enabled, _ in kernels]
    try:
        for (_, enable), math in zip(kernels, (False, False, False, True), strict=True):
            enable(math)
        yield
    finally:
        for (_, enable), was in zip(kernels, before, strict=True):
            enable(was)


def _is_once_differentiable(backward: Callable) -> bool:
    # torch marks nothing: the decorator leaves only its wrapper's code to know it by.
    code = getattr(backward, "__code__", None)
    return code is not None and code.co_qualname.startswith("once_differentiable.")
