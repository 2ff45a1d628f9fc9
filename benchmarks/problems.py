"""The models and batches that products and solves are measured on."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from rlhf_lib import GaussNewtonOperator


class Logits(nn.Module):
    """A model as a function from one argument to logits (n, C), the form that all peers take.

    low_precision: dtype of the forward pass under autocast; the parameters, and all that is
    added up, stay float32.
    """

    def __init__(self, model: nn.Module, low_precision: torch.dtype | None = None):
        super().__init__()
        self.model, self.low_precision = model, low_precision

    def forward(self, inputs: Tensor | dict[str, Tensor]) -> Tensor:
        """Logits (n, C) of a tensor (n, d), or of a dict of token ids and masks (n, T)."""
        device = next(self.model.parameters()).device.type
        lower = contextlib.nullcontext()
        if self.low_precision is not None:
            lower = torch.autocast(device, self.low_precision)
        with lower:
            if isinstance(inputs, Tensor):
                return self.model(inputs).float() if self.low_precision else self.model(inputs)
            logits = self.model(**inputs).logits
        return logits.float() if self.low_precision else logits


@dataclass
class Problem:
    """A model, one batch and its mean cross-entropy.

    Attributes:
        name: key in PROBLEMS. title: a line for tables.
        module: maps `inputs` to logits (n, C). labels: (n,).
    """

    name: str
    title: str
    module: Logits
    inputs: Tensor | dict[str, Tensor]
    labels: Tensor

    def __post_init__(self):
        self.module.eval()
        self.params = list(self.module.parameters())
        self.size = sum(p.numel() for p in self.params)
        self.device = self.labels.device

    @staticmethod
    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy."""
        return nn.functional.cross_entropy(logits, labels)

    def closure(self) -> tuple[Tensor, Tensor]:
        """(loss, logits)."""
        logits = self.module(self.inputs)
        return self.criterion(logits, self.labels), logits

    def loss(self) -> Tensor:
        """The loss alone."""
        return self.closure()[0]

    def gradient(self) -> tuple[Tensor, ...]:
        """One forward and one backward pass: the unit of all costs. Nothing is flattened."""
        return torch.autograd.grad(self.loss(), self.params)

    def gauss_newton(self) -> GaussNewtonOperator:
        """The library's operator, for solvers that take one."""
        return GaussNewtonOperator(self.closure, self.params)

    def vector(self, seed: int = 0) -> Tensor:
        """A random direction of length 1, shape (size,)."""
        v = torch.randn(self.size, generator=torch.Generator().manual_seed(seed))
        return (v / v.norm()).to(self.device, self.params[0].dtype)

    def double(self) -> Problem:
        """A copy in float64, without autocast: what the truth is computed with."""
        module = copy.deepcopy(self.module).double()
        module.low_precision = None
        inputs = self.inputs.double() if isinstance(self.inputs, Tensor) else self.inputs
        return Problem(self.name, self.title, module, inputs, self.labels)


def _mlp(name: str, sizes: tuple[int, ...], samples: int, device: str) -> Problem:
    """Linear layers and tanh, on random inputs: the cost does not depend on what they show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.Tanh()]
        model = nn.Sequential(*layers[:-1])
        inputs, labels = torch.randn(samples, sizes[0]), torch.randint(sizes[-1], (samples,))
    title = f"MLP {'-'.join(map(str, sizes))}, batch {samples}"
    return Problem(name, title, Logits(model).to(device), inputs.to(device), labels.to(device))


def _bert(name: str, model_name: str, samples: int, tokens: int, device: str) -> Problem:
    """A BERT on the course's own reviews."""
    from rlhf_lib import text

    model, tokenizer = text.load_model("classification", name=model_name, pooling="model")
    reviews = text.load_dataset("course-reviews", split="train").subset(samples)
    encoded = tokenizer(
        list(reviews.texts),
        padding="max_length",
        max_length=tokens,
        truncation=True,
        return_tensors="pt",
    )
    inputs = {key: value.to(device) for key, value in encoded.items()}
    size = sum(p.numel() for p in model.parameters())
    label = f"{size / 1e6:.1f} M" if size > 1e5 else f"{size:,}"
    title = f"BERT, {label} parameters, {samples} x {tokens} tokens"
    labels = torch.tensor(reviews.labels, device=device)
    return Problem(name, title, Logits(model).to(device), inputs, labels)


# (hidden, layers, heads, feed-forward) of Devlin et al. (2019, section 3).
BERT_SHAPES = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "toy": (16, 2, 2, 32)}


def _random_bert(
    name: str,
    shape: str,
    samples: int,
    tokens: int,
    device: str,
    low_precision: torch.dtype | None = None,
) -> Problem:
    """A BERT of a known shape with random weights, on random token ids: for cost only."""
    from transformers import BertConfig, BertForSequenceClassification

    hidden, layers, heads, inner = BERT_SHAPES[shape]
    config = BertConfig(
        vocab_size=30522 if shape != "toy" else 50,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        num_labels=2,
        attn_implementation="eager",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
        ids = torch.randint(5, config.vocab_size, (samples, tokens))
        labels = torch.randint(2, (samples,))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    forward = "float32" if low_precision is None else f"{low_precision} forward".split(".")[-1]
    return Problem(
        name,
        f"BERT-{shape}, random weights, {samples} x {tokens} tokens, {forward}",
        Logits(model, low_precision).to(device),
        {key: value.to(device) for key, value in inputs.items()},
        labels.to(device),
    )


PROBLEMS: dict[str, Callable[[str, str], Problem]] = {
    "bert": lambda name, device: _bert(name, "minilm", 16, 32, device),
    "bert-solve": lambda name, device: _bert(name, "minilm", 64, 32, device),
    "mlp": lambda name, device: _mlp(name, (784, 512, 512, 10), 256, device),
    "mlp-solve": lambda name, device: _mlp(name, (784, 512, 512, 2), 64, device),
    "bert-base": lambda name, device: _random_bert(name, "base", 16, 128, device),
    "bert-base-bf16": lambda name, device: _random_bert(
        name, "base", 16, 128, device, torch.bfloat16
    ),
    "bert-large": lambda name, device: _random_bert(name, "large", 16, 128, device),
    "bert-large-bf16": lambda name, device: _random_bert(
        name, "large", 16, 128, device, torch.bfloat16
    ),
    "tiny-bert": lambda name, device: _bert(name, "tiny-random", 4, 8, device),
    "tiny-mlp": lambda name, device: _mlp(name, (20, 16, 3), 12, device),
    "toy-bf16": lambda name, device: _random_bert(name, "toy", 4, 8, device, torch.bfloat16),
}


def load(name: str, device: str = "cpu") -> Problem:
    """The problem of that name, on that device; the same numbers at every call."""
    if name not in PROBLEMS:
        raise ValueError(f"problem: expected one of {', '.join(PROBLEMS)}, got {name!r}")
    return PROBLEMS[name](name, device)
