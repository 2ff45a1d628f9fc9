"""Prune a model: single weights under masks, or heads and neurons taken out for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..arguments import flag, one_of, real, seeded, whole
from ..objective.task_loss import TaskLoss
from .masks import make_permanent, masks, put_mask, refuse_masks
from .saliency import CURVATURES, saliencies, task_loss
from .surgeon import operate
from .units import find_units, gate_saliencies
from .weights import (
    Matrix,
    chosen_matrices,
    find_matrices,
    refuse,
    refuse_not_finite,
    refuse_quantized,
)

METHODS = ("magnitude", "obd", "obs")


def prune(
    model: nn.Module,
    fraction: float,
    *,
    by: str = "magnitude",
    structured: str | None = None,
    per_layer: bool = False,
    embeddings: bool = False,
    others: str | None = None,
    loss_fn: Callable | None = None,
    batches: Iterable | None = None,
    count: Callable | str | None = None,
    curvature: str = "ggn",
    damping: float = 0.01,
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Take the least salient weights out of a model, in place. Biases and LayerNorm stay.

    Weights are the matrices of linear and bilinear layers, convolutions, recurrent layers and
    attention. All or nothing: a call that raises leaves the model as it was.

    fraction: share of all weights that are gone afterwards, those pruned before included (what is
        gone stays gone); of units, the share of those still there; 0 <= fraction < 1.
    by: "magnitude"; "obd", (1/2) h_ii theta_i^2 with a diagonal of the curvature of the loss
        (LeCun, Denker and Solla, 1990); "obs", the optimal brain surgeon layer by layer, with the
        mean squared change of a layer's outputs for the loss: its Hessian, the second moments of
        the layer's inputs, is small enough to be inverted, and the weights that stay move to make
        up for those that go (Hassibi and Stork, 1993; Frantar and Alistarh, 2023).
    structured: None prunes single weights; masks, named as by torch.nn.utils.prune, keep them zero
        while training goes on, until :func:`make_permanent`. "heads" or "neurons" (of the
        feed-forward parts) rebuilds the matrices without them: fewer bytes, less time. At least one
        unit stays in each layer. "obs" is there for single weights alone.
    per_layer: the same fraction of every layer; False compares the saliencies of all of them.
        "obs" is always per layer, since each layer has its own loss.
    embeddings: prune embeddings, too (single weights, not by "obs").
    others: of matrices that no rule says to be weights, parameters of a user's own modules: "prune"
        them or "leave" them. Those that "obs" has no layer's inputs for are others, too. None
        refuses a model that has some, and names them.
    loss_fn, batches: for "obd" and "obs": ``loss_fn(batch)`` returns (mean loss, outputs), as a
        task's; batches of samples to look at. count: "sum" for losses that are sums, or a function
        that gives a batch's weight, see :class:`~rlhf_lib.objective.TaskLoss`.
    curvature: of "obd": "ggn", "fisher", or "hessian" by ``samples`` products with random signs
        from ``generator``.
    damping: of "obs", relative to the mean of M's diagonal.

    Returns the masks by weight (True where it is kept), or the kept units' indices by layer. Make
    an optimizer afterwards: parameters are new ones.

    Raises ValueError or TypeError with what was expected.
    """
    one_of("by", by, METHODS), one_of("curvature", curvature, CURVATURES)
    flag("per_layer", per_layer), flag("embeddings", embeddings), seeded(generator)
    samples = whole("samples", samples, 1)
    fraction, damping = _share(fraction), real("damping", damping, 0.0)
    if structured is not None and by == "obs":
        raise ValueError(
            "expected by='magnitude' or 'obd' for units, got 'obs', which prunes single weights"
        )
    task = task_loss(loss_fn, batches, by, count)
    refuse_quantized(model, "prune first, then quantize")
    if structured is not None:
        return _prune_units(model, fraction, by, structured, per_layer, task)
    if by == "obs" and embeddings:
        raise ValueError("expected linear layers with by='obs', got embeddings: leave them out")
    if others != "leave":
        computed = {n: m for n, m in find_matrices(model).items() if m.role == "parametrized"}
        refuse(
            model,
            computed,
            "weights that are parameters",
            "call torch.nn.utils.parametrize.remove_parametrizations, or others='leave' lets them "
            "be",
        )
    chosen = chosen_matrices(model, embeddings=embeddings, others=others)
    chosen = _of_linear_layers(model, chosen, others) if by == "obs" else chosen
    refuse_not_finite(chosen)
    under_masks = [(m, n, m.get_buffer(f"{n}_mask").bool()) for m, n in masks(model)]
    make_permanent(model)
    # By parameter, since a tied one has several places, and each computes with it.
    keeping = {id(m._parameters[n]): mask for m, n, mask in under_masks}
    try:
        weights: dict[str, Tensor] = {name: matrix.parameter for name, matrix in chosen.items()}
        gone = {n: ~keeping[id(w)] for n, w in weights.items() if id(w) in keeping}
        if by == "obs":
            assert task is not None  # see task_loss
            keep = operate(chosen, task, fraction, gone, damping)
        else:
            scores = saliencies(
                weights, by, task, curvature=curvature, samples=samples, generator=generator
            )
            for name, mask in gone.items():  # what is gone goes first
                scores[name] = scores[name].masked_fill(mask, -1.0)
            keep = keep_masks(scores, fraction, per_tensor=per_layer)
            for name, mask in gone.items():  # and does not come back at a smaller fraction
                keep[name] &= ~mask
        keeping |= {id(weights[name]): mask for name, mask in keep.items()}
    finally:
        for module in list(model.modules()):
            for name, parameter in list(module._parameters.items()):
                if id(parameter) in keeping:
                    put_mask(module, name, keeping[id(parameter)])
    return keep


