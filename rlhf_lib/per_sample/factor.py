"""The rows of the Gauss-Newton matrix's factor: G = U'U, by products with U.

With n samples and C classes U has n (C - 1) rows, whatever the number of parameters. They are made
of per-sample gradients, a parameter at a time, so that U never exists as a whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from ..arguments import flag, one_of, vector
from ..interrupt import checkpoint
from ..objective.parameters import check_params, unflatten
from ..objective.task_loss import Outputs, TaskLoss, gradients
from ..work import Work
from .gradients import Lookup, Outer, PerSample
from .loss_factor import Directions, output_factor
from .recorder import Tape
from .rows import Batch, Rows

_VECTOR_MOVES = 12  # vectors that a solution reads and writes beside the rows
_BUFFER = 2**25  # bytes of U formed at a time; a larger part would only leave the cache
CHECKS = ("redo", "raise", "none")


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
        self.params, samples = check_params(params), 0
        made = Rows(
            self.params, check, max_bytes, flag("each_alone", each_alone), flag("copied", copied)
        )
        slopes: list[Tensor | None] = []
        task.compare()  # its passes over parts of a batch are none that the tape should see
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
            made.add(Batch(tape, outputs, factor, made.count, n, partial(task.evaluate, k)))
        self.rows, self.alone, self.copied = made.count, made.alone, made.copied
        self._found, self._weights = made.found, made.weights
        known = [part for part in slopes if part is not None]
        self.slope = torch.cat(known) if len(known) == len(slopes) else None
        self._directions = max(self.rows, 1) / max(samples, 1)  # of the outputs, in a sample
        self.unit = 3 * max(made.forward, 1)
        self.cost = (made.forward + made.backward) / self.unit

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
