"""Load a BERT and its tokenizer: embedded, tiny and random, from a folder, or from the hub."""

from __future__ import annotations

import string
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
)
from transformers.utils import logging as transformers_logging

from ..quiet import quiet
from .folders import folder_of, verify_embedded

TASKS = {
    "classification": AutoModelForSequenceClassification,
    "ner": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
    "lm": AutoModelForCausalLM,
}

# Every name under which an architecture of transformers keeps a dropout rate.
DROPOUT_FIELDS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
    "hidden_dropout", "attention_dropout", "seq_classif_dropout", "dropout",
    "dropout_rate", "resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout",
)


def load_model(task: str = "classification", name: str | Path = "minilm", *,
               num_labels: int | None = None, dtype: torch.dtype | None = None,
               dropout: float | None = None, seed: int = 0):
    """`(model, tokenizer)` for a task, in eval mode, with double-differentiable attention.

    task: a key of `TASKS`.
    name: "minilm" (the embedded 6-layer BERT, offline, checksum verified), "tiny-random" (2
        layers, 2,074 parameters, for tests), a local folder, or a hub id such as
        "bert-base-uncased" (downloaded once, then read from the cache).
    num_labels: classes C; None takes the checkpoint's own number (2 where it states none).
    dtype: of the parameters, torch.float32 unless given.
    dropout: a rate for every dropout of the model; None keeps the checkpoint's rates. Dropout
        acts only after `model.train()`.
    seed: of what the checkpoint does not hold. With "minilm" that is the classifier
        (C x 384 and C numbers): it is RANDOM until it is trained. The same seed gives the same
        head whatever the state of torch's global generator, which is left as it was.

    `attn_implementation` is "eager": the fused kernels lack double backward on the CPU.

    Raises ValueError (bad argument), RuntimeError (embedded model missing or damaged, or a
    checkpoint that holds no weights for a part below the head), OSError (a folder or a hub
    model that cannot be read).
    """
    if task not in TASKS:
        raise ValueError(f"task: expected one of {sorted(TASKS)}, came {task!r}.")
    if num_labels is not None and (not isinstance(num_labels, int) or num_labels < 2):
        raise ValueError(f"num_labels: expected an integer of at least 2, came {num_labels!r}.")
    if dropout is not None and not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: expected a rate in [0, 1), came {dropout!r}.")
    if dtype is not None and not getattr(dtype, "is_floating_point", False):
        raise ValueError(f"dtype: expected a floating torch dtype, came {dtype!r}.")
    dtype = dtype or torch.float32

    if name == "tiny-random":
        return _tiny_random(task, num_labels or 2, dtype, dropout or 0.0, seed)
    folder = verify_embedded() if name == "minilm" else folder_of(name)
    with _quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if num_labels is not None and num_labels != config.num_labels:
            config.num_labels = num_labels
        _set_dropout(config, dropout)
        with _seeded(seed):
            model, info = TASKS[task].from_pretrained(
                folder, config=config, dtype=dtype, attn_implementation="eager",
                local_files_only=True, use_safetensors=True, ignore_mismatched_sizes=True,
                output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    _refuse_random_body(model, info, name)
    return model.eval(), tokenizer


def _refuse_random_body(model, info, name):
    """Only a head may be new: elsewhere random weights would pass for pre-trained ones."""
    body = f"{model.base_model_prefix}."
    new = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    lost = sorted(k for k in new if k.startswith(body) and ".pooler." not in k)
    if lost:
        raise RuntimeError(
            f"The model {name}: expected weights for every parameter below the head, came none "
            f"that fit for {len(lost)}, among them {', '.join(lost[:3])}. The checkpoint is "
            f"damaged or of another architecture than its config.json says.")


def _tiny_random(task, num_labels, dtype, dropout, seed):
    """A 2-layer BERT that spells: its 62 word pieces are letters and a little punctuation."""
    letters = string.ascii_lowercase
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters,
              *("##" + letter for letter in letters), *".,'!?"]
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)},
                              model_max_length=32)
    # The usual range of 0.02 would leave a net this small almost constant.
    config = BertConfig(vocab_size=len(pieces), hidden_size=8, num_hidden_layers=2,
                        num_attention_heads=2, intermediate_size=16,
                        max_position_embeddings=32, num_labels=num_labels,
                        initializer_range=0.2)
    _set_dropout(config, dropout)
    with _seeded(seed):
        model = TASKS[task].from_config(config, dtype=dtype, attn_implementation="eager")
    return model.eval(), tokenizer


def _set_dropout(config, rate):
    if rate is not None:
        for field in DROPOUT_FIELDS:
            if hasattr(config, field):
                setattr(config, field, rate)


@contextmanager
def _seeded(seed):
    """Torch's CPU generator at `seed`, and afterwards as it was; GPU generators untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _quiet():
    """No load report and no bar from transformers; its settings come back afterwards."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    hook = transformers_logging.set_tqdm_hook(
        lambda factory, args, kwargs: transformers_logging.EmptyTqdm(*args, **kwargs))
    try:
        with quiet():
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.set_tqdm_hook(hook)