def _of_linear_layers(
    model: nn.Module, matrices: dict[str, Matrix], others: str | None
) -> dict[str, Matrix]:
    """Those whose layer's inputs tell what the surgeon needs; the rest is left or refused."""
    layers = {n: m for n, m in matrices.items() if m.linear}
    if others != "leave":
        rest = {n: m for n, m in matrices.items() if n not in layers}
        refuse(
            model,
            rest,
            "matrices in linear layers with by='obs'",
            "others='leave' lets them be; by='magnitude' and by='obd' prune them, too",
        )
    if not layers:
        raise TypeError("by='obs': expected a model with linear layers, got none")
    return layers


def _share(fraction: float) -> float:
    number = real("fraction", fraction, finite=False)
    if not 0 <= number < 1:
        raise ValueError(f"fraction: expected 0 <= fraction < 1, got {fraction!r}")
    return number


def keep_masks(
    scores: dict[str, Tensor], fraction: float, *, per_tensor: bool = False
) -> dict[str, Tensor]:
    """Masks that are False at the round(fraction * n) least scores, of all or of each tensor.

    Ties go to the entry that comes first. Raises ValueError for NaN among the scores.
    """
    fraction = _share(fraction)
    flag("per_tensor", per_tensor)
    if not isinstance(scores, dict) or not all(isinstance(s, Tensor) for s in scores.values()):
        raise TypeError(f"expected scores as a dict of tensors by name, got {scores!r:.80}")
    for name, score in scores.items():
        if score.is_meta or score.is_complex():
            raise ValueError(f"expected real scores with values, got others under {name}")
        if bool(score.isnan().any()):
            raise ValueError(f"expected scores to compare, got NaN among those of {name}")
    if per_tensor or not scores:
        return {
            name: _keep(score.reshape(-1), fraction).view_as(score)
            for name, score in scores.items()
        }
    device = next(s.device for s in scores.values())  # parts of a model may be on several
    flat = _keep(torch.cat([s.reshape(-1).to(device) for s in scores.values()]), fraction)
    pieces = flat.split([s.numel() for s in scores.values()])
    return {n: p.view_as(s).to(s.device) for (n, s), p in zip(scores.items(), pieces, strict=True)}


def _keep(score: Tensor, fraction: float) -> Tensor:
    keep = torch.ones(len(score), dtype=torch.bool, device=score.device)
    keep[score.argsort(stable=True)[: round(fraction * len(score))]] = False
    return keep


def _prune_units(
    model: nn.Module, fraction: float, by: str, kind: str, per_layer: bool, task: TaskLoss | None
) -> dict[str, Tensor]:
    refuse_masks(model)
    units = find_units(model, kind)
    parts = {id(linear) for u in units for linear in (*u.inward, u.outward)}
    matrices = {
        n: m for n, m in find_matrices(model).items() if any(id(k) in parts for k, _ in m.places)
    }
    refuse(
        model,
        {n: m for n, m in matrices.items() if not m.linear},
        "units with matrices of their own",
        "tied or parametrized ones would come apart; prune single weights with structured=None",
    )
    refuse_not_finite(matrices)
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
