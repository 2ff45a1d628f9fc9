"""Making the rows of the Gauss-Newton matrix's factor: one micro-batch at a time, and checked.

Known uses of a parameter give its rows from what a :class:`~.recorder.Tape` noted; other functions
take a copy of their parameters for each sample (:class:`~.apart.Apart`); where that fails, every
row is a backward pass of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from ..interrupt import Interrupted, checkpoint
from ..objective.task_loss import Outputs
from .apart import Apart
from .gradients import PerSample, Plain
from .loss_factor import Directions, combination
from .recorder import Tape

_AT_ONCE = 16  # samples whose rows one batched backward pass makes: each holds a graph's gradients
_MIXED = (
    "inside the model the samples act on one another or do not lie along the first dimension "
    "(batch normalization in training, time first, mixup, in-batch negatives, a mask over tokens)"
)


@dataclass
class Batch:
    """A micro-batch: what was noted of it, its outputs and directions there, and its first row."""

    tape: Tape
    outputs: Outputs
    factor: Directions
    first: int
    n: int
    again: Callable[[], Iterator[tuple[float, Tensor, Outputs]]]  # evaluates it once more

    def directions(self) -> Iterator[tuple[int, Sequence[Tensor]]]:
        """Each with the number of its first row."""
        return zip(itertools.count(self.first, self.n), self.factor, strict=False)

    @property
    def words(self) -> str:
        return f"parameters used in {sorted(set(self.tape.other.values()))}"


class _NoCopies(Exception):
    """A function does not take copies of its parameters."""


class Rows:
    """The rows of all micro-batches that were added.

    Args:
        params, check, max_bytes, each_alone, copied: see :class:`~.factor.SampleSpace`.

    Attributes:
        found: of each parameter, its parts of the rows.
        count: number of rows.
        alone, copied: see :class:`~.factor.SampleSpace`.
        forward, backward, weights: scalar multiplications of the forward passes, of making all
            rows, and of one product with them.
    """

    def __init__(
        self, params: Sequence[Tensor], check: str, max_bytes: int, each_alone: bool, copied: bool
    ):
        self.params, self.count = params, 0
        self.found: list[list[PerSample]] = [[] for _ in params]
        self.alone, self.copied = "", copied
        self.forward = self.backward = self.weights = 0
        self._check, self._max_bytes, self._each_alone = check, max_bytes, each_alone

    def add(self, batch: Batch) -> None:
        """The rows of a micro-batch, by the first way whose rows pass the check."""
        self.count += len(batch.factor) * batch.n
        ways: list[Callable[[Batch], None]] = [] if self.copied else [self._from_tape]
        if self.copied or self._check != "none":
            ways.append(self._by_copies)
        if self._check == "redo" and self._each_alone:
            ways += [partial(self._one_by_one, why=_MIXED, at_once=k) for k in (_AT_ONCE, 1)]
        counts, reason = self._counts(), _MIXED
        for last, way in enumerate(ways, 1 - len(ways)):
            try:
                way(batch)
            except _NoCopies as error:
                reason = f"{_MIXED}, or copies of the parameters cannot be had ({error})"
            else:
                alone = self._check == "redo" and self._each_alone and not last
                if self._check == "none" or not batch.factor or alone or self._agree(batch):
                    self.copied |= way == self._by_copies
                    return
            self._forget(batch, range(len(self.params)), counts)
        raise ValueError(f"there are no rows of single samples: {reason}")

    def _counts(self) -> tuple[int, int, int]:
        return self.forward, self.backward, self.weights

    def _forget(self, batch: Batch, which: Collection[int], counts: tuple[int, int, int]) -> None:
        """The rows of these parameters that were made of a micro-batch, and their work."""
        self.forward, self.backward, self.weights = counts
        for i in which:
            self.found[i] = [part for part in self.found[i] if part.row < batch.first]

    def _from_tape(self, batch: Batch) -> None:
        """Of known uses by the tape, of the other parameters with copies."""
        tape, unknown = batch.tape, set(batch.tape.other)
        known = [use for use in tape.uses if tape.samples == batch.n and use.param not in unknown]
        noted = {use.param for use in tape.uses} | unknown
        unknown = noted - {use.param for use in known}
        # What no tape sees (an own autograd.Function) shows by a gradient of its own.
        rest = [i for i in range(len(self.params)) if i not in noted]
        for row, direction in batch.directions():
            found = _backward(batch.outputs, [use.edge for use in known], direction)
            for use, g in zip(known, found, strict=True):
                if g is not None:
                    self.found[use.param].append(use.rows(row, g))
            hidden = _backward(batch.outputs, [self.params[i] for i in rest], direction)
            unknown |= {i for i, g in zip(rest, hidden, strict=True) if g is not None}
        multiplications = sum(use.multiplications for use in tape.uses)
        self.forward += multiplications
        self.backward += len(batch.factor) * multiplications
        self.weights += len(batch.factor) * multiplications
        if not unknown or not batch.factor:
            return
        which, counts = sorted(unknown), self._counts()
        try:
            self._by_copies(batch, which)
            reason = "" if self._agree(batch, which) else "they are not those of single samples"
        except _NoCopies as error:
            reason = str(error)
        if not reason:
            return
        self._forget(batch, which, counts)
        reason = f"{batch.words} have no rows with copies of them: {reason}"
        if not self._each_alone:
            raise ValueError(reason)
        self._one_by_one(batch, which, why=reason)

    def _by_copies(self, batch: Batch, which: Collection[int] | None = None) -> None:
        """Rows of these parameters, default all, from one evaluation with copies of them."""
        which = range(len(self.params)) if which is None else which
        self._afford(batch, which)
        try:
            with Apart([self.params[i] for i in which], batch.n) as apart:
                ((_, _, outputs),) = batch.again()
            for row, direction in batch.directions():
                for i, g in zip(which, _backward(outputs, apart.copies, direction), strict=True):
                    if g is not None:
                        self.found[i].append(Plain(row, g.reshape(batch.n, -1)))
        except (Interrupted, MemoryError):
            raise
        except Exception as error:  # a function that has no rule for copies, or shapes that differ
            raise _NoCopies(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
        self._plain_work(batch, which, apart.multiplications, len(batch.factor))

    def _one_by_one(
        self,
        batch: Batch,
        which: Collection[int] | None = None,
        *,
        why: str,
        at_once: int = _AT_ONCE,
    ) -> None:
        """Rows of these parameters from the gradients of each sample's outputs alone."""
        which = range(len(self.params)) if which is None else which
        self._afford(batch, which)
        self.alone, n, outputs = why, batch.n, batch.outputs
        params = [self.params[i] for i in which]
        for first, direction in batch.directions():
            matrices = [Plain(first, p.new_zeros(n, p.numel())) for p in params]
            # No index on the host: the outputs may lie on a GPU.
            for samples in torch.arange(n, device=direction[0].device).split(at_once):
                checkpoint()
                only = samples[:, None] == torch.arange(n, device=samples.device)  # (k, n)
                alone = [
                    torch.where(only.view(*only.shape, *[1] * (d.ndim - 1)), d, 0.0)
                    for d in direction
                ]
                try:
                    found = _backward(outputs, params, alone, batched=True) if at_once > 1 else None
                except RuntimeError:  # a function without a rule for a batch of gradients
                    found = None
                if found is None:
                    each = [
                        _backward(outputs, params, [a[k] for a in alone]) for k in range(len(only))
                    ]
                    found = [
                        None if g[0] is None else torch.stack(g) for g in zip(*each, strict=True)
                    ]
                for m, g in zip(matrices, found, strict=True):
                    if g is not None:
                        m.matrix[samples] = g.reshape(len(samples), -1).to(m.matrix.dtype)
            for i, m in zip(which, matrices, strict=True):
                self.found[i].append(m)
        self._plain_work(batch, which, 0, n * len(batch.factor))

    def _afford(self, batch: Batch, which: Collection[int]) -> None:
        """Raise MemoryError where rows of these parameters, written out, take too much."""
        held = sum(m.matrix.nbytes for ms in self.found for m in ms if isinstance(m, Plain))
        entries = sum(self.params[i].numel() for i in which)
        needed = held + len(batch.factor) * batch.n * entries * self.params[0].element_size()
        if needed > self._max_bytes:
            raise MemoryError(
                f"per-sample gradients of {batch.words} take more than max_bytes = "
                f"{self._max_bytes / 2**30:,.1f} GiB: use solver='cg' or fewer samples, or raise "
                "max_bytes"
            )

    def _plain_work(
        self, batch: Batch, which: Collection[int], multiplications: int, passes: int
    ) -> None:
        """Count rows that are written out; every weight is used once a sample at the least."""
        params = [self.params[i] for i in which]
        least = batch.n * sum(p.numel() for p in params if p.ndim > 1)
        self.forward += max(multiplications, least)
        self.backward += 2 * passes * max(multiplications, least)
        self.weights += len(batch.factor) * batch.n * sum(p.numel() for p in params)

    def _agree(self, batch: Batch, which: Collection[int] | None = None) -> bool:
        """Whether U' alpha is the gradient of the outputs along alpha's combination of rows.

        For random signs alpha, so that rows which are wrong alone cannot be right together; by
        these parameters, default all.
        """
        which = range(len(self.params)) if which is None else which
        params = [self.params[i] for i in which]
        like, first, outputs = self.params[0], batch.first, batch.outputs
        signs, along = combination(batch.factor)
        alpha = signs.reshape(-1).to(like)
        truth = _backward(outputs, params, along)
        error = size = 0.0
        with torch.no_grad():
            for i, p, g in zip(which, params, truth, strict=True):
                total = torch.zeros_like(p, memory_format=torch.contiguous_format)
                for part in self.found[i]:
                    if part.row >= first:
                        part.lift(alpha[part.row - first : part.row - first + part.n], total)
                g = total.new_zeros(()) if g is None else g
                error, size = error + float((total - g).norm()) ** 2, size + float(g.norm()) ** 2
        eps = max(
            torch.finfo(d).eps
            for d in {*batch.tape.dtypes, like.dtype, *(o.dtype for o in outputs)}
        )
        return error <= eps * size


def _backward(
    outputs: Outputs,
    to: Sequence[Tensor] | Sequence[GradientEdge],
    along: Sequence[Tensor],
    *,
    batched: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs . along, or of a batch of these; None where there is no path."""
    reached = [(o, d) for o, d in zip(outputs, along, strict=True) if o.requires_grad]
    if not to or not reached:
        return (None,) * len(to)
    return torch.autograd.grad(
        [o for o, _ in reached],
        to,
        [d for _, d in reached],
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=batched,
    )
