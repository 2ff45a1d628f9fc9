"""A classifier on pooled features: the body of an encoder, its `Pooling`, and one linear layer."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .pooling import Pooling

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel as _Base
else:
    _Base = object


class PooledClassifier(_Base):
    """Logits (n, C) = classifier(dropout(pooling(last hidden states, mask))).

    A mixin in front of an architecture's own base class, which gives it the names of the weights,
    `from_pretrained` and `save_pretrained`; made by `pooled_class`. The pooling stands in
    `config.pooling` and so in the saved config.json, where `load_model` finds it.
    """

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.pooling = Pooling(**config.pooling)
        body = _body_class(type(config))
        without = {"add_pooling_layer": False}
        takes = "add_pooling_layer" in inspect.signature(body.__init__).parameters
        setattr(self, self.base_model_prefix, body(config, **(without if takes else {})))
        self.dropout = nn.Dropout(_rate(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs,
    ) -> SequenceClassifierOutput:
        """Of `encode`'s tensors; with labels (n,) the mean cross-entropy as `loss`, too."""
        outputs = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        logits = self.classifier(
            self.dropout(self.pooling(outputs.last_hidden_state, attention_mask))
        )
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@cache
def pooled_class(config_class: type) -> type:
    """The PooledClassifier of an architecture, by the class of its configuration."""
    from transformers import PreTrainedModel  # brings packages along that talk

    body = _body_class(config_class)
    parent = next(c for c in body.__mro__[1:] if issubclass(c, PreTrainedModel))
    return type(
        f"{body.__name__.removesuffix('Model')}ForPooledClassification",
        (PooledClassifier, parent),
        {"__doc__": PooledClassifier.__doc__, "__module__": __name__},
    )


def _body_class(config_class: type) -> type:
    body = AutoModel._model_mapping[config_class]
    return body[0] if isinstance(body, tuple) else body


def _rate(config) -> float:
    """The rate of dropout before a classifier, by the names that architectures have for it."""
    names = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")
    rates = [getattr(config, name, None) for name in names]
    return next((rate for rate in rates if rate is not None), 0.0)
