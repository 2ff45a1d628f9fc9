"""Tiny random models of every architecture, with tokenizers that spell: offline, for tests.

They have the parts of their large namesakes (tied embeddings, causal masks, relative positions, a
decoder) at 2,000 to 5,000 parameters. Nothing can be learnt about language from them.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import partial
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertTokenizer,
    DistilBertConfig,
    DistilBertTokenizer,
    GPT2Config,
    GPT2Tokenizer,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaTokenizer,
    T5Config,
    T5Tokenizer,
)

PREFIX = "tiny-random"
LENGTH = 128  # tokens, enough for a question and a part of its context
LETTERS = string.ascii_lowercase
PUNCTUATION = ".,'!?"
# The usual range of 0.02 would leave nets this small almost constant.
RANGE = 0.2
Built = tuple[PreTrainedConfig, PreTrainedTokenizerBase]


def bert(length: int = LENGTH) -> Built:
    """2 layers that read word pieces; each letter is one."""
    tokenizer = _spelling(BertTokenizer, length)
    return _bert_like(BertConfig, len(tokenizer), max_position_embeddings=length), tokenizer


def distilbert() -> Built:
    """A BERT without pooler and token types (Sanh et al., 2019)."""
    tokenizer = _spelling(DistilBertTokenizer)
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=8,
        n_layers=2,
        n_heads=2,
        hidden_dim=16,
        max_position_embeddings=LENGTH,
        initializer_range=RANGE,
    )
    return config, tokenizer


def roberta() -> Built:
    """A BERT that reads bytes, its positions counted from the pad token's id (Liu et al., 2019)."""
    tokenizer = RobertaTokenizer(
        vocab=_bytes("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
        merges=[],
        add_prefix_space=True,
        model_max_length=LENGTH,
    )
    config = _bert_like(
        RobertaConfig,
        len(tokenizer),
        max_position_embeddings=LENGTH + 2,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    return config, tokenizer


def gpt2() -> Built:
    """A decoder that reads bytes from the left; it comes without a pad token, as GPT-2 does."""
    tokenizer = GPT2Tokenizer(
        vocab=_bytes("<|endoftext|>"), merges=[], add_prefix_space=True, model_max_length=LENGTH
    )
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=LENGTH,
        n_embd=8,
        n_layer=2,
        n_head=2,
        n_inner=16,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=RANGE,
    )
    return config, tokenizer


def t5() -> Built:
    """Encoder and decoder with relative positions and shared embeddings (version 1.1)."""
    pieces = ["▁", *LETTERS, *string.ascii_uppercase, *string.digits, *PUNCTUATION]
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = T5Tokenizer(
        vocab=[(piece, 0.0) for piece in special] + [(piece, -1.0) for piece in pieces],
        extra_ids=0,
        model_max_length=LENGTH,
    )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=8,
        d_kv=4,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
    )
    config.decoder_start_token_id = 0
    return config, tokenizer


def modernbert() -> Built:
    """Rotary positions, gated layers, and a layer that looks four tokens either side."""
    tokenizer = _spelling(BertTokenizer, model_input_names=["input_ids", "attention_mask"])
    config = _bert_like(
        ModernBertConfig,
        len(tokenizer),
        max_position_embeddings=LENGTH,
        local_attention=8,
        global_attn_every_n_layers=2,
        pad_token_id=0,
        cls_token_id=2,
        bos_token_id=2,
        sep_token_id=3,
        eos_token_id=3,
    )
    return config, tokenizer


TINY: dict[str, Callable[[], Built]] = {
    f"{PREFIX}{suffix}": build
    for suffix, build in {
        "": partial(bert, 32),
        "-bert": bert,
        "-distilbert": distilbert,
        "-roberta": roberta,
        "-gpt2": gpt2,
        "-t5": t5,
        "-modernbert": modernbert,
    }.items()
}


def _bert_like(
    kind: Callable[..., PreTrainedConfig], vocabulary: int, **options: Any
) -> PreTrainedConfig:
    return kind(
        vocab_size=vocabulary,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=RANGE,
        **options,
    )


def _spelling(
    kind: Callable[..., PreTrainedTokenizerBase], length: int = LENGTH, **options: Any
) -> PreTrainedTokenizerBase:
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *LETTERS,
        *("##" + letter for letter in LETTERS),
        *PUNCTUATION,
    ]
    return kind(
        vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=length, **options
    )


def _bytes(*special: str) -> dict[str, int]:
    """Vocabulary of the special tokens and all 256 bytes: no text is out of it."""
    return {piece: i for i, piece in enumerate([*special, *sorted(ByteLevel.alphabet())])}
