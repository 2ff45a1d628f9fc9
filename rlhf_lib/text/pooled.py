"""A classifier on pooled features: the body of an encoder, its `Pooling`, and one linear layer."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput

from .pooling import Pooling

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel as _Base
else:
    _Base = object

# In front of the model_type. Transformers would read a plain "bert" as its own classifier, with a
# new pooler, random, between the body and the saved head.
PREFIX = "rlhf_lib-pooled-"


class PooledClassifier(_Base):
    """Logits (n, C) = classifier(dropout(pooling(last hidden states, mask))).

    A mixin in front of an architecture's own base class, which gives it the names of the weights,
    `from_pretrained` and `save_pretrained`; made by `pooled_class`. The pooling stands in
    `config.pooling` and so in the saved config.json, where `load_model` finds it. Once the class is
    made, transformers' Auto classes and `pipeline` read such a folder, too; before, they refuse it.
    """

    body_class: type

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.pooling = Pooling(**config.pooling)
        body = self.body_class
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
        """Of `encode`'s tensors; with labels the mean loss, too, by `config.problem_type`."""
        outputs = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        logits = self.classifier(
            self.dropout(self.pooling(outputs.last_hidden_state, attention_mask))
        )
        loss = None
        if labels is not None:
            loss = ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


@cache
def pooled_class(config_class: type[PreTrainedConfig]) -> type:
    """The PooledClassifier of an architecture, by the class of its configuration."""
    from transformers import PreTrainedModel  # brings packages along that talk

    body = _body_class(config_class)
    parent = next(c for c in body.__mro__[1:] if issubclass(c, PreTrainedModel))
    name = PREFIX + config_class.model_type
    config = type(
        f"Pooled{config_class.__name__}",
        (config_class,),
        {"model_type": name, "__module__": __name__},
    )
    found = type(
        f"{body.__name__.removesuffix('Model')}ForPooledClassification",
        (PooledClassifier, parent),
        {
            "__doc__": PooledClassifier.__doc__,
            "__module__": __name__,
            "body_class": body,
            "config_class": config,
        },
    )
    AutoConfig.register(name, config)
    AutoModelForSequenceClassification.register(config, found)
    return found


def set_pooled(config: PreTrainedConfig, pooling: Pooling | None) -> type | None:
    """Make a configuration that of a pooled classifier, whose class this returns, or a plain one.

    In place: the class of a configuration says which model is made of it.
    """
    plain = type(config)
    if plain.model_type.startswith(PREFIX):
        plain = plain.__mro__[1]
    if pooling is None:
        vars(config).pop("pooling", None)
        config.__class__ = plain
        return None
    found = pooled_class(plain)
    config.pooling = pooling.as_dict()
    config.__class__ = found.config_class
    return found


def _body_class(config_class: type) -> type:
    body = AutoModel._model_mapping[config_class]
    return body[0] if isinstance(body, tuple) else body


def _rate(config) -> float:
    """The rate of dropout before a classifier, by the names that architectures have for it."""
    names = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")
    rates = [getattr(config, name, None) for name in names]
    return next((rate for rate in rates if rate is not None), 0.0)
