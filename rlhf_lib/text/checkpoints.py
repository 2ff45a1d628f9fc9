"""What a checkpoint's files say, and whether what was made of them is what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .folders import read_json
from .freezing import is_head
from .pooled import PREFIX, pooled_class
from .said import say

# What the name of a class with a trained head of ours ends in, behind "For".
HEADS = {
    "SequenceClassification",
    "TokenClassification",
    "QuestionAnswering",
    "PooledClassification",
}

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel


def read_config(folder: Path) -> PreTrainedConfig:
    """The configuration in a folder, of an architecture that transformers has.

    That of a pooled classifier comes as its encoder's, with its `pooling`.

    Raises OSError for any other: code that comes with a model is never run.
    """
    path = folder / "config.json"
    raw = read_json(path)
    stated = str(raw.get("model_type"))
    kind = stated.removeprefix(PREFIX)
    if kind not in CONFIG_MAPPING:
        own = ", which brings code of its own (auto_map): that is never run" * ("auto_map" in raw)
        raise OSError(
            f"{path}: expected as model_type an architecture of transformers "
            f"{transformers.__version__}, got {stated!r}{own}. Do: take another model, or, where "
            "it has it, a newer transformers."
        )
    plain = CONFIG_MAPPING[kind]
    if stated != kind:
        pooled_class(plain)  # transformers' Auto classes know it from here on
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each field is checked in a way of its own
        raise OSError(
            f"{path}: expected the configuration of a {kind}, got {type(error).__name__}: {error}"
        ) from error
    config.__class__ = plain
    vars(config).pop("model_type", None)
    return config


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder.

    Raises OSError where its files are missing or damaged: made of the rest alone, it would take
    every word for the unknown token.
    """
    cure = "Do: tokenizer.save_pretrained(folder) where the model comes from, or copy its files."
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        assert tokenizer is not None  # a folder without one has raised
    except Exception as error:  # of tokenizers, json, or whatever it is converted by
        first = str(error).strip().partition("\n")[0]
        raise OSError(
            f"{folder}: expected the files of a tokenizer, got {type(error).__name__}: {first} "
            f"{cure}"
        ) from error
    own = type(tokenizer).vocab_files_names.values()
    names = own and sorted({"tokenizer.json", *own})  # those that read bytes may have none
    pieces = tokenizer.get_vocab().keys() - {*tokenizer.all_special_tokens}
    if names and not any((folder / name).is_file() for name in names):
        raise OSError(
            f"{folder}: expected the vocabulary of a {type(tokenizer).__name__}, one of "
            f"{', '.join(names)}, got none. {cure}"
        )
    if names and not pieces - tokenizer.get_added_vocab().keys():
        raise OSError(
            f"{folder}: expected a vocabulary for the {type(tokenizer).__name__}, got special "
            f"tokens alone. {cure}"
        )
    return tokenizer


def check_loaded(
    model: PreTrainedModel, info: dict[str, Any], name: str, trained_for: list[str], as_stated: bool
) -> tuple[str, ...]:
    """The names of the weights that the checkpoint does not hold: of the head, which is new.

    info: of `from_pretrained`. trained_for: the `architectures` of the checkpoint. as_stated:
    whether the number of classes is to be the checkpoint's.

    A head that was trained for another task is not kept, even where its shape fits.

    Raises ValueError where the head has another number of classes than the checkpoint states and
    RuntimeError for a part below the head without its weights: random ones would pass for
    pre-trained ones. Warns of weights below the head that the model has no place for.
    """
    prefix = model.base_model_prefix
    body = f"{prefix}." if hasattr(model, prefix) else ("shared.", "encoder.", "decoder.")
    mismatched = [key for key, *_ in info["mismatched_keys"]]
    new = sorted({*info["missing_keys"], *mismatched})
    lost = [key for key in new if key.startswith(body) and ".pooler." not in key]
    if lost:
        raise RuntimeError(
            f"The model {name}: expected weights for every parameter below the head, got none "
            f"that fit for {len(lost)}, among them {', '.join(lost[:3])}. The checkpoint is "
            f"damaged or of another architecture than its config.json says."
        )
    stated = {architecture.partition("For")[2] for architecture in trained_for} & HEADS
    another_task = bool(stated) and type(model).__name__.partition("For")[2] not in stated
    if mismatched and as_stated and not another_task:
        raise ValueError(
            f"The model {name}: expected a head of {model.config.num_labels} classes, as its "
            f"config.json says, got another shape of {', '.join(mismatched)}. Do: correct id2label "
            "there, or give num_labels, for a new head."
        )
    unused = sorted(
        key
        for key in info["unexpected_keys"]
        if key.startswith(body) and not any(part in key for part in (".pooler.", "position_ids"))
    )
    if unused:
        say(
            f"The model {name}: {len(unused)} weights of its checkpoint have no place in the "
            f"{type(model).__name__} that its config.json describes, among them "
            f"{', '.join(unused[:3])}."
        )
    if another_task:
        new += renew_head(model)
    return tuple(sorted({*new}))


def renew_head(model: PreTrainedModel) -> list[str]:
    """Start the linear layers of a model's head anew, at random; the names of their parameters."""
    names = []
    for name, module in model.named_modules():
        if is_head(f"{name}.") and isinstance(module, nn.Linear):
            for parameter in module.parameters():
                vars(parameter).pop("_is_hf_initialized", None)  # else it would stay
            model._init_weights(module)
            names += [f"{name}.{key}" for key, _ in module.named_parameters()]
    return names
