"""Fine-tune the top of a BERT on stored activations of the frozen layers below.

A frozen layer gives the same output for the same sentence at every step, so it is computed once.
What is left, k of L layers and the head, has the loss and the gradient that the whole model would
have, at about k/L of the price: the tests compare both to 1e-12.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..arguments import seeded, whole
from .pooling import Pooling

NO_DATA = (
    "data: expected tensors, got none: a task that was loaded has no data to train on. Do: "
    "load_model the folder, and make the task with data."
)


class CachedTop(nn.Module):
    """The top k layers and the head of a BERT that classifies texts or tokens, or finds answers.

    The modules are the model's own, not copies: training this trains the model, which can be
    saved or evaluated as a whole at any time. Embeddings and the lower L - k layers get
    `requires_grad=False`; `unfreeze()` undoes that. Parameters keep their names in the whole
    model, so `named_parameters()` lists exactly what is trained, and
    `model.load_state_dict(top.state_dict(), strict=False)` works.

    The model is put in eval mode: dropout is off, which curvature products need (two products on
    two fresh graphs would otherwise differ). `top.train()` switches it on in the top part only;
    the cached activations are always those of eval mode.

        top = CachedTop(model, k=1)
        data = top.cache(encode(tokenizer, texts))
        logits = top(data["hidden"], data["mask"])      # (n, C), or (n, T, C) of tokens

    The head is what the model has above its layers: pooler (BERT's own, or a `Pooling` over the
    tokens), dropout and `classifier` for texts; dropout and `classifier` for tokens; `qa_outputs`
    for answers, C = 2: starts and ends.

    model: a `BertForSequenceClassification`, a pooled one, a `BertForTokenClassification`,
        `BertForQuestionAnswering` or one built like them (`encoder.layer` and such a head);
        with eager attention if it is to be differentiated twice.
    k: trained layers, 1 <= k <= L. With k = L only the embeddings are frozen.

    Raises TypeError for a model built otherwise and ValueError for a wrong k.
    """

    def __init__(self, model: nn.Module, k: int = 1):
        super().__init__()
        prefix = str(getattr(model, "base_model_prefix", ""))
        base = getattr(model, prefix, None)
        layers = getattr(getattr(base, "encoder", None), "layer", None)
        # A model for answers has no classifier, one for tokens no pooler.
        head = "qa_outputs" if hasattr(model, "qa_outputs") else "classifier"
        pooler = None if head == "qa_outputs" else getattr(base, "pooler", None)
        if base is None or layers is None or not isinstance(getattr(model, head, None), nn.Linear):
            raise _not_like_bert(model)
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(layers):
            raise ValueError(
                f"k: expected an integer from 1 to {len(layers)}, the number of layers"
                f" of this model, got {k!r}."
            )
        self.k = k
        self.frozen_layers = len(layers) - k
        self.pooling: Pooling | None = vars(model).get("pooling")
        # Empty modules stand in for the model and its encoder, for the parameters' names' sake.
        top = nn.ModuleDict({str(i): layers[i] for i in range(self.frozen_layers, len(layers))})
        stand_in, encoder = nn.Module(), nn.Module()
        encoder.layer = top
        stand_in.encoder = encoder
        if pooler is not None:
            stand_in.pooler = pooler
        self.add_module(prefix, stand_in)
        # BERT drops nothing before it looks for answers, whatever the model has as an attribute.
        dropout = getattr(model, "dropout", None) if head == "classifier" else None
        if not isinstance(dropout, nn.Module | None):
            raise _not_like_bert(model)
        self.dropout = nn.Identity() if dropout is None else dropout
        self.add_module(head, getattr(model, head))
        # Inside a tuple, because a module given as an attribute would become a part of this one.
        self._lower = (base.embeddings, list(layers[: self.frozen_layers]))
        self._top_parts = (list(top.values()), pooler, getattr(model, head))
        trained = {id(p) for p in self.parameters()}
        self._frozen = [(p, p.requires_grad) for p in model.parameters() if id(p) not in trained]
        for parameter, _ in self._frozen:
            parameter.requires_grad_(False)
        model.eval()
        self.eval()
        self._compare(model)

    @torch.no_grad()
    def _compare(self, model: nn.Module) -> None:
        """Refuse a model that has more between its layers and its logits than is known here."""
        ids = torch.arange(1, 5, device=self._top_parts[2].weight.device)[None]
        try:
            logits = self(**self.cache({"input_ids": ids}))
            whole = model(input_ids=ids, attention_mask=torch.ones_like(ids))
            if "start_logits" in whole:
                whole = torch.stack((whole.start_logits, whole.end_logits), -1)
            else:
                whole = whole.logits
            torch.testing.assert_close(logits, whole, rtol=1e-2, atol=1e-3)
        except Exception as error:
            self.unfreeze()
            raise _not_like_bert(model) from error

    def unfreeze(self) -> None:
        """Give the parameters below back the `requires_grad` they came with."""
        for parameter, required in self._frozen:
            parameter.requires_grad_(required)

    @torch.no_grad()
    def cache(self, encoded: dict, batch_size: int = 64) -> dict[str, Tensor]:
        """Outputs of the frozen part for a dict from `encode`: computed `batch_size` at a time.

        encoded: `input_ids` (n, T), and optionally `attention_mask`, `token_type_ids` and
            `position_ids` (n, T). Any other entry, such as `labels`, is passed on as it came.
        Returns {"hidden": (n, T, d), "mask": (n, 1, 1, T), ...}: the mask is the additive one
        that BERT makes of the attention mask, 0 for a token and the least number for padding.
        In this 4-D form `torch.func.vmap` over samples works too.
        """
        embeddings, layers = self._lower
        ids = encoded["input_ids"]
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size!r}.")
        if ids.ndim != 2 or len(ids) == 0:
            raise ValueError(
                f"encoded['input_ids']: expected a tensor (n, T) with n of at least 1,"
                f" got shape {tuple(ids.shape)}."
            )
        weight = self._top_parts[2].weight
        inputs = {
            key: encoded[key].to(weight.device)
            for key in ("input_ids", "token_type_ids", "position_ids")
            if key in encoded
        }
        mask = additive_mask(
            encoded.get("attention_mask", torch.ones_like(ids)).to(weight.device), weight.dtype
        )
        modes = [(module, module.training) for module in (embeddings, *layers)]
        hidden = []
        try:
            for module, _ in modes:
                module.eval()
            for start in range(0, len(ids), batch_size):
                part = slice(start, start + batch_size)
                h = embeddings(**{key: value[part] for key, value in inputs.items()})  # (b, T, d)
                for layer in layers:
                    h = layer(h, mask[part])
                hidden.append(h)
        finally:
            for module, training in modes:
                module.train(training)
        rest = {
            key: value
            for key, value in encoded.items()
            if key not in inputs and key != "attention_mask"
        }
        return {"hidden": torch.cat(hidden), "mask": mask, **rest}

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Logits (n, C), or (n, T, C) of tokens and answers, of cached activations (n, T, d).

        mask: the additive mask (n, 1, 1, T) from `cache`, or an attention mask (n, T) of ones
            for tokens and zeros for padding.
        """
        if mask.ndim == 2:
            mask = additive_mask(mask, hidden.dtype)
        layers, pooler, head = self._top_parts
        for layer in layers:
            hidden = layer(hidden, mask)
        if self.pooling is not None:
            hidden = self.pooling(hidden, mask)
        elif pooler is not None:
            hidden = pooler(hidden)
        return head(self.dropout(hidden))


