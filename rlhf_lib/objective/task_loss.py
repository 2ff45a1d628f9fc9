"""The task loss over micro-batches, weighted by sample counts, with one dropout mask per step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from ..arguments import flag, function
from ..interrupt import checkpoint
from .counts import compare_with_parts, first_size, sample_count
from .draws import Draws, default_generators
from .parameters import check_params, flatten
from .ranks import ProcessGroup, as_ranks
from .reach import reach
from .returned import Outputs, split
from .second_derivative import explain, refuse_once_differentiable, refuse_reentrant_checkpoints

_COMPARED = 4  # micro-batches that are compared with their parts


@dataclass
class _Call:
    """A call of the loss: with what, how many terms its mean has, and which numbers it draws."""

    arguments: tuple
    count: float
    draws: Draws


class TaskLoss:
    """Mean loss over micro-batches of unequal size, sum_b n_b L_b / sum_b n_b, or their sum.

    Every pass over the batches, or over a :meth:`part` of them, draws the same random numbers
    (dropout masks), so that value, gradient and curvature products all belong to one and the same
    function. A new object draws new ones. What ``fn`` moves besides, as far as :mod:`.reach` sees
    it (buffers such as the statistics of batch normalization, generators of its own), moves in the
    first pass alone. ``fn`` runs with gradients enabled in every pass.

    Args:
        fn: returns the mean loss of a batch, or ``(loss, outputs)``, or what a transformers model
            returns: an object or a dict with ``loss`` and ``logits`` (of several outputs all that
            end in ``_logits``). Called ``fn(batch)`` when batches are given, else ``fn()``.
        batches: iterable of micro-batches; read once and kept.
        count: ``count(batch)`` gives a batch's weight: the number of terms in its mean (samples,
            labelled tokens, or the sum of the class weights). "sum": the losses are sums, and are
            added up. Default: the first dimension of its tensors, see
            :func:`~rlhf_lib.objective.sample_count`; then the first pass compares the losses of up
            to four batches with those of their parts, and refuses a loss that is no mean over
            samples (two more forward passes over these).
        device: where the random numbers are drawn (only CUDA needs to be named).
        process_group: the ranks whose batches belong to the same mean, see
            :mod:`~rlhf_lib.objective.ranks`; ``batches`` are then this rank's, and may be none.
        compare: False leaves out the comparison with parts, as in the steps after the first.

    Attributes:
        samples: the sum of all weights, over all ranks; of sums, the number of samples.
        summed: whether the losses are added up.
        compared: whether batches have been compared with their parts.
    """

    def __init__(
        self,
        fn: Callable,
        batches: Iterable | None = None,
        *,
        count: Callable[[object], float] | str | None = None,
        device: torch.device | None = None,
        process_group: ProcessGroup = None,
        compare: bool = True,
    ):
        function("closure", fn)
        if not isinstance(batches, Iterable | None) or isinstance(batches, str | Tensor):
            raise TypeError(
                "expected batches as a list of micro-batches, or None for a closure without "
                f"arguments, got {type(batches).__name__}"
            )
        flag("compare", compare)
        if not (count is None or callable(count) or (isinstance(count, str) and count == "sum")):
            raise ValueError(f"expected count to be a function of a batch or 'sum', got {count!r}")
        self.fn, self.ranks = fn, as_ranks(process_group)
        self.counted = batches is not None
        if self.ranks is not None and not self.counted:
            raise ValueError(
                "expected batches=... with a process group, which counts their samples, got none"
            )
        self._count, self.summed = count, count == "sum"
        self._compare, self.compared = compare and not callable(count), False
        device = None if device is None else _device(device)
        modules, generators = reach(fn)
        generators += default_generators([] if device is None else [device])
        self._draws = partial(Draws, generators, modules)
        self._calls: list[_Call] = []
        if batches is None:
            self._take(lambda: [_Call((), 1, self._draws())])
        else:
            self._take(lambda: self._calls_of(batches))

    def part(self, which: slice | Iterable) -> TaskLoss:
        """The mean loss over some of the micro-batches: the same calls, so with the same masks.

        Args:
            which: a slice of the batches; or batches, of which those that this loss does not hold
                (as the very same object) are calls of their own.

        >>> whole = TaskLoss(lambda batch: batch.mean(), [torch.zeros(2), torch.ones(1)])
        >>> whole.part(slice(1, None)).value()
        1.0
        """
        if isinstance(which, str) or not isinstance(which, slice | Iterable):
            raise TypeError(f"expected a slice of the batches, or batches, got {which!r}")
        if not self.counted:
            raise ValueError("expected a part of a loss over batches, got a loss without batches")
        part = copy(self)
        part._draws = partial(self._draws, moves=False)
        part._take(
            lambda: self._calls[which] if isinstance(which, slice) else part._calls_of(which)
        )
        return part

    def undo(self, *, buffers_only: bool = False) -> None:
        """Put back what the first pass has moved: the buffers, and the generators."""
        for call in reversed(self._calls):
            call.draws.undo(buffers_only=buffers_only)

    def settle(self) -> None:
        """Put the buffers to where the first pass left them."""
        for call in self._calls:
            call.draws.settle()

    def _calls_of(self, batches: Iterable) -> list[_Call]:
        known = {id(call.arguments[0]): call for call in self._calls}
        batches = list(batches)
        count = self._count if callable(self._count) else sample_count
        if self.summed or (self._count is None and len(batches) == 1 and self.ranks is None):
            count = first_size  # no weight hangs on it
        calls = [
            known.get(id(batch)) or _Call((batch,), _plain(count(batch)), self._draws())
            for batch in batches
        ]
        counts = [call.count for call in calls]
        if not all(0 <= c < float("inf") for c in counts):
            raise ValueError(
                f"expected batches with a positive number of samples, got counts {counts}"
            )
        return calls

    def _take(self, calls: Callable[[], list[_Call]]) -> None:
        """Be the mean over these calls; made in here, so that all ranks hear of an error."""

        def own_samples() -> tuple[None, float]:
            self._calls = calls()
            return None, sum(call.count for call in self._calls)

        _, self.samples = self.together(own_samples)
        if self.samples <= 0:
            raise ValueError(
                f"expected batches with a positive number of samples, got {self.samples}"
            )
        counts = [call.count for call in self._calls]
        self.weights = [float(c > 0) if self.summed else c / self.samples for c in counts]

    def evaluate(self, only: int | None = None) -> Iterator[tuple[float, Tensor, Outputs]]:
        """Yield (weight, loss, outputs) per micro-batch; outputs is () if fn gives only a loss.

        only: the place, among those that are yielded, of a single one that is wanted.
        """
        several = self.counted and (len(self._calls) > 1 or self.ranks is not None)
        compare = self._compare and several
        if compare:
            self._compare, self.compared = False, True
        weighted = zip(self.weights, self._calls, strict=True)
        # The mean over no terms is NaN, and 0 * NaN would spoil the sum.
        for i, (weight, call) in enumerate(pair for pair in weighted if pair[0]):
            if only is not None and i != only:
                continue
            checkpoint("micro-batch", i + 1, len(self._calls))
            # Casts made without gradients, or before the parameters moved, are no good here.
            torch.clear_autocast_cache()
            with torch.enable_grad(), call.draws:
                loss, outputs = split(self.fn(*call.arguments))
            if compare and i < _COMPARED:
                with call.draws:
                    compare_with_parts(
                        lambda b: split(self.fn(b)), call.arguments[0], summed=self.summed
                    )
            if not self.counted and outputs and outputs[0].ndim:
                self.samples = outputs[0].shape[0]
            yield weight, loss, outputs

    def compare(self) -> None:
        """Compare batches with their parts now: before hooks in the model watch the passes."""
        if self._compare and len(self._calls) > 1:
            self.part(slice(_COMPARED)).value()
            self._compare, self.compared = False, True

    def together(
        self,
        compute: Callable[[], tuple[Tensor | None, float]],
        params: Sequence[Tensor] = (),
        *,
        same: Sequence[Tensor] = (),
        out: Tensor | None = None,
    ) -> tuple[Tensor, float]:
        """``compute()``, a flat vector and a scalar, summed over the ranks if there are several.

        See :meth:`~rlhf_lib.objective.ranks.Ranks.add`.
        """
        if self.ranks is not None:
            return self.ranks.add(compute, params, same=same, out=out)
        vector, scalar = compute()
        # Alone there is always a batch, so that only who asks for no vector gets none.
        return torch.empty(0) if vector is None else vector, scalar

    def value(self) -> float:
        """The weighted mean loss; not finite values come back as they are."""

        def own_value() -> tuple[None, float]:
            return None, sum(weight * loss.item() for weight, loss, _ in self.evaluate())

        return self.together(own_value)[1]

    def value_and_gradient(self, params: list[Tensor]) -> tuple[float, Tensor]:
        """The loss and its flat gradient, shape (n,). Unused parameters get zeros."""

        params = check_params(params)

        def own_gradient() -> tuple[Tensor | None, float]:
            value, gradient = 0.0, None
            with torch.enable_grad():
                for weight, loss, _ in self.evaluate():
                    grads = gradients(weight * loss, params)
                    value += weight * loss.item()
                    flat = flatten(grads)
                    gradient = flat if gradient is None else gradient.add_(flat)
            return gradient, value

        gradient, value = self.together(own_gradient, params, same=params)
        return value, gradient


NO_PARAMETER = (
    "the loss does not depend on any trained parameter: it may have been detached, made anew from "
    "a number (.item(), .data), or computed under torch.no_grad() or inference_mode(), or all "
    "parameters it uses are frozen"
)


def _device(device: torch.device | str) -> torch.device:
    if not isinstance(device, torch.device | str):
        raise TypeError(f"expected device as a torch.device or its name, got {device!r}")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"expected device as torch.device takes it, got {device!r}") from error


def _plain(number: float) -> float:
    """Python's own number for one of torch's or numpy's, so that records hold plain ones."""
    return getattr(number, "item", lambda: number)()


