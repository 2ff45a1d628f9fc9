"""Linearize a model at its present parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ..arguments import byte_count, flag, named_tensors, whole
from ..objective.groups import check_group
from ..objective.parameters import check_params
from ..regularizers import penalized
from .data import call, check_data, count_samples, make_part, take, to_device
from .files import load_grams
from .gram import Cell, Rows, compute_grams, fingerprint_of
from .losses import OutputLoss, make_loss
from .model import LinearModel


class KnowsItsData(Protocol):
    """What can be linearized by itself, such as a task of `rlhf_lib.text`."""

    def linearize(self, **options) -> LinearModel:
        """Its module on its data, with the options of :func:`linearize`."""
        ...


@torch.no_grad()
def linearize(
    model: Callable | KnowsItsData,
    training: tuple | None = None,
    held_out: tuple | None = None,
    *,
    loss: str | OutputLoss | Callable = "cross_entropy",
    params: Iterable | None = None,
    groups: Mapping[str, Iterable] | Sequence[Mapping] | None = None,
    include_all: bool = False,
    micro_batch: int = 64,
    max_bytes: int = 2**32,
    double: bool = False,
    load: str | os.PathLike | None = None,
) -> LinearModel:
    """The model z(theta) = z_0 + J (theta - theta_0) of a model's outputs z, solved in closed form.

    Everything that is asked of it afterwards (runs, minima, paths over lambda, leave-one-out,
    evidence) happens in the space of the training samples, from the Gram matrix J J' (the empirical
    neural tangent kernel; Jacot, Gabriel and Hongler, 2018), computed here and once. How far the
    model itself would go along with it is another question (Malladi et al., 2023, look at
    fine-tuning): the reduction ratio of a true step answers it.

    Args:
        model: a module, or any function of the inputs that gives outputs (n, ...), samples first;
            a dict of inputs is passed as keyword arguments, a tuple or list as positional ones. A
            sample's outputs must not depend on other samples (no batch normalization in training,
            no dropout). Or an object with ``linearize(**options)``, such as a task of
            `rlhf_lib.text`; training, held_out, loss and params are then its own.
        training, held_out: (inputs, targets), tensors or dicts, lists or tuples of tensors.
        loss: "cross_entropy" (classes along the last dimension; targets -100 do not count),
            "binary" (logits), "mse", or a function from outputs (n, ...) and targets (n, ...) to
            the loss of each sample, (n,), convex in the outputs and twice differentiable.
        params: what is trained: parameters or (name, parameter) pairs; default, a module's that
            require a gradient.
        groups: parameters with a lambda of their own, by name: ``{"head": [...]}`` with parameters,
            or beginnings of their names; what is left is group "rest". Or an optimizer's
            ``param_groups``.
        include_all: penalize biases and normalization weights, too, unless asked otherwise later.
        micro_batch: samples in one graph.
        max_bytes: most memory for per-sample rows and Gram matrices. Rows are made again for
            parts of the parameters where they do not fit in all at once.
        double: multiply float32 rows in float64, which takes twice the time.
        load: a file from `LinearModel.save` for the same model, data (labels may be others) and
            groups: nothing is computed but a check of these.

    Raises:
        MemoryError: max_bytes will not do; said before it is computed, with the numbers.
        ValueError: inputs, targets and outputs do not go together; groups name nothing or overlap;
            the file to load belongs to something else, and what differs.
    """
    if training is None:
        own = getattr(model, "linearize", None)
        if own is None:
            raise ValueError(
                "expected training=(inputs, targets), or a task that knows its data, got "
                f"{type(model).__name__} alone"
            )
        return own(
            groups=groups,
            include_all=include_all,
            micro_batch=micro_batch,
            max_bytes=max_bytes,
            double=double,
            load=load,
        )
    if not callable(model):
        raise TypeError(f"expected a model as a function of inputs, got {type(model).__name__}")
    micro_batch = whole("micro_batch", micro_batch, 1)
    max_bytes = byte_count("max_bytes", max_bytes)
    flag("include_all", include_all), flag("double", double)
    check_data("training", training)
    if held_out is not None:
        check_data("held_out", held_out)
    named = _named(model, params)
    check_params(p for _, p in named)
    rule = make_loss(loss)
    device = named[0][1].device
    outputs = _first_outputs(model, training, device)
    contrast = rule.contrast(outputs).detach()
    parts = [make_part(training, rule, outputs, training=True)]
    if held_out is not None:
        outputs = _first_outputs(model, held_out, device)
        parts.append(make_part(held_out, rule, outputs, training=False))
    rows = Rows(model, parts, rule, contrast, micro_batch)
    cells = cells_of(named, groups)
    tensors = [p for _, p in named]
    if load is None:
        grams = compute_grams(rows, tensors, cells, max_bytes=max_bytes, double=double)
    else:
        grams = load_grams(load, fingerprint_of(rows, named, cells))
    return LinearModel(grams, cells, rows, named, include_all)


def _first_outputs(model: Callable, data: tuple, device: torch.device) -> Tensor:
    """The outputs of a few samples, for their shape, and that they are theirs alone."""
    n = count_samples(data[0])
    few, more = (call(model, to_device(take(data[0], slice(min(k, n))), device)) for k in (2, 3))
    same = few.shape[1:] == more.shape[1:] and len(more) >= len(few)
    tolerance = torch.finfo(few.dtype).eps ** 0.5 if few.is_floating_point() else 0.0
    if same and not torch.allclose(
        few,
        more[: len(few)],
        rtol=0,
        atol=tolerance * max(1.0, float(few.abs().max())),
        equal_nan=True,
    ):
        raise ValueError(
            "expected outputs that depend on their own sample alone, got others beside another "
            "sample: call model.eval() (dropout, batch normalization), and let nothing in the "
            "model draw numbers or take samples together"
        )
    return few


def _named(model, params) -> list[tuple[str, Tensor]]:
    if params is None:
        if not isinstance(model, nn.Module):
            raise ValueError("expected params=..., since the model is a function and no module")
        params = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return [(n or str(i), p) for i, (n, p) in enumerate(named_tensors("params", params))]


def cells_of(named: Sequence[tuple[str, Tensor]], groups) -> list[Cell]:
    """Parameters by group, and in each by whether penalties count them.

    Raises:
        ValueError: a group without parameters, or a parameter in two groups.
    """
    if isinstance(groups, str | Tensor) or not isinstance(groups, Mapping | Iterable | None):
        raise TypeError(f"expected groups as parameters by name, got {type(groups).__name__}")
    if groups is not None and not isinstance(groups, Mapping):
        groups = [check_group(g) for g in groups]
        groups = {str(g.get("name", i)): g["params"] for i, g in enumerate(groups)}
    group_of: dict[int, str] = {}
    for group, members in (groups or {}).items():
        found = _members(named, members)
        if not found:
            raise ValueError(f"expected parameters for group {group!r}, found none")
        twice = [named[i][0] for i in found if i in group_of]
        if twice:
            raise ValueError(f"expected every parameter in one group, {twice[0]} is in two")
        group_of.update(dict.fromkeys(found, group))
    flags = penalized(named)
    cells: dict[tuple[str, bool], list[int]] = {}
    for name in [*(groups or {}), "rest" if groups else "all"]:
        for counts in (True, False):
            cells[name, counts] = []
    for i, counts in enumerate(flags):
        cells[group_of.get(i, "rest" if groups else "all"), counts].append(i)
    return [
        Cell(group, counts, tuple(members), sum(named[i][1].numel() for i in members))
        for (group, counts), members in cells.items()
        if members
    ]


def _members(named, members) -> list[int]:
    if isinstance(members, Tensor) or not isinstance(members, Iterable):
        raise TypeError(f"expected a group's parameters in a list, got {type(members).__name__}")
    members = [members] if isinstance(members, str) else list(members)
    tensors = {id(m[1] if isinstance(m, tuple) else m) for m in members if not isinstance(m, str)}
    starts = tuple(m for m in members if isinstance(m, str))
    return [
        i
        for i, (name, p) in enumerate(named)
        if id(p) in tensors or (starts and name.startswith(starts))
    ]