def _not_like_bert(model: nn.Module) -> TypeError:
    return TypeError(
        f"model: expected a BertForSequenceClassification, BertForTokenClassification, "
        f"BertForQuestionAnswering or one built like it (embeddings, encoder.layer, a linear "
        f"head), got {type(model).__name__}. Do: train the whole model, or load one whose "
        f"model_type is bert."
    )


def additive_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, T) of ones and zeros -> (n, 1, 1, T) of 0 and the least finite number of `dtype`."""
    padding = attention_mask[:, None, None, :] == 0
    return torch.zeros(padding.shape, dtype=dtype, device=padding.device).masked_fill(
        padding, torch.finfo(dtype).min
    )


def batches(
    data: dict[str, Tensor], size: int, generator: torch.Generator | None = None
) -> Iterator[dict[str, Tensor]]:
    """Minibatches of a dict of tensors with one length n: shuffled once if a generator is given.

    The last one is smaller where size does not divide n: weight means by sample count.
    """
    size, generator = whole("size", size, 1), seeded(generator)
    if not isinstance(data, dict):
        raise TypeError(f"data: expected a dict of tensors, got {type(data).__name__}")
    if not data:
        raise ValueError(NO_DATA)
    n = len(next(iter(data.values())))
    order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
    for index in order.split(min(size, max(n, 1))):
        yield {key: value[index.to(value.device)] for key, value in data.items()}
