"""What each architecture needs before it can be differentiated twice, and on padded batches.

Found from the model's own configuration, so it holds for an embedded model, a folder and the hub:

- dropout: every architecture has its own names for the rates;
- attention: "eager", because the fused kernels lack double backward on the CPU;
- compilation (ModernBERT) off: a compiled graph has no double backward;
- a pad token (GPT-2 has none), and padding on the right, where positions and causal masks
  leave the other tokens as they are;
- `padding_idx` off: autograd drops the gradient of that row, although the loss depends on it
  wherever the pad token is fed unmasked, so gradient and loss would not belong together.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel

TASKS = {
    "classification": AutoModelForSequenceClassification,
    "ner": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
    "lm": AutoModelForCausalLM,
}


def tasks_of(config: PreTrainedConfig) -> list[str]:
    """Keys of `TASKS` that the architecture of this configuration can do.

    An encoder has no "lm": it reads both sides of a token, so it would see what it is to predict.
    """
    found = [task for task, auto in TASKS.items() if type(config) in auto._model_mapping]
    if "lm" in found and is_encoder(config):
        found.remove("lm")
    return found


def check_model(model: nn.Module, task: str) -> None:
    """Refuse, with a TypeError, a model that transformers has for another task of `TASKS`."""
    config = getattr(model, "config", None)
    classes = {key: auto._model_mapping.get(type(config), ()) for key, auto in TASKS.items()}
    found = [key for key, kind in classes.items() if isinstance(model, kind)]
    if found and task not in found:
        raise TypeError(
            f"model: expected one for {task}, got a {type(model).__name__}, for {found[0]}. Do: "
            f"load_model({task!r}, ...)."
        )


def is_encoder(config: PreTrainedConfig) -> bool:
    """Whether it reads a text from both sides and writes none: each token has seen them all."""
    both = type(config) in AutoModelForMaskedLM._model_mapping
    return both and not (config.is_encoder_decoder or getattr(config, "is_decoder", False))


def configure(
    config: PreTrainedConfig, task: str, num_labels: int | None, dropout: float | None
) -> None:
    """Set a configuration for a task, in place, before the model is made of it.

    Raises ValueError where the architecture cannot do the task.
    """
    able = tasks_of(config)
    if task not in able:
        raise ValueError(
            f"task: expected one of {', '.join(able)}, which {config.model_type} has, "
            f"got {task!r}. Do: take one of these, or another architecture (for lm a decoder such "
            "as gpt2)."
        )
    if task == "qa":
        num_labels = 2  # start and end, whatever the checkpoint was trained for before
    if num_labels is not None and num_labels != config.num_labels:
        config.num_labels = num_labels
    for field, value in vars(config).items():
        # Where a rate is None another field is meant, and that is set as well.
        rate = "dropout" in field or field.endswith("pdrop")
        if rate and dropout is not None and isinstance(value, float | int | None):
            setattr(config, field, dropout)
    if getattr(config, "reference_compile", False) is not False:
        config.reference_compile = False
    if task != "lm" and hasattr(config, "use_cache"):
        config.use_cache = False  # keys and values are kept for writing on, which no head does


def prepare(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dropout: float | None = None
) -> None:
    """Fit a loaded model and its tokenizer to each other, in place.

    The tokenizer's `model_max_length` becomes at most the number of positions that the model has.

    Raises ValueError for a tokenizer with neither a pad token nor an end token to stand in, and for
    one with tokens that the model does not know.
    """
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                f"the tokenizer of this {model.config.model_type}: expected a pad token or an end "
                f"token to pad with, got neither. Do: set tokenizer.pad_token to one of its "
                f"tokens, tokenizer.save_pretrained(folder), and load the folder."
            )
        tokenizer.pad_token = tokenizer.eos_token
    largest = max(tokenizer.get_vocab().values())
    table = model.get_input_embeddings()
    rows = table.num_embeddings if isinstance(table, nn.Embedding) else largest + 1
    if largest >= rows:
        raise ValueError(
            f"the tokenizer of this {model.config.model_type}: expected numbers of tokens below "
            f"{rows}, the rows of the model's embedding, got {largest}: it is of another model, or "
            "tokens were added. Do: save the tokenizer that belongs to it, or after "
            "model.resize_token_embeddings(len(tokenizer)) the model, too."
        )
    length = _positions(model)
    if length is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, length)
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.padding_side = "right"
    # A pooled classifier passes its inputs on to its body, which says what it takes.
    reader = model.base_model if hasattr(model, "pooling") else model
    accepted = inspect.signature(reader.forward).parameters
    tokenizer.model_input_names = [n for n in tokenizer.model_input_names if n in accepted]
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.padding_idx = None
        if isinstance(module, nn.Dropout) and dropout is not None:
            module.p = dropout  # GPT-2's heads have rates that no field of the config names


def _positions(model: PreTrainedModel) -> int | None:
    """The longest text in tokens where positions are looked up in a table, else None."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(
            ("position_embeddings", "embed_positions", ".wpe")
        ):
            rows = min(module.num_embeddings, model.config.max_position_embeddings)
            # RoBERTa counts positions from the one behind padding's.
            return rows if module.padding_idx is None else rows - module.padding_idx - 1
    return None
