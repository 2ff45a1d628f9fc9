"""The task loss over micro-batches, weighted by sample counts, with one dropout mask per step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from .flat import flatten
from .interrupt import checkpoint

Outputs = tuple[Tensor, ...]


def sample_count(batch) -> int:
    """Leading dimension of the first tensor in a batch (a tensor, or a dict, list or tuple)."""
    if isinstance(batch, Tensor):
        return batch.shape[0]
    parts = batch.values() if isinstance(batch, Mapping) else batch
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        for part in parts:
            if isinstance(part, Tensor):
                return part.shape[0]
    raise TypeError(
        f"cannot count the samples of a batch of type {type(batch).__name__}: expected a tensor "
        "or a dict, list or tuple of tensors; pass count=lambda batch: ... to say how"
    )


class TaskLoss:
    """Mean loss over micro-batches of unequal size: sum_b n_b L_b / sum_b n_b.

    Every pass over the batches draws the same random numbers (dropout masks), so that value,
    gradient and curvature products all belong to one and the same function. A new object draws
    new ones.

    Args:
        fn: returns the mean loss of a batch, or ``(loss, outputs)``. Called ``fn(batch)`` when
            batches are given, else ``fn()``.
        batches: iterable of micro-batches; read once and kept.
        count: ``count(batch)`` gives a batch's weight: the number of terms in its mean (samples,
            or labelled tokens). Default: the leading dimension of its first tensor.
        device: where the random numbers are drawn (only CUDA needs to be named).
    """

    def __init__(
        self,
        fn: Callable,
        batches: Iterable | None = None,
        *,
        count: Callable[[object], float] | None = None,
        device: torch.device | None = None,
    ):
        self.fn = fn
        if batches is None:
            self._calls, counts = [()], [1]
        else:
            batches = list(batches)
            counts = [(count or sample_count)(batch) for batch in batches]
            if not counts or sum(counts) <= 0 or min(counts) < 0:
                raise ValueError(
                    f"expected batches with a positive number of samples, got counts {counts}"
                )
            # The mean over no terms is NaN, and 0 * NaN would spoil the sum.
            self._calls = [(batch,) for batch, c in zip(batches, counts, strict=True) if c > 0]
            counts = [c for c in counts if c > 0]
        self.samples = sum(counts)
        self.counted = batches is not None
        self.weights = [c / self.samples for c in counts]
        self._cuda = device if device is not None and device.type == "cuda" else None
        self._rng: list[tuple[Tensor, Tensor | None]] = []

    def _rng_state(self) -> tuple[Tensor, Tensor | None]:
        cuda = None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)
        return torch.get_rng_state(), cuda

    @contextmanager
    def _same_draws(self, index: int) -> Iterator[None]:
        # The first pass moves the caller's generator on, so that the next step gets fresh masks;
        # every later pass replays the same numbers and leaves the generator where it was. This is
        # done around each call, because a pass may be left half way by an error.
        if index == len(self._rng):
            self._rng.append(self._rng_state())
            yield
            return
        with torch.random.fork_rng(devices=[] if self._cuda is None else [self._cuda]):
            cpu, cuda = self._rng[index]
            torch.set_rng_state(cpu)
            if self._cuda is not None:
                torch.cuda.set_rng_state(cuda, self._cuda)
            yield

    def evaluate(self) -> Iterator[tuple[float, Tensor, Outputs]]:
        """Yield (weight, loss, outputs) per micro-batch; outputs is () if fn gives only a loss."""
        for i, (weight, call) in enumerate(zip(self.weights, self._calls, strict=True)):
            checkpoint()
            with self._same_draws(i):
                loss, outputs = _split(self.fn(*call))
            if not self.counted and outputs and outputs[0].ndim:
                self.samples = outputs[0].shape[0]
            yield weight, loss, outputs

    @torch.no_grad()
    def value(self) -> float:
        """The weighted mean loss; not finite values come back as they are."""
        return sum(weight * loss.item() for weight, loss, _ in self.evaluate())

    def value_and_gradient(self, params: list[Tensor]) -> tuple[float, Tensor]:
        """The loss and its flat gradient, shape (n,). Unused parameters get zeros."""
        value, gradient = 0.0, None
        with torch.enable_grad():
            for weight, loss, _ in self.evaluate():
                grads = gradients(weight * loss, params)
                value += weight * loss.item()
                flat = flatten(grads)
                gradient = flat if gradient is None else gradient.add_(flat)
        return value, gradient


def _split(result) -> tuple[Tensor, Outputs]:
    """Bring what the caller's function returned into the form (scalar loss, tuple of outputs)."""
    pair = isinstance(result, tuple | list) and len(result) == 2
    loss, outputs = result if pair else (result, ())
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    if not isinstance(loss, Tensor) or not all(isinstance(o, Tensor) for o in outputs):
        raise TypeError(
            "the closure should return (loss, outputs) as tensors, or the loss alone with "
            f"curvature='hessian'; got {type(result).__name__}"
        )
    if loss.numel() != 1:
        raise ValueError(
            f"expected a scalar loss, got shape {tuple(loss.shape)}: take its mean over the batch"
        )
    return loss.reshape(()), outputs


def gradients(
    value: Tensor | tuple[Tensor, ...], params, grad_outputs=None, **kwargs
) -> tuple[Tensor, ...]:
    """``torch.autograd.grad`` with zeros for what is unused and with errors that say what to do."""
    try:
        return torch.autograd.grad(
            value, params, grad_outputs, allow_unused=True, materialize_grads=True, **kwargs
        )
    except RuntimeError as error:
        text = str(error)
        if "second time" in text:
            raise RuntimeError(
                "the graph of the loss is gone: the closure must not call loss.backward(); it only "
                "returns (loss, outputs) and the optimizer differentiates them"
            ) from error
        if "scaled_dot_product" in text or "flash_attention" in text:
            raise RuntimeError(
                "this model's fused attention has no second derivative: load it with "
                'attn_implementation="eager", or evaluate it under '
                "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)"
            ) from error
        if "does not require grad" in text:
            raise RuntimeError(
                "the loss does not depend on any trained parameter: it may have been detached or "
                "computed under torch.no_grad(), or all parameters it uses are frozen"
            ) from error
        raise


def check_finite(name: str, value: float | Tensor) -> None:
    """Raise FloatingPointError when a loss or a gradient has NaN or infinite entries."""
    # One pass without a mask of n entries; the mask decides where a sum of finite ones overflows.
    finite = math.isfinite(value if isinstance(value, float) else float(value.sum()))
    if not finite and (isinstance(value, float) or not bool(value.isfinite().all())):
        raise FloatingPointError(
            f"{name} is not finite; look at the data for NaN, lower lr or raise damping. The "
            "parameters are as they were before this step"
        )
