"""Training and held-out data as terms: which rows of the Jacobian there are, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from .losses import OutputLoss


@dataclass(frozen=True)
class Part:
    """A set of samples, training or held out.

    Attributes:
        inputs: a tensor, or a dict, list or tuple of tensors, samples first.
        raw: targets as they were given, samples first.
        mask: (n, T), the terms that count.
        shape: (n, T, C) of the outputs.
        targets: of the R terms that count, (R, ...). sample: of which sample each is, (R,).
    """

    inputs: object = field(repr=False)
    raw: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    shape: torch.Size
    targets: Tensor = field(repr=False)
    sample: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.raw)

    def relabelled(self, raw: Tensor, loss: OutputLoss) -> Tensor:
        """The targets of other labels for the same terms, (R, ...).

        Raises:
            ValueError: another number of samples, or other terms count.
        """
        raw = _targets(raw)
        if raw.shape[:1] != self.raw.shape[:1]:
            raise ValueError(
                f"expected labels for all {len(self)} training samples, got shape "
                f"{tuple(raw.shape)}: samples=... chooses among them afterwards"
            )
        targets, mask = _laid_out(loss, raw, self.shape, training=True)
        if mask is not None and not torch.equal(mask, self.mask):
            raise ValueError(
                "expected labels that leave the same terms out, got others: the Gram matrix has "
                "no rows for them, so linearize anew"
            )
        return targets[self.mask]


def check_data(name: str, data) -> None:
    """Raise TypeError or ValueError for what is no pair (inputs, targets) with values."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        got = f"{len(data)} of them" if isinstance(data, tuple | list) else type(data).__name__
        raise TypeError(f"expected {name} as a pair (inputs, targets), got {got}")
    if any(isinstance(t, Tensor) and t.is_meta for t in tree_leaves(data)):
        raise ValueError(f"expected {name} with values, got tensors on the meta device")
    if not count_samples(data[0]):
        raise ValueError(f"expected at least one sample in {name}, got none")


def _targets(raw) -> Tensor:
    try:
        found = torch.as_tensor(raw)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"expected targets as a tensor of numbers, got others: {error}") from error
    if found.is_complex() or found.is_meta:
        raise ValueError(f"expected real targets with values, got {found.dtype} on {found.device}")
    return found


def _laid_out(loss: OutputLoss, raw: Tensor, shape: torch.Size, *, training: bool):
    try:
        return loss.targets(raw.detach().cpu(), shape, training=training)
    except RuntimeError as error:  # of reshape
        raise ValueError(
            f"expected targets that go with outputs of shape {tuple(shape)} for the loss "
            f"{getattr(loss, 'name', loss)}, got shape {tuple(raw.shape)} in {raw.dtype}"
        ) from error


def take(inputs, index: Tensor | slice):
    """The samples of this index of a tensor, or of each tensor of a dict, list or tuple."""
    return tree_map(lambda t: t[index] if isinstance(t, Tensor) and t.ndim else t, inputs)


def to_device(inputs, device: torch.device):
    """The same on another device."""
    return tree_map(lambda t: t.to(device) if isinstance(t, Tensor) else t, inputs)


def count_samples(inputs) -> int:
    """How many samples there are.

    Raises:
        ValueError: the tensors have unequal numbers, or there is none.
    """
    sizes = {len(t) for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim}
    if len(sizes) != 1:
        raise ValueError(
            f"expected inputs with one number of samples along their first dimension, got {sizes}"
        )
    return sizes.pop()


def call(model: Callable, inputs) -> Tensor:
    """The outputs; a dict is passed as keyword arguments, a tuple or list as positional ones."""
    if isinstance(inputs, Mapping):
        found = model(**inputs)
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        found = model(*inputs)
    else:
        found = model(inputs)
    found = getattr(found, "logits", found)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"expected a model that gives its outputs as one tensor, got {type(found).__name__}"
        )
    return found


def make_part(data, loss: OutputLoss, outputs: Tensor, *, training: bool) -> Part:
    """Data as (inputs, targets), laid out in terms like these outputs of a few of its samples."""
    inputs, raw = data
    raw = _targets(raw)
    n = count_samples(inputs)
    if raw.shape[:1] != (n,):
        raise ValueError(f"expected targets of {n} samples, got shape {tuple(raw.shape)}")
    _, T, C = loss.terms(outputs).shape
    shape = torch.Size((n, T, C))
    targets, mask = _laid_out(loss, raw, shape, training=training)
    mask = torch.ones(n, T, dtype=torch.bool) if mask is None else mask
    if not bool(mask.any()):
        raise ValueError("expected at least one target that counts, got none")
    sample = torch.arange(n)[:, None].expand(n, T)[mask]
    return Part(inputs, raw, mask, shape, targets[mask], sample)


@dataclass
class Layout:
    """Where the rows of the sample space are: made micro-batch by micro-batch, ordered by term.

    A micro-batch has one row a sample for each combination of its outputs, combination by
    combination. Those of terms that do not count are there if another sample has that term.

    Attributes:
        order: row number, in the sample space, of each margin of each term, (R m,), training
            first. rows: of the sample space; first: those of the training part.
        places: for each micro-batch, the terms (of T) that any of its samples has.
    """

    order: Tensor
    rows: int
    first: int
    places: list[list[int]]

    @classmethod
    def of(cls, parts: Sequence[Part], m: int, micro_batch: int) -> Layout:
        order, places, start, first = [], [], 0, 0
        for i, part in enumerate(parts):
            for mask in part.mask.split(micro_batch):
                n = len(mask)
                there = mask.any(0).nonzero().flatten().tolist()
                rows = torch.full((n, mask.shape[1], m), -1)
                for k, t in enumerate(there):
                    for j in range(m):
                        rows[:, t, j] = start + (k * m + j) * n + torch.arange(n)
                order.append(rows[mask].flatten())
                places.append(there)
                start += n * len(there) * m
            first = first if i else start
        return cls(torch.cat(order), start, first, places)


def micro_batches(parts: Sequence[Part], size: int, device: torch.device) -> Iterator:
    """The inputs of all parts, a micro-batch at a time, on the device."""
    for part in parts:
        for start in range(0, len(part), size):
            taken = take(part.inputs, slice(start, start + size))
            yield to_device(taken, device)
