"""From coefficients back to parameters: theta - theta_0 = J'b, one pass over the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .data import call, micro_batches

if TYPE_CHECKING:
    from .model import LinearModel
    from .solution import Fit


def lift(model: LinearModel, fit: Fit) -> Tensor:
    """theta - theta_0 of a fit, flat, (n,); the model's parameters have to be theta_0."""
    rows, part, m = model.rows, model.training, model.m
    like = model.theta0
    found = [torch.zeros_like(p) for p in model.params]
    for block, b in zip(fit.problem.blocks, fit.point.b, strict=True):
        n = fit.problem.n
        terms = torch.zeros(len(part.targets), m, dtype=b.dtype)
        terms[fit.index] = b[:n].view(-1, m)
        along = torch.zeros(*part.mask.shape, m, dtype=b.dtype)
        along[part.mask] = terms
        members = [i for c in block.cells for i in model.cells[c].members]
        params = [model.params[i] for i in members]
        batches = micro_batches([part], rows.micro_batch, like.device)
        for inputs, weights in zip(batches, along.split(rows.micro_batch), strict=True):
            with torch.enable_grad():
                y = rows.loss.terms(call(rows.model, inputs)) @ rows.contrast.T
                value = (y * weights.to(y)).sum()
            grads = torch.autograd.grad(value, params, allow_unused=True)
            for i, g in zip(members, grads, strict=True):
                if g is not None:
                    found[i] += g
        if block.pulled:
            for i, p in zip(members, params, strict=True):
                found[i] += float(b[-1] - 1) * p.detach()
    return torch.cat([f.reshape(-1) for f in found])