def gradients(
    value: Tensor | Sequence[Tensor] | Sequence[GradientEdge],
    params: Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor, ...]:
    """``torch.autograd.grad`` with zeros for what is unused and with errors that say what to do."""
    if create_graph:
        refuse_once_differentiable(_listed(value))
    try:
        found = torch.autograd.grad(
            value,
            params,
            grad_outputs,
            create_graph=create_graph,
            retain_graph=retain_graph,
            allow_unused=True,
        )
    except RuntimeError as error:
        text = str(error)
        if "second time" in text:
            raise RuntimeError(
                "the graph of the loss is gone: the closure must not call loss.backward(); it only "
                "returns (loss, outputs) and the optimizer differentiates them"
            ) from error
        if "modified by an inplace operation" in text:
            raise RuntimeError(
                "what a derivative needs was overwritten: by an operation in place in the model "
                "(relu_(), x += y) or in the closure, which must not change parameters; or the "
                "outputs were computed before the closure was called, and the parameters have "
                "moved since: call the model inside the closure"
            ) from error
        reason = explain(error)
        if reason is not None:
            raise RuntimeError(reason) from error
        if "does not require grad" in text:
            raise RuntimeError(NO_PARAMETER) from error
        raise
    absent = [g is None for g in found]
    if any(absent) and (create_graph or grad_outputs is None):  # not in each product
        refuse_reentrant_checkpoints(_listed(value))
        if all(absent):
            raise RuntimeError(NO_PARAMETER)
    if any(g is not None and g.is_sparse for g in found):
        raise ValueError(
            "expected dense gradients, got a sparse one: build the layer as "
            "nn.Embedding(sparse=False), because curvature products have dense entries"
        )
    return tuple(
        torch.zeros_like(p) if g is None else g for g, p in zip(found, params, strict=True)
    )


def _listed(value: Tensor | Sequence[Tensor] | Sequence[GradientEdge]) -> Sequence:
    return [value] if isinstance(value, Tensor) else value


def check_finite(name: str, value: float | Tensor) -> None:
    """Raise FloatingPointError when a loss or a gradient has NaN or infinite entries."""
    # One pass without a mask of n entries; the mask decides where a sum of finite ones overflows.
    finite = math.isfinite(value if isinstance(value, float) else float(value.sum()))
    if not finite and (isinstance(value, float) or not bool(value.isfinite().all())):
        raise FloatingPointError(
            f"{name} is not finite; look at the data for NaN, lower lr or raise damping. The "
            "parameters are as they were before this step"
        )
