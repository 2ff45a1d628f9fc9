"""A factor of the loss Hessian at the model's outputs, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..objective.task_loss import Outputs, gradients

Directions = Sequence[Sequence[Tensor]]  # at the outputs, each a list of tensors like them


def output_factor(loss: Tensor, outputs: Outputs, *, max_bytes: int = 2**31) -> list[list[Tensor]]:
    """Directions S_k at the outputs with sum_k S_k S_k' = Hessian of the loss, sample by sample.

    Args:
        loss: scalar; a sum over samples of a function of each sample's outputs.
        outputs: tensors of shape (n, ...).
        max_bytes: refuse samples with so many outputs that their Hessians take more.

    Returns:
        As many directions as the largest rank of a sample; each is a list of tensors like outputs.

    Raises:
        ValueError: a sample's Hessian has a negative eigenvalue: the loss is not convex there; or
            the loss is no sum over samples.
        MemoryError: more than max_bytes would be needed.
    """
    n = outputs[0].shape[0] if outputs and outputs[0].ndim else 0
    if n == 0 or any(o.ndim == 0 or o.shape[0] != n for o in outputs):
        raise ValueError(
            "expected outputs with the samples along their first dimension, got shapes "
            f"{[tuple(o.shape) for o in outputs]}; use solver='cg' for any others"
        )
    sizes = [o.numel() // n for o in outputs]
    needed = 16 * n * sum(sizes) ** 2  # eigenvectors in double precision, beside the matrices
    if needed > max_bytes:
        raise MemoryError(
            f"{n} samples of {sum(sizes):,} outputs have Hessians of {needed / 2**30:,.1f} GiB at "
            f"these, more than max_bytes = {max_bytes / 2**30:,.1f} GiB: use solver='cg'"
        )
    slope = gradients(loss, outputs, create_graph=True)
    curved = [(s, k) for k, s in enumerate(slope) if s.requires_grad]
    columns = []
    for k, size in enumerate(sizes):
        for j in range(size if any(k == i for _, i in curved) else 0):
            unit = outputs[k].new_zeros(n, size)
            unit[:, j] = 1.0
            columns.append(
                (k, j, gradients(slope[k], outputs, unit.view_as(outputs[k]), retain_graph=True))
            )
    if not columns:
        return []
    blocks = outputs[0].new_zeros(n, sum(sizes), sum(sizes))
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    for k, j, column in columns:
        blocks[:, :, starts[k] + j] = torch.cat([c.detach().reshape(n, -1) for c in column], 1)
    _check_blocks(blocks, slope, outputs)
    values, vectors = torch.linalg.eigh((blocks + blocks.mT).double() / 2)
    largest = values.abs().amax(1, keepdim=True)
    precision = 10 * values.shape[1] * torch.finfo(outputs[0].dtype).eps
    rounding = precision * largest
    # A saturated softmax leaves only rounding, as large as the terms that have cancelled: as the
    # curvature of other samples, or as the 1 / n of a mean.
    if bool((values < -max(float(rounding.max()), precision / n)).any()):
        raise ValueError(
            "the loss is not convex in the outputs, so that the Gauss-Newton matrix is no U'U: "
            "use solver='cg'"
        )
    roots = (values * (values > rounding)).sqrt()
    factor = (vectors * roots[:, None, :]).to(outputs[0].dtype)  # (n, m, m)
    kept = (roots > 0).any(0).nonzero().flatten().tolist()
    return [
        [
            part.reshape(o.shape)
            for part, o in zip(factor[:, :, k].split(sizes, 1), outputs, strict=True)
        ]
        for k in kept
    ]


def combination(factor: Directions) -> tuple[Tensor, list[Tensor]]:
    """A random combination of rows, and of their directions: what is wrong in one shows in it.

    factor: k directions of n samples each. Returns signs, shape (k, n), the same ones in each call,
    and tensors like the outputs.
    """
    signs = _signs(len(factor), len(factor[0][0]))
    along = [torch.zeros_like(d) for d in factor[0]]
    for some, direction in zip(signs, factor, strict=True):
        for total, d in zip(along, direction, strict=True):
            total += some.to(d).view(-1, *[1] * (d.ndim - 1)) * d
    return signs, along


def _signs(*shape: int) -> Tensor:
    return 2 * torch.randint(2, shape, generator=torch.Generator().manual_seed(0)) - 1


def _check_blocks(blocks: Tensor, slope: Sequence[Tensor], outputs: Outputs) -> None:
    """Raise ValueError where the loss's Hessian is more than its blocks of single samples."""
    n, m, _ = blocks.shape
    u = _signs(n, m).to(blocks)
    parts = [
        p.reshape(o.shape)
        for p, o in zip(u.split([o.numel() // n for o in outputs], 1), outputs, strict=True)
    ]
    curved = [(s, p) for s, p in zip(slope, parts, strict=True) if s.requires_grad]
    product = gradients([s for s, _ in curved], outputs, [p for _, p in curved], retain_graph=True)
    whole = torch.cat([g.detach().reshape(n, -1) for g in product], 1)
    own = torch.einsum("nab,nb->na", blocks, u)
    eps = torch.finfo(blocks.dtype).eps
    if float((whole - own).norm()) > eps**0.5 * float(whole.norm()) + 10 * eps * (n * m) ** 0.5:
        raise ValueError(
            "the loss is no sum over samples: it takes the outputs of several samples together (a "
            "contrastive loss, or a root of a mean?), so that there are no rows of single samples; "
            "use solver='cg', and preconditioner='hutchinson' or curvature='hessian' for diagonals"
        )
