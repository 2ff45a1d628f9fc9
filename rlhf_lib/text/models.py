"""Load a model and its tokenizer: embedded, tiny and random, from a folder, or from the hub."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..arguments import real, seed_of, whole
from ..quiet import quiet
from .architectures import TASKS, configure, is_encoder, prepare
from .checkpoints import check_loaded, read_config, read_tokenizer, renew_head
from .folders import folder_of, named_model, verify_embedded
from .label_names import name_outputs, places, stated_names
from .pooled import set_pooled
from .pooling import Pooling, choose_pooling
from .said import say
from .tiny import PREFIX, TINY

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel


def load_model(
    task: str = "classification",
    name: str | Path = "minilm",
    *,
    num_labels: int | None = None,
    label_names: Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
    dropout: float | None = None,
    pooling: str | Pooling | None = None,
    seed: int = 0,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """`(model, tokenizer)` for a task, in eval mode, fit to be differentiated twice.

    task: "classification", "ner", "qa" (answers as spans) or "lm" (causal language modelling), as
        far as the architecture has it.
    name: "minilm" (the embedded 6-layer BERT, offline, checksum verified), a local folder, a hub
        id such as "bert-base-uncased" (downloaded once, then read from the cache), or for tests
        "tiny-random" (a BERT of 2 layers and 2,074 parameters, for 32 tokens) and, for 128
        tokens, "tiny-random-bert", "-distilbert", "-roberta", "-gpt2", "-t5", "-modernbert".
    num_labels: classes C of classification and ner, 1 for regression; None takes the checkpoint's
        own number (2 where it states none).
    label_names: the classes by name, in place of num_labels. A checkpoint that was trained for
        them keeps its head, whatever their order there; one of other classes gets a new one.
    dtype: of the parameters, torch.float32 unless given.
    dropout: a rate for every dropout of the model; None keeps the checkpoint's rates. Dropout
        acts only after `model.train()`.
    pooling: what a classification's head sees of a text. None: what the folder states, which for
        "minilm" is the mean of the tokens, normalized; where it states nothing, what the
        architecture has (BERT: the first token through its pooler). "mean", "cls", "max" or
        "mean_sqrt_len_tokens" take that instead, normalized where the folder has a `Normalize`;
        a `Pooling` says all of it; "model" is the architecture's own head always.
    seed: of what the checkpoint does not hold: with "minilm" and pooling="model" the classifier (C
        x 384 and C numbers), which is RANDOM until it is trained. A new head on pooled features
        is zero instead. The same seed gives the same head whatever the state of torch's global
        generator, which is left as it was.

    What the architecture needs is set here (:mod:`~rlhf_lib.text.architectures`): eager attention,
    no compilation, a pad token, padding on the right. Tied weights are one parameter, listed once.

    A pooled model is a :class:`~rlhf_lib.text.pooled.PooledClassifier`; `save_pretrained` writes
    its pooling into config.json, so that the saved folder loads as it was.

    `model.new_weights` names the parameters that the checkpoint does not hold: those of a new head.
    Code that comes with a model (`auto_map`) is never run, and no pickle is opened.

    Raises ValueError (bad argument, a task that the architecture lacks, a folder that states a
    pooling unknown here, names of classes without an order, a head of another size, or a tokenizer
    with tokens that the model lacks), RuntimeError (embedded model missing or damaged, or a
    checkpoint that holds no weights for a part below the head), OSError (a folder or a hub model
    that cannot be read: the message names the file and what to do).
    """
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"task: expected one of {sorted(TASKS)}, got {task!r}.")
    if num_labels is not None:
        num_labels = whole("num_labels", num_labels, 1)
    if label_names is not None and (
        num_labels is not None or task not in ("classification", "ner")
    ):
        raise ValueError(
            f"label_names: expected them without num_labels, for classification or ner, got "
            f"{label_names!r} with {num_labels!r} for {task}."
        )
    named_model(name)
    seed = seed_of("seed", seed)
    if dropout is not None and not 0.0 <= real("dropout", dropout, finite=False) < 1.0:
        raise ValueError(f"dropout: expected a rate in [0, 1), got {dropout!r}.")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype: expected a floating torch dtype, got {dtype!r}.")
    dtype = dtype or torch.float32
    if task != "classification" and pooling not in (None, "model"):
        raise ValueError(
            f"pooling: expected None for {task}, which is no task of whole texts, got {pooling!r}."
        )

    if str(name).startswith(PREFIX) and not Path(name).is_dir():
        if name not in TINY:
            raise ValueError(f"name: expected one of {', '.join(TINY)}, got {name!r}.")
        with quiet_loading():
            config, tokenizer = TINY[name]()
            num_labels = num_labels if label_names is None else len(label_names)
            dropout = dropout or 0.0
            configure(config, task, num_labels, dropout)
            kind = _pooled_kind(task, config, pooling)
            make = TASKS[task].from_config if kind is None else kind._from_config
            with _seeded(seed):
                model = make(config, dtype=dtype, attn_implementation="eager")
        model.new_weights = tuple(name for name, _ in model.named_parameters())
    else:
        folder = verify_embedded() if name == "minilm" else folder_of(name)
        with quiet_loading():
            config = read_config(folder)
            trained_for = config.architectures or []
            others = False
            stated = stated_names(config) if task in ("classification", "ner") else None
            if label_names is not None:
                others = stated is not None and places(label_names, stated) is None
                if stated is None or others:
                    num_labels = len(label_names)
                    config.num_labels = 0  # transformers numbers them anew, even if as many
            configure(config, task, num_labels, dropout)
            kind = _pooled_kind(task, config, pooling, folder)
            with _seeded(seed):
                model, info = (kind or TASKS[task]).from_pretrained(
                    folder,
                    config=config,
                    dtype=dtype,
                    local_files_only=True,
                    trust_remote_code=False,
                    attn_implementation="eager",
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
            tokenizer = read_tokenizer(folder)
        with _seeded(seed):
            new = check_loaded(model, info, str(name), trained_for, num_labels is None)
            if others:
                new = tuple(sorted({*new, *renew_head(model)}))
                say(
                    f"The model {name}: it was trained for the classes {stated}, so that its head "
                    f"starts anew for {label_names}."
                )
        if vars(model.config).pop("auto_map", None):
            say(
                f"The model {name}: its config.json names code of its own (auto_map), which is "
                f"not run. It is read as the {type(model).__name__} of transformers."
            )
        if any(key.startswith("classifier.") for key in new) and kind is not None:
            # Logistic regression needs no random start, and the features are as they were trained.
            torch.nn.init.zeros_(model.classifier.weight)
            torch.nn.init.zeros_(model.classifier.bias)
        model.new_weights = new
    prepare(model, tokenizer, dropout)
    if label_names is not None:
        name_outputs(model, label_names, "label_names")
    if dtype == torch.float64:
        with quiet_loading():
            from .float64 import keep_float64  # loads two architectures that few will need
        keep_float64(model)
    return model.eval(), tokenizer


def _pooled_kind(
    task: str, config: PreTrainedConfig, pooling: str | Pooling | None, folder: Path | None = None
) -> type | None:
    """The class of a pooled classifier, its pooling in the config; None for the task's own class.

    Raises ValueError where the tokens of the architecture have not read the whole text.
    """
    found = choose_pooling(pooling, config, folder) if task == "classification" else None
    if found is not None and not is_encoder(config):
        raise ValueError(
            f"pooling: expected an encoder, whose tokens read the text on both sides, got "
            f'{config.model_type}. Do: pooling="model", its own head.'
        )
    return set_pooled(config, found)


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Torch's CPU generator at `seed`, and afterwards as it was; GPU generators untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def quiet_loading() -> Generator[None]:
    """No load report and no bar from transformers; its settings come back afterwards."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    hook = transformers_logging.set_tqdm_hook(
        lambda factory, args, kwargs: transformers_logging.EmptyTqdm(*args, **kwargs)
    )
    try:
        with quiet():
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.set_tqdm_hook(hook)
