"""Prune a model: single weights under masks, or heads and neurons taken out for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from ..objective.task_loss import TaskLoss
from .saliency import saliencies, task_loss
from .surgeon import input_second_moments, layer_surgery
from .units import find_units, gate_saliencies
from .weights import is_quantized, make_permanent, masked, refuse_masks, weight_modules

METHODS = ("magnitude", "obd", "obs")


def prune(
    model: nn.Module,
    fraction: float,
    *,
    by: str = "magnitude",
    structured: str | None = None,
    per_layer: bool = False,
    embeddings: bool = False,
    loss_fn: Callable | None = None,
    batches: Iterable | None = None,
    curvature: str = "ggn",
    damping: float = 0.01,
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Take the least salient weights out of a model, in place. Biases and LayerNorm stay.

    fraction: share of all weights that are gone afterwards, those pruned before included (what is
        gone stays gone); of units, the share of those still there; 0 <= fraction < 1.
    by: "magnitude"; "obd", (1/2) h_ii theta_i^2 with a diagonal of the curvature of the loss
        (LeCun, Denker and Solla, 1990); "obs", the optimal brain surgeon layer by layer, with the
        mean squared change of a layer's outputs for the loss: its Hessian, the second moments of
        the layer's inputs, is small enough to be inverted, and the weights that stay move to make
        up for those that go (Hassibi and Stork, 1993; Frantar and Alistarh, 2023).
    structured: None prunes single weights; masks of torch.nn.utils.prune keep them zero while
        training goes on, until :func:`make_permanent`. "heads" or "neurons" (of the feed-forward
        parts) rebuilds the matrices without them: fewer bytes, less time. At least one unit stays
        in each layer. "obs" is there for single weights alone.
    per_layer: the same fraction of every layer; False compares the saliencies of all of them.
        "obs" is always per layer, since each layer has its own loss.
    embeddings: prune embeddings, too (single weights, not by "obs").
    loss_fn, batches: for "obd" and "obs": ``loss_fn(batch)`` returns (mean loss, outputs), as a
        task's; batches of samples to look at.
    curvature: of "obd": "ggn", "fisher", or "hessian" by ``samples`` products with random signs
        from ``generator``.
    damping: of "obs", relative to the mean of M's diagonal.

    Returns the masks by weight (True where it is kept), or the kept units' indices by layer. Make
    an optimizer afterwards: parameters are new ones.

    Raises ValueError or TypeError with what was expected.
    """
    if by not in METHODS:
        raise ValueError(f"by: expected one of {METHODS}, got {by!r}")
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction: expected 0 <= fraction < 1, got {fraction!r}")
    if any(is_quantized(p) for p in model.parameters()):
        raise ValueError("expected a float model, got a quantized one: prune first, then quantize")
    if structured is not None:
        return _prune_units(model, fraction, by, structured, per_layer, loss_fn, batches)
    if by == "obs" and embeddings:
        raise ValueError("expected linear layers with by='obs', got embeddings: leave them out")
    task = task_loss(loss_fn, batches, by)
    under_masks = [(m, m.get_buffer("weight_mask").bool()) for m in masked(model)]
    make_permanent(model)
    # By parameter, since a tied one has several modules, and each computes with it.
    masks = {id(m.weight): mask for m, mask in under_masks}
    try:
        modules = weight_modules(model, embeddings=embeddings)
        gone = {n: ~masks[id(m.weight)] for n, m in modules.items() if id(m.weight) in masks}
        if by == "obs":
            keep = _operate(modules, task, fraction, gone, damping)
        else:
            scores = saliencies(
                modules, by, task, curvature=curvature, samples=samples, generator=generator
            )
            for name, mask in gone.items():  # what is gone goes first
                scores[name] = scores[name].masked_fill(mask, -1.0)
            keep = keep_masks(scores, fraction, per_tensor=per_layer)
            for name, mask in gone.items():  # and does not come back at a smaller fraction
                keep[name] &= ~mask
        masks |= {id(modules[name].weight): mask for name, mask in keep.items()}
    finally:
        for module in list(model.modules()):
            known = masks.get(id(module._parameters.get("weight")))
            if known is not None:
                _mask(module, known)
    return keep


def _operate(
    modules: dict[str, nn.Module],
    task: TaskLoss | None,
    fraction: float,
    gone: dict[str, Tensor],
    damping: float,
) -> dict[str, Tensor]:
    """The surgeon's masks; the weights are moved."""
    layers = {n: m for n, m in modules.items() if isinstance(m, nn.Linear)}
    if not layers:
        raise TypeError("by='obs': expected a model with linear layers, got none")
    assert task is not None  # see task_loss
    moments = input_second_moments(layers, task, damping)
    keep = {}
    for name, module in layers.items():
        new, keep[name] = layer_surgery(module.weight, moments.pop(name), fraction, gone.get(name))
        with torch.no_grad():
            module.weight.copy_(new)
    return keep


def _mask(module: nn.Module, keep: Tensor) -> None:
    required = module.get_parameter("weight").requires_grad
    torch_prune.custom_from_mask(module, "weight", keep)
    module.get_parameter("weight_orig").requires_grad_(required)


def keep_masks(
    scores: dict[str, Tensor], fraction: float, *, per_tensor: bool = False
) -> dict[str, Tensor]:
    """Masks that are False at the round(fraction * n) least scores, of all or of each tensor.

    Ties go to the entry that comes first.
    """
    if per_tensor:
        return {
            name: _keep(score.reshape(-1), fraction).view_as(score)
            for name, score in scores.items()
        }
    flat = _keep(torch.cat([s.reshape(-1) for s in scores.values()]), fraction)
    pieces = flat.split([s.numel() for s in scores.values()])
    return {n: p.view_as(s) for (n, s), p in zip(scores.items(), pieces, strict=True)}


def _keep(score: Tensor, fraction: float) -> Tensor:
    keep = torch.ones(len(score), dtype=torch.bool, device=score.device)
    keep[score.argsort(stable=True)[: round(fraction * len(score))]] = False
    return keep


def _prune_units(
    model: nn.Module,
    fraction: float,
    by: str,
    kind: str,
    per_layer: bool,
    loss_fn: Callable | None,
    batches: Iterable | None,
) -> dict[str, Tensor]:
    if by == "obs":
        raise ValueError(
            "expected by='magnitude' or 'obd' for units, got 'obs', which prunes single weights"
        )
    refuse_masks(model)
    units = find_units(model, kind)
    task = task_loss(loss_fn, batches, by)
    worth = [u.magnitude() for u in units] if task is None else gate_saliencies(units, task)
    # The best unit of each layer is beyond comparison: an empty layer cannot be computed.
    scores = {
        u.name: w.index_fill(0, w.argmax(), torch.inf) for u, w in zip(units, worth, strict=True)
    }
    total = sum(len(w) for w in worth)
    most = 1 - len(units) / total
    if round(fraction * total) > total - len(units):
        raise ValueError(
            f"expected a fraction of at most {most:.3f}, since at least one of the {kind} stays in "
            f"each of {len(units)} layers, got {fraction}"
        )
    masks = keep_masks(scores, fraction, per_tensor=per_layer)
    kept = {name: (mask | scores[name].isinf()).nonzero()[:, 0] for name, mask in masks.items()}
    for unit in units:
        unit.keep(kept[unit.name])
    return kept
