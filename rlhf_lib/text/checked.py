"""What every kind of task asks of its arguments, before anything is encoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase


def check_parts(model: Any, tokenizer: Any, data: Iterable[Any], kind: type) -> None:
    """Raise TypeError for what is no model of transformers, no tokenizer, no data set of a kind."""
    for one in data:
        if not isinstance(one, kind):
            raise TypeError(
                f"expected a {kind.__name__}, got {type(one).__name__}: load_dataset makes one"
            )
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise TypeError(
            f"expected a model of transformers, got {type(model).__name__}: load_model makes one"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise TypeError(
            f"expected a tokenizer of transformers, got {type(tokenizer).__name__}: load_model "
            "gives one with the model"
        )
