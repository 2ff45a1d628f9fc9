"""What a saved optimizer holds in torch's form: one JSON text, and vectors cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, MutableMapping
from numbers import Number
from typing import Any

from torch import Tensor

from ..objective.parameters import flatten, unflatten


def pack(
    common: dict[str, Any],
    states: MutableMapping[Any, dict],
    params: list[Tensor],
    remembers: Iterable[str] = (),
) -> str:
    """What all steps have in common as JSON; the memory's vectors go to the parameters' states.

    Args:
        common: with "direction memory", whose vectors, of at most n entries, are cut into pieces.
        states: of each parameter, where its pieces are put.
        remembers: names of vectors that have a place even before there is one.

    Raises TypeError for a memory that is neither vectors of n entries nor JSON.
    """
    common, memory = dict(common), dict(common["direction memory"])
    vectors = {k: v for k, v in memory.items() if isinstance(v, Tensor) and v.ndim == 1}
    common["direction memory"] = {k: v for k, v in memory.items() if k not in vectors}
    common["vectors"] = list(vectors)
    for key in {*vectors, *remembers}:
        whole = params[0].new_zeros(sum(p.numel() for p in params))
        if key in vectors:  # shorter, where parameters were added since
            whole[: len(vectors[key])] = vectors[key]
        for p, piece in zip(params, unflatten(whole, params), strict=True):
            states[p][_place(key)] = piece
    try:
        return json.dumps(common)
    except TypeError as error:
        raise TypeError(
            "expected a memory of numbers, texts, lists, dicts and vectors of n entries, to be "
            f"saved as JSON: {error}"
        ) from error


def unpack(
    state_dict: Any, params: list[Tensor], keys: Collection[str], pieces: Collection[str] = ()
) -> dict[str, Any]:
    """What :func:`pack` had as `common`, still with "vectors", from the state that is to be loaded.

    Args:
        keys: what `common` has. pieces: what the state of each parameter has besides the vectors.

    Raises ValueError for the state of another optimizer.
    """
    own_form = isinstance(state_dict, dict) and state_dict.keys() >= {"param_groups", "state"}
    saved = state_dict["param_groups"] if own_form else []
    texts = {group.get("rlhf", "") for group in saved}
    if len(texts) != 1 or texts == {""}:
        raise ValueError(
            "expected what RLHFOptimizer.state_dict() gives, got a state without 'rlhf' in its "
            "groups: that of another optimizer, or of an older version"
        )
    try:
        common = json.loads(texts.pop())
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON under 'rlhf' of a group, got other: {error}") from None
    needs = {"vectors", *keys}
    if not isinstance(common, dict) or not common.keys() >= needs:
        raise ValueError(
            f"expected {', '.join(sorted(needs))} under 'rlhf' of a group, got the state of "
            "another version"
        )
    needed = {*map(_place, common["vectors"]), *pieces}
    names = [name for group in saved for name in group["params"]]
    for p, name in zip(params, names, strict=False):  # torch compares how many there are
        own = state_dict["state"].get(name, {})
        missing = {piece for piece in needed if piece not in own or own[piece].shape != p.shape}
        if missing:
            raise ValueError(
                f"expected {', '.join(sorted(missing))} of shape {tuple(p.shape)} in the state "
                f"of parameter {name}, got none: save the same model with the same regularizer "
                "and solver, and where torch flattens the state, call get_optimizer_state_dict "
                "before set_optimizer_state_dict"
            )
    return common


def join(
    common: dict[str, Any], states: MutableMapping[Any, dict], params: list[Tensor]
) -> dict[str, Any]:
    """`common` as :func:`pack` got it, its vectors joined from the parameters' states."""
    for key in common.pop("vectors"):
        common["direction memory"][key] = flatten([states[p][_place(key)] for p in params])
    return common


def plain_numbers(group: dict[str, Any]) -> dict[str, Any]:
    """A group's numbers of numpy, as a schedule's function may give, as Python's."""
    return {k: v.item() for k, v in group.items() if isinstance(v, Number) and hasattr(v, "item")}


def _place(key: str) -> str:
    """The name, in the state of a parameter, of its piece of a vector of the direction's memory."""
    return f"remembered {key}"
