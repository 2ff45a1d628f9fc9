"""The names of a model's outputs: matched with the data's, name by name, and kept in its config.

`save_pretrained` writes them as `id2label` and `label2id`, from where transformers' `pipeline`
and the next task take them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedConfig

from .head import head_layer

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel


def stated_names(config: PreTrainedConfig) -> tuple[str, ...] | None:
    """The names of the outputs in their order; None where the config has none.

    Raises ValueError for names that are no order: gaps, one twice, or an `id2label` and a
    `label2id` that differ.
    """
    found: dict[Any, str] = config.id2label or {}
    if all(name == f"LABEL_{i}" for i, name in found.items()):  # where nobody gave a name
        return None
    if sorted(found) != [*range(len(found))]:
        raise ValueError(
            f"id2label: expected a name for each output from 0 to {len(found) - 1}, got {found}. "
            "Do: correct it in the checkpoint's config.json."
        )
    names = tuple(str(found[i]) for i in range(len(found)))
    numbers = {str(name): i for name, i in (config.label2id or {}).items()}
    wrong = [name for i, name in enumerate(names) if numbers.get(name, i) != i]
    if wrong or len({*names}) < len(names):
        raise ValueError(
            f"id2label: expected different names, as label2id has them, got {found} and "
            f"{config.label2id}. Do: correct the checkpoint's config.json."
        )
    return names


def places(names: Sequence[str], among: Sequence[str]) -> list[int] | None:
    """The place of each name among others, upper and lower case alike where that is one name.

    None where a name has no place, or two names have one.
    """
    folded = Counter(name.casefold() for name in among)
    by_name = {name.casefold(): i for i, name in enumerate(among) if folded[name.casefold()] == 1}
    by_name |= {name: i for i, name in enumerate(among)}
    found = [by_name.get(name, by_name.get(name.casefold(), -1)) for name in names]
    return None if -1 in found or len({*found}) < len(found) else found


@torch.no_grad()
def name_outputs(model: PreTrainedModel, names: Sequence[str], source: str) -> tuple[str, ...]:
    """Give the outputs of a model the names of the data's classes, in the data's order, in place.

    The rows of a head that was trained for these classes in another order are put into this one,
    so that each name keeps its row; classes that the data lack come last. Returns all names.

    Raises ValueError where the checkpoint's classes are others than the data's.
    """
    stated = stated_names(model.config)
    order = None if stated is None else places(names, stated)
    if stated is not None and order is None and stated != vars(model).get("named_by_task"):
        raise ValueError(
            f"{source}: expected classes out of those that the model was trained for, "
            f"{stated}, got {tuple(names)}. Do: load_model(..., label_names={tuple(names)}) for a "
            "new head, or, where other names mean the same, model.config.id2label = "
            "{0: ..., 1: ...} in the order of the model's outputs."
        )
    rest = [f"LABEL_{i}" for i in range(len(names), model.config.num_labels or 0)]
    if stated is not None and order is not None:
        order += [i for i in range(len(stated)) if i not in order]
        rest = [stated[i] for i in order[len(names) :]]
        if order != [*range(len(order))]:
            for p in head_layer(model).parameters():
                p.copy_(p[order])
    given = (*names, *rest)
    model.config.id2label = dict(enumerate(given))
    model.config.label2id = {name: i for i, name in enumerate(given)}
    vars(model)["named_by_task"] = given
    return given
