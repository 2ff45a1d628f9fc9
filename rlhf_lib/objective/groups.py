"""Parameter groups of torch's optimizers: what they hold, checked, and what a copy of one takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..arguments import named_tensors


def check_group(group: dict) -> dict:
    """A parameter group with its parameters, or (name, parameter) pairs, in a list.

    Raises TypeError or ValueError for what torch.optim cannot take.
    """
    if not isinstance(group, dict):
        raise TypeError(f"expected a parameter group as a dict, got {type(group).__name__}")
    if "params" not in group:
        raise ValueError(f"expected 'params' in a parameter group, got {', '.join(group) or '{}'}")
    params = group["params"]
    found = [("", params)] if isinstance(params, Tensor) else named_tensors("params", params)
    group["params"] = [(name, p) if name else p for name, p in found]
    return group


def check_listed(params: Iterable) -> list:
    """Parameters, pairs or groups, of any iterable, as a list that is not empty."""
    if isinstance(params, Tensor | str) or not isinstance(params, Iterable):
        raise TypeError(
            "expected params as a list of parameters, (name, parameter) pairs or groups, got "
            f"{type(params).__name__}: as model.parameters() gives them"
        )
    found = list(params)
    if not found:
        raise ValueError("expected at least one parameter, got an empty list")
    return found


def params_of(groups: Iterable[dict]) -> list[Tensor]:
    """The parameters of all groups, in their order."""
    return [p for group in groups for p in group["params"]]


def named_params_of(groups: Iterable[dict]) -> list[tuple[str, Tensor]]:
    """The same with their names, "" where a group has none."""
    return [
        pair
        for group in groups
        for pair in zip(
            group.get("param_names") or [""] * len(group["params"]), group["params"], strict=True
        )
    ]


def own_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What a copy or a pickle of an optimizer takes along.

    torch's own ``__getstate__`` leaves out what a subclass has, so that a deepcopy could not step.
    Hooks, and a step that a scheduler has wrapped, are those of the object itself.
    """
    return {k: v for k, v in vars(optimizer).items() if k != "step" and "hooks" not in k}
