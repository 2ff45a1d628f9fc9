"""How much memory a linearization takes, known before it is computed: from a few samples' rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .data import Part, take

_PROBE = 4  # samples that show how much the rows of a sample hold
_GIB = 2**30


@dataclass(frozen=True)
class Needs:
    """What the matrices take, whatever the parameters.

    Attributes:
        rows: of all data; first: those of the training data. cells: matrices of (first, rows).
        max_bytes: most memory for these and the per-sample rows together.
    """

    rows: int
    first: int
    cells: int
    max_bytes: int

    @property
    def matrices(self) -> int:
        """Bytes of the Gram matrices and of the copy that puts them in order, in float64."""
        return 2 * 8 * self.cells * self.first * self.rows


def chunks_of(rows, params: Sequence[Tensor], needs: Needs) -> list[list[int]]:
    """Indices of the parameters in chunks whose rows fit into memory beside the matrices.

    Args:
        rows: makes the rows, see :class:`~rlhf_lib.linearized.gram.Rows`.

    Raises:
        MemoryError: the matrices, or the rows of one parameter alone, are too large.
    """
    room = needs.max_bytes - needs.matrices
    if room <= 0:
        raise MemoryError(
            f"Gram matrices of {needs.first:,} x {needs.rows:,} margins for {needs.cells} cells of "
            f"parameters take {needs.matrices / _GIB:,.2f} GiB, max_bytes is "
            f"{needs.max_bytes / _GIB:,.2f} GiB: take fewer samples or outputs, or raise max_bytes"
        )
    few = type(rows)(
        rows.model, [_some(part, _PROBE) for part in rows.parts], rows.loss, rows.contrast, _PROBE
    )
    space, _ = few.space(params, needs.max_bytes)
    times = needs.rows / max(few.layout.rows, 1)
    held = [math.ceil(times * size) for size in space.held_bytes]
    chunks, used = [[]], 0
    for i, size in enumerate(held):
        if size > room:
            raise MemoryError(
                f"per-sample rows of parameter {i}, shape {tuple(params[i].shape)}, take "
                f"{size / _GIB:,.2f} GiB for {needs.rows:,} margins, beside Gram matrices of "
                f"{needs.matrices / _GIB:,.2f} GiB; max_bytes is {needs.max_bytes / _GIB:,.2f} "
                "GiB: take fewer samples, freeze this parameter, or raise max_bytes"
            )
        if chunks[-1] and used + size > room:
            chunks.append([])
            used = 0
        chunks[-1].append(i)
        used += size
    return chunks


def _some(part: Part, count: int) -> Part:
    count = min(count, len(part))
    shape = type(part.shape)((count, *part.shape[1:]))
    inside = part.sample < count
    return Part(
        take(part.inputs, slice(0, count)),
        part.raw[:count],
        part.mask[:count],
        shape,
        part.targets[inside],
        part.sample[inside],
    )
