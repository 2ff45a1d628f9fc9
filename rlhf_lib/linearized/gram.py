"""The Gram matrices J J' of the margins, cell by cell of the parameters, from per-sample rows.

A *cell* is a group of parameters that share one lambda whatever is asked for later: a named group,
and of it the penalized parameters or those that penalties leave out. With a Gram matrix for each,
K = sum_c K_c / (lambda_c + mu) is there for every lambda and mu without another pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..interrupt import checkpoint
from ..objective.parameters import flatten
from ..objective.task_loss import TaskLoss
from ..per_sample.factor import SampleSpace
from .data import Layout, Part, call, micro_batches
from .fingerprint import sketch, sketch_all
from .losses import OutputLoss
from .memory import Needs, chunks_of


@dataclass(frozen=True)
class Cell:
    """Parameters of one group, penalized or not.

    Attributes:
        group: its name. penalized: whether penalties count it by default.
        members: indices of the parameters. size: how many numbers they hold.
    """

    group: str
    penalized: bool
    members: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Grams:
    """What is kept of J, the Jacobian of the margins at theta_0. c counts cells.

    Rows are margins, (term, m) flattened, training first: n of training, h held out.

    Attributes:
        matrices: J_c[training] J_c', (c, n, n + h).
        held: J_c J_c' of each held-out term with itself, (c, R_h, m, m).
        start: the margins at theta_0, (n + h,).
        reach: J_c theta_0, (c, n + h). norms: |theta_0|^2 of each cell, (c,).
        cost: what it took, in gradients of the mean loss over all samples, training and held out.
    """

    matrices: Tensor = field(repr=False)
    held: Tensor = field(repr=False)
    start: Tensor = field(repr=False)
    reach: Tensor = field(repr=False)
    norms: Tensor = field(repr=False)
    cost: float = 0.0


class Rows:
    """The rows of J for any of the parameters, in the order in which micro-batches make them.

    Args:
        parts: the training part, and the held-out one if there is one.
        contrast: the margins as combinations of a term's outputs, (m, C).
    """

    def __init__(
        self,
        model: Callable,
        parts: Sequence[Part],
        loss: OutputLoss,
        contrast: Tensor,
        micro_batch: int,
    ):
        self.model, self.parts, self.loss = model, parts, loss
        self.contrast, self.micro_batch = contrast, micro_batch
        self.layout = Layout.of(parts, len(contrast), micro_batch)

    def space(self, params: Sequence[Tensor], max_bytes: int) -> tuple[SampleSpace, Tensor]:
        """The rows of these parameters, and the margins as they are, (rows,)."""
        places, margins = iter(self.layout.places), []

        def combinations(_, outputs):
            (found,) = outputs
            terms = self.loss.terms(found)
            there = next(places)
            along = []
            for t in there:
                for row in self.contrast:
                    direction = terms.new_zeros(terms.shape)
                    direction[:, t] = row
                    along.append([direction.reshape(found.shape)])
            y = terms.detach()[:, there] @ self.contrast.T  # (n, T, m)
            margins.append(y.permute(1, 2, 0).flatten())
            return along

        def outputs(inputs):
            found = call(self.model, inputs)
            return found.sum(), found

        batches = micro_batches(self.parts, self.micro_batch, params[0].device)
        # Equal weights: what is asked for are derivatives of outputs, not of a mean.
        task = TaskLoss(outputs, batches, count=lambda _: 1, device=params[0].device)
        space = SampleSpace(task, params, combinations, max_bytes=max_bytes, check="raise")
        return space, torch.cat(margins)


@torch.no_grad()
def compute_grams(
    rows: Rows,
    params: Sequence[Tensor],
    cells: Sequence[Cell],
    *,
    max_bytes: int,
    double: bool = False,
) -> Grams:
    """Gram matrices by one pass over the data, or by one for each chunk of the parameters.

    Args:
        max_bytes: most memory for per-sample rows and the matrices, see :func:`chunks_of`.
        double: multiply the rows in float64, whatever dtype they have.

    Raises:
        MemoryError: max_bytes will not do; the message has the numbers.
    """
    layout, m, device = rows.layout, len(rows.contrast), params[0].device
    n = len(rows.parts[0].targets) * m
    order, first, total = layout.order.to(device), layout.first, layout.rows
    needs = Needs(total, first, len(cells), max_bytes)
    chunks = chunks_of(rows, params, needs)
    K = torch.zeros(len(cells), first, total, dtype=torch.float64, device=device)
    held = torch.zeros(len(cells), (len(order) - n) // m, m, m, dtype=torch.float64, device=device)
    reach = torch.zeros(len(cells), total, dtype=torch.float64, device=device)
    cell_of = {i: c for c, cell in enumerate(cells) for i in cell.members}
    own, start, unit, work = order[n:].view(-1, m), None, 0, 0.0
    for number, chunk in enumerate(chunks, 1):
        checkpoint("part", number, len(chunks))
        space, y = rows.space([params[i] for i in chunk], max_bytes)
        start = y if start is None else start
        for k, _, part in space.slices(range(len(chunk))):
            c, part = cell_of[chunk[k]], part.double() if double else part
            K[c] += part[:first] @ part.T
            rest = part[own]  # (R_h, m, columns)
            held[c] += rest @ rest.mT
            work += total * first * part.shape[1]
        for c in {cell_of[i] for i in chunk}:
            inside = (params[i] if cell_of[i] == c else torch.zeros_like(params[i]) for i in chunk)
            reach[c] += space.project(flatten(inside))
        unit, work = unit + space.unit, work + space.cost * space.unit
    assert start is not None  # there is at least one chunk
    norms = [sum(float(params[i].double().square().sum()) for i in cell.members) for cell in cells]
    K = K[:, order[:n]][:, :, order]
    K[:, :, :n] = (K[:, :, :n] + K[:, :, :n].mT) / 2  # of single precision, but for rounding
    return Grams(
        K.cpu(),
        held.cpu(),
        start.double()[order].cpu(),
        reach[:, order].cpu(),
        torch.tensor(norms, dtype=torch.float64),
        work / unit + len(chunks) - 1,  # every chunk is another pass through the whole model
    )


def fingerprint_of(rows: Rows, named: Sequence[tuple[str, Tensor]], cells: Sequence[Cell]) -> dict:
    """What a linearization belongs to, see :mod:`~rlhf_lib.linearized.fingerprint`."""
    parts = dict(zip(("training", "held out"), rows.parts, strict=False))
    return {
        "settings": {"loss": rows.loss.name, "margins": len(rows.contrast)},
        "parameters": {name: sketch(p) for name, p in named},
        "groups": {
            f"{cell.group} ({'' if cell.penalized else 'not '}penalized)": " ".join(
                named[i][0] for i in cell.members
            )
            for cell in cells
        },
        **{
            f"{name} data": {"terms": sketch(part.mask), "inputs": sketch_all(part.inputs)}
            for name, part in parts.items()
        },
    }
