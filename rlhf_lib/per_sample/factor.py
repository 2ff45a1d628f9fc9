"""The rows of the Gauss-Newton matrix's factor: G = U'U, by products with U.

With n samples and C classes U has n (C - 1) rows, whatever the number of parameters. They are made
of per-sample gradients, a parameter at a time, so that U never exists as a whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from ..arguments import flag, one_of, vector
from ..interrupt import Interrupted, checkpoint
from ..objective.parameters import check_params, unflatten
from ..objective.task_loss import Outputs, TaskLoss, gradients
from ..work import Work
from .apart import Apart
from .gradients import Lookup, Outer, PerSample, Plain
from .loss_factor import output_factor
from .recorder import Tape

_VECTOR_MOVES = 12  # vectors that a solution reads and writes beside the rows
Directions = Sequence[Sequence[Tensor]]  # at the outputs, each a list of tensors like them
_BUFFER = 2**25  # bytes of U formed at a time; a larger part would only leave the cache
_AT_ONCE = 16  # samples whose rows one batched backward pass makes: each holds a graph's gradients
CHECKS = ("redo", "raise", "none")
_MIXED = (
    "inside the model the samples act on one another or do not lie along the first dimension "
    "(batch normalization in training, time first, mixup, in-batch negatives, a mask over tokens)"
)


@dataclass
class _Batch:
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


class SampleSpace:
    """U of shape (rows, n) with U'U = G, the Gauss-Newton matrix of a task, by its products.

    Every row is the gradient of one combination of one sample's outputs: an eigenvector of the loss
    Hessian at these outputs, times the root of its eigenvalue. The loss of a sample must depend on
    its own outputs only, as in a mean over samples. The outputs may depend on other samples, too
    (batch normalization in training): that is found out, and such rows take longer.

    Args:
        task: its function returns ``(loss, outputs)``, all outputs with samples first.
        params: the trained parameters.
        combinations: which rows: gives, from a micro-batch's loss and outputs, directions at the
            outputs, each a list of tensors like the outputs.
        max_bytes: for parameters in functions unknown to :class:`~rlhf_lib.per_sample.Tape`,
            rows are made with copies of these parameters (:class:`~.apart.Apart`), or where that
            is not possible by a backward pass each, and kept; refuse more than this.
        every_use_known: refuse such parameters at all.
        each_alone: False refuses rows that take a backward pass each.
        copied: make all rows with copies of the parameters, without looking for known uses.
        most_outputs: refuse samples with more outputs, each of which may take a backward pass.
        check: compare a random combination of a micro-batch's rows with one backward pass along
            it. Where they differ the rows are made again with copies of all parameters, and where
            that does not do either, each by a backward pass of its own ("redo"), or refused
            ("raise"). "none" is for who compares with a product himself.

    Attributes:
        rows: number of rows.
        alone: why there are rows that took a backward pass each; "" if there are none.
        copied: whether copies of all parameters were needed.
        slope: what the rows have to be added up with to give the gradient of the task, shape
            (rows,): gradient = U' slope; None if they cannot (a loss with a slope that does not
            curve).
        unit: scalar multiplications of one gradient of the task.
        cost: work done so far in gradients of the task, by counting multiplications; that of
            checking is not counted.

    Raises:
        ValueError: the loss is not convex in the outputs or takes samples together, outputs are
            not samples first, there are parameters of unknown use, or rows did not pass the check.
        MemoryError: more than max_bytes would be needed.
    """

    @torch.enable_grad()
    def __init__(
        self,
        task: TaskLoss,
        params: Sequence[Tensor],
        combinations: Callable[[Tensor, Outputs], Directions] = output_factor,
        *,
        max_bytes: int = 2**31,
        every_use_known: bool = False,
        each_alone: bool = True,
        copied: bool = False,
        most_outputs: float = math.inf,
        check: str = "redo",
    ):
        one_of("check", check, CHECKS)
        if not isinstance(task, TaskLoss):
            raise TypeError(
                f"expected task as a TaskLoss, got {type(task).__name__}: make it of the closure, "
                "as rlhf_lib.objective.TaskLoss(closure, batches)"
            )
        self.params, self.rows = check_params(params), 0
        self.alone, self._max_bytes = "", max_bytes
        self._each_alone, self.copied = flag("each_alone", each_alone), flag("copied", copied)
        self._found: list[list[PerSample]] = [[] for _ in self.params]
        # Multiplications: of the forward passes, of making all rows, and of one product with them.
        self._forward = self._backward = self._weights = samples = 0
        slopes: list[Tensor | None] = []
        batches = task.evaluate()
        for k in itertools.count():
            tape = Tape(self.params)
            with tape:
                batch = next(batches, None)
            if batch is None:
                break
            weight, loss, outputs = batch
            n = len(outputs[0]) if outputs and outputs[0].ndim else 0
            if every_use_known and tape.other:
                raise ValueError(f"parameters are used in {sorted(set(tape.other.values()))}")
            if every_use_known and tape.uses and tape.samples != n:
                raise ValueError(f"parameters are used in functions of {tape.samples} rows")
            if sum(o[0].numel() for o in outputs if o.ndim) > most_outputs:
                raise ValueError(f"samples have more than {most_outputs} outputs")
            factor = combinations(weight * loss, outputs)
            slope = None
            if combinations is output_factor:
                slope = gradients(weight * loss, outputs, retain_graph=True)
            slopes.append(None if slope is None else _coordinates(slope, factor))
            samples += n
            self._add(_Batch(tape, outputs, factor, self.rows, n, partial(task.evaluate, k)), check)
        known = [part for part in slopes if part is not None]
        self.slope = torch.cat(known) if len(known) == len(slopes) else None
        self._directions = max(self.rows, 1) / max(samples, 1)  # of the outputs, in a sample
        self.unit = 3 * max(self._forward, 1)
        self.cost = (self._forward + self._backward) / self.unit

    def _add(self, batch: _Batch, check: str) -> None:
        """The rows of a micro-batch, by the first way whose rows pass the check."""
        self.rows += len(batch.factor) * batch.n
        ways: list[Callable[[_Batch], None]] = [] if self.copied else [self._from_tape]
        if self.copied or check != "none":
            ways.append(self._by_copies)
        if check == "redo" and self._each_alone:
            ways += [partial(self._one_by_one, why=_MIXED, at_once=k) for k in (_AT_ONCE, 1)]
        counts, reason = self._counts(), _MIXED
        for last, way in enumerate(ways, 1 - len(ways)):
            try:
                way(batch)
            except _NoCopies as error:
                reason = f"{_MIXED}, or copies of the parameters cannot be had ({error})"
            else:
                alone = check == "redo" and self._each_alone and not last
                if check == "none" or not batch.factor or alone or self._agree(batch):
                    self.copied |= way == self._by_copies
                    return
            self._forget(batch, range(len(self.params)), counts)
        raise ValueError(f"there are no rows of single samples: {reason}")

    def _counts(self) -> tuple[int, int, int]:
        return self._forward, self._backward, self._weights

    def _forget(self, batch: _Batch, which: Collection[int], counts: tuple[int, int, int]) -> None:
        """The rows of these parameters that were made of a micro-batch, and their work."""
        self._forward, self._backward, self._weights = counts
        for i in which:
            self._found[i] = [part for part in self._found[i] if part.row < batch.first]

    def _from_tape(self, batch: _Batch) -> None:
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
                    self._found[use.param].append(use.rows(row, g))
            hidden = _backward(batch.outputs, [self.params[i] for i in rest], direction)
            unknown |= {i for i, g in zip(rest, hidden, strict=True) if g is not None}
        multiplications = sum(use.multiplications for use in tape.uses)
        self._forward += multiplications
        self._backward += len(batch.factor) * multiplications
        self._weights += len(batch.factor) * multiplications
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

    def _by_copies(self, batch: _Batch, which: Collection[int] | None = None) -> None:
        """Rows of these parameters, default all, from one evaluation with copies of them."""
        which = range(len(self.params)) if which is None else which
        self._afford(batch, which)
        try:
            with Apart([self.params[i] for i in which], batch.n) as apart:
                ((_, _, outputs),) = batch.again()
            for row, direction in batch.directions():
                for i, g in zip(which, _backward(outputs, apart.copies, direction), strict=True):
                    if g is not None:
                        self._found[i].append(Plain(row, g.reshape(batch.n, -1)))
        except (Interrupted, MemoryError):
            raise
        except Exception as error:  # a function that has no rule for copies, or shapes that differ
            raise _NoCopies(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
        self._plain_work(batch, which, apart.multiplications, len(batch.factor))

    def _one_by_one(
        self,
        batch: _Batch,
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
                self._found[i].append(m)
        self._plain_work(batch, which, 0, n * len(batch.factor))

    def _afford(self, batch: _Batch, which: Collection[int]) -> None:
        """Raise MemoryError where rows of these parameters, written out, take too much."""
        held = sum(m.matrix.nbytes for ms in self._found for m in ms if isinstance(m, Plain))
        entries = sum(self.params[i].numel() for i in which)
        needed = held + len(batch.factor) * batch.n * entries * self.params[0].element_size()
        if needed > self._max_bytes:
            raise MemoryError(
                f"per-sample gradients of {batch.words} take more than max_bytes = "
                f"{self._max_bytes / 2**30:,.1f} GiB: use solver='cg' or fewer samples, or raise "
                "max_bytes"
            )

    def _plain_work(
        self, batch: _Batch, which: Collection[int], multiplications: int, passes: int
    ) -> None:
        """Count rows that are written out; every weight is used once a sample at the least."""
        params = [self.params[i] for i in which]
        least = batch.n * sum(p.numel() for p in params if p.ndim > 1)
        self._forward += max(multiplications, least)
        self._backward += 2 * passes * max(multiplications, least)
        self._weights += len(batch.factor) * batch.n * sum(p.numel() for p in params)

    def _agree(self, batch: _Batch, which: Collection[int] | None = None) -> bool:
        """Whether U' alpha is the gradient of the outputs along alpha's combination of rows.

        For random signs alpha, so that rows which are wrong alone cannot be right together; by
        these parameters, default all.
        """
        which = range(len(self.params)) if which is None else which
        params = [self.params[i] for i in which]
        like, first, outputs, factor = self.params[0], batch.first, batch.outputs, batch.factor
        signs = torch.randint(2, (self.rows - first,), generator=torch.Generator().manual_seed(0))
        alpha = (2 * signs - 1).to(like)
        along = [torch.zeros_like(d) for d in factor[0]]
        for a, direction in zip(alpha.split(batch.n), factor, strict=True):
            for total, d in zip(along, direction, strict=True):
                total += a.view(-1, *[1] * (d.ndim - 1)).to(d.dtype) * d
        truth = _backward(outputs, params, along)
        error = size = 0.0
        with torch.no_grad():
            for i, p, g in zip(which, params, truth, strict=True):
                total = torch.zeros_like(p, memory_format=torch.contiguous_format)
                for part in self._found[i]:
                    if part.row >= first:
                        part.lift(alpha[part.row - first : part.row - first + part.n], total)
                g = total.new_zeros(()) if g is None else g
                error, size = error + float((total - g).norm()) ** 2, size + float(g.norm()) ** 2
        eps = max(
            torch.finfo(d).eps
            for d in {*batch.tape.dtypes, like.dtype, *(o.dtype for o in outputs)}
        )
        return error <= eps * size

    @property
    def held_bytes(self) -> list[int]:
        """Memory that the rows of each parameter hold; what two of them share counts for both."""
        return [
            sum({t.data_ptr(): t.nbytes for part in found for t in part.tensors}.values())
            for found in self._found
        ]

    @property
    def predicted_cost(self) -> float:
        """Gradients that a Gram matrix, its factorization, a projection and a lift will take."""
        entries, written = self._entries()
        passes = 3 if written else 2  # over all weights
        work = passes * self._weights + self.rows**2 * (entries + written)
        return work / self.unit + self.factorization_cost

    def _entries(self) -> tuple[int, int]:
        """Numbers in a row that K sums over: products of few numbers, and those written out."""
        entries = written = 0
        for p, found in zip(self.params, self._found, strict=True):
            tables = [part for part in found if isinstance(part, Lookup)]
            if _one_token(found):
                entries += sum(p.shape)
            elif found:
                looked_up = len(tables) == len(found)
                rows = len(tables[0].ids.unique()) if looked_up else len(p) if p.ndim else 1
                written += rows * (p[0].numel() if p.ndim > 1 else 1)
        return entries, written

    @property
    def predicted_work(self) -> Work:
        """What :attr:`predicted_cost` counts, and the memory that it goes through."""
        entries, written = self._entries()
        n = sum(p.numel() for p in self.params)
        return Work(
            flops=2 * self.unit * self.predicted_cost,
            # Every part of U is filled with zeros, written and read, and is too large for a cache.
            operands=self.rows * (entries + 2 * written),
            elements=self.rows * written,
            vectors=_VECTOR_MOVES * n,
            calls=3 * sum(len(found) for found in self._found),
        )

    def product_work(self, product_cost: float) -> Work:
        """A Gauss-Newton product with the same model, of this cost in gradients.

        What is no matrix product is not on the tape: it is as in a transformer, where the layer
        norms' derivatives take most of it.
        """
        outer = [part for found in self._found for part in found if isinstance(part, Outer)]
        activations = sum(p.left.numel() + p.right.numel() for p in outer) / self._directions
        n = sum(p.numel() for p in self.params)
        return Work(
            flops=2 * self.unit * product_cost,
            operands=3 * product_cost * (activations + n),
            elements=20 * activations,
            vectors=2 * n,
            calls=74 * len(outer) / self._directions,
        )

    @property
    def factorization_cost(self) -> float:
        """Gradients that a Cholesky factorization of a (rows, rows) matrix takes."""
        return self.rows**3 / 6 / self.unit

    def slices(self, pieces: Sequence[int]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """U a part at a time, the parameters of these indices one after the other.

        Yields (parameter's index, those of its rows that the part is of, U there, (rows, m)). The
        next part is written where this one was.
        """
        like = self.params[0]
        # At least one row of the widest parameter, and at least one entry for each row.
        widest = max((p[0].numel() for p in self.params if p.ndim > 1), default=1)
        size = max(_BUFFER // like.element_size(), self.rows * widest)
        buffer = torch.empty(size, dtype=like.dtype, device=like.device)
        for i in pieces:
            checkpoint()
            p, found = self.params[i], self._found[i]
            width = p[0].numel() if p.ndim > 1 else 1
            chosen = torch.arange(p.numel() // width, device=like.device)
            tables = [part for part in found if isinstance(part, Lookup)]
            if len(tables) == len(found):
                # Most of a vocabulary does not occur.
                ids = torch.cat([part.ids.reshape(-1) for part in tables]).unique()
                chosen = ids[ids >= 0]
                found = [part.renumbered(chosen) for part in tables]
            step = max(1, size // (self.rows * width))
            for lo in range(0, len(chosen), step):
                hi = min(lo + step, len(chosen))
                out = buffer[: self.rows * (hi - lo) * width].zero_()
                out = out.view(self.rows, hi - lo, width)
                for part in found:
                    part.write(lo, hi, out[part.row : part.row + part.n])
                yield i, chosen[lo:hi], out.view(self.rows, -1)
        self.cost += self._weights / self.unit if pieces else 0.0

    @torch.no_grad()
    def gram(self, inverse: Tensor) -> Tensor:
        """K = U diag(inverse) U', shape (rows, rows), for ``inverse`` of shape (n,)."""
        self._check("inverse", inverse, sum(p.numel() for p in self.params))
        K = inverse.new_zeros(self.rows, self.rows)
        pieces = unflatten(inverse, self.params)
        uniform = [not any(w.stride()) or bool((w == w.reshape(-1)[0]).all()) for w in pieces]
        written = []
        for i, found in enumerate(self._found):
            products = _one_token(found) if uniform[i] else []
            if products:
                self._add_products(K, products, float(pieces[i].reshape(-1)[0]))
                self.cost += self.rows**2 * sum(self.params[i].shape) / self.unit
            elif found:
                written.append(i)
        for i, chosen, part in self.slices(written):
            w = pieces[i].reshape(-1, part.shape[1] // len(chosen))
            if uniform[i]:
                K.addmm_(part, part.T, alpha=float(w[0, 0]))
            else:
                K.addmm_(part * w[chosen].reshape(-1), part.T)
            self.cost += part.shape[0] * part.numel() / self.unit
        return K

    @torch.no_grad()
    def diagonal(self) -> Tensor:
        """Diagonal of U'U, shape (n,)."""
        out = torch.cat([torch.zeros_like(p).reshape(-1) for p in self.params])
        pieces = unflatten(out, self.params)
        for i, chosen, part in self.slices([i for i, found in enumerate(self._found) if found]):
            squares = part.square().sum(0).view(len(chosen), -1)
            pieces[i].view(-1, squares.shape[1]).index_add_(0, chosen, squares)
        return out

    def _check(self, name: str, v: Tensor, n: int) -> None:
        vector(name, v, n)
        if v.dtype != self.params[0].dtype:
            raise ValueError(f"expected {name} in {self.params[0].dtype}, got {v.dtype}")

    def _add_products(self, K: Tensor, found: list[Outer], inverse: float) -> None:
        """Where no sum over tokens runs, x x' times g g' is all: no row has to be written."""
        for a in found:
            for b in found:
                K[a.row : a.row + a.n, b.row : b.row + b.n] += (
                    (a.left[:, 0] @ b.left[:, 0].T) * (a.right[:, 0] @ b.right[:, 0].T) * inverse
                )

    @torch.no_grad()
    def project(self, v: Tensor) -> Tensor:
        """U v, shape (rows,), for v of shape (n,)."""
        self._check("v", v, sum(p.numel() for p in self.params))
        product = v.new_zeros(self.rows)
        for piece, found in zip(unflatten(v, self.params), self._found, strict=True):
            for part in found:
                product[part.row : part.row + part.n] += part.project(piece)
        self.cost += self._weights / self.unit
        return product

    @torch.no_grad()
    def lift(self, alpha: Tensor, out: Tensor | None = None) -> Tensor:
        """U' alpha, shape (n,), for alpha of shape (rows,); into ``out`` if it is given."""
        self._check("alpha", alpha, self.rows)
        out = alpha.new_empty(sum(p.numel() for p in self.params)) if out is None else out
        out.zero_()
        for piece, found in zip(unflatten(out, self.params), self._found, strict=True):
            for part in found:
                part.lift(alpha[part.row : part.row + part.n], piece)
        self.cost += self._weights / self.unit
        return out


def _one_token(found: list[PerSample]) -> list[Outer]:
    """All of them, if each is the product of two vectors a sample; otherwise none."""
    outer = [part for part in found if isinstance(part, Outer) and part.left.shape[1] == 1]
    return outer if len(outer) == len(found) else []


def _coordinates(slope: Sequence[Tensor], factor: Directions) -> Tensor | None:
    """Multiples of a micro-batch's directions that add up to the loss's slope at its outputs."""
    n = len(slope[0])
    rest = torch.cat([part.detach().reshape(n, -1) for part in slope], 1)
    size, found = float(rest.norm()), [rest.new_zeros(0)]
    for direction in factor:  # orthogonal to one another in every sample
        d = torch.cat([part.reshape(n, -1) for part in direction], 1)
        squared = (d * d).sum(1)
        along = torch.where(squared > 0, (rest * d).sum(1) / squared, 0.0)
        rest = rest - along[:, None] * d
        found.append(along)
    left = float(rest.norm())
    return torch.cat(found) if left <= 100 * torch.finfo(rest.dtype).eps * size else None


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
