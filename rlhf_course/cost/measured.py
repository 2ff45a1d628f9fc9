"""Measured seconds and memory of a BERT of any size with random weights, beside the model's."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from rlhf_lib.curvature import GaussNewtonOperator, HessianOperator, Shifted
from rlhf_lib.quiet import quiet
from rlhf_lib.solve import conjugate_gradient
from rlhf_lib.timing import rounds

from .memory import held_bytes, in_own_process
from .model import Transformer

with quiet():
    from transformers import BertConfig, BertForSequenceClassification

OPERATORS = {"Hv": HessianOperator, "Gv": GaussNewtonOperator}
PRODUCTS = 3


class Bench:
    """A BERT with random weights, on random token ids, and its passes as functions.

    Weights and ids do not change what a pass costs, so nothing has to be loaded.
    """

    def __init__(self, shape: Transformer, batch: int, tokens: int, seed: int = 0):
        config = BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_labels=shape.classes,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.feed_forward,
            max_position_embeddings=shape.positions,
            type_vocab_size=shape.kinds,
            attn_implementation="eager",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = BertForSequenceClassification(config).eval()
            ids = torch.randint(shape.vocabulary, (batch, tokens))
            self.labels = torch.randint(shape.classes, (batch,))
        self.inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        self.params = list(self.model.parameters())

    def closure(self):
        """(loss, logits)."""
        logits = self.model(**self.inputs).logits
        return F.cross_entropy(logits, self.labels), logits

    def forward(self):
        """The loss alone, nothing kept."""
        with torch.no_grad():
            return self.closure()

    def gradient(self):
        """One forward and one backward pass."""
        return torch.autograd.grad(self.closure()[0], self.params)

    def operator(self, what: str):
        """What "Hv" or "Gv" multiplies with: its graph is kept."""
        return OPERATORS[what](self.closure, self.params)

    def set_up(self):
        """A gradient whose graph is kept."""
        self.operator("Gv")

    def product(self, what: str):
        """A function that multiplies with one vector, into the same memory each time."""
        operator = self.operator(what)
        v = torch.randn_like(operator.gradient)
        out = torch.empty_like(v)
        return lambda: operator.matvec(v, out)

    def passes(self):
        """(name, function) of all that the cost model names."""
        yield "forward", self.forward
        yield "gradient", self.gradient
        yield "set-up", self.set_up
        for what in OPERATORS:
            yield what, self.product(what)

    def cg(self, what: str, products: int):
        """A gradient and this many iterations."""
        operator = self.operator(what)
        return conjugate_gradient(
            Shifted(operator, 100.0), -operator.gradient, rtol=0.0, max_iter=products
        )


def seconds(
    shape: Transformer, batch: int, tokens: int, *, repeats: int = 4, cg_products: int = 0
) -> dict[str, float]:
    """CPU seconds on one thread of every pass, the least of some repeats after one to warm up.

    With ``cg_products`` also of "cg Gv", a gradient and that many iterations.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bench = Bench(shape, batch, tokens)
        found = {name: _least(call, repeats) for name, call in bench.passes()}
        if cg_products:
            found["cg Gv"] = _least(lambda: bench.cg("Gv", cg_products), max(repeats // 2, 1))
        return found
    finally:
        torch.set_num_threads(threads)


def _least(call, repeats: int) -> float:
    return rounds({"": call}, repeats)[""].least.cpu


def peak_bytes(shape: Transformer, batch: int, tokens: int, what: str) -> int:
    """Peak resident memory of a process of its own that builds the model and does ``what``.

    It is counted from what the process holds before, libraries loaded and used once. ``what`` is
    one of the cost model's passes, or "cg Hv", "cg Gv" with a few products. Raises RuntimeError
    where the process ends early.
    """
    return in_own_process(_peak_bytes, shape, batch, tokens, what)


def _peak_bytes(shape: Transformer, batch: int, tokens: int, what: str) -> int:
    torch.set_num_threads(1)
    _work(Transformer(16, 1, 2, 32, vocabulary=20, positions=8), 2, 4, what)
    return held_bytes(lambda: _work(shape, batch, tokens, what))


def _work(shape: Transformer, batch: int, tokens: int, what: str) -> None:
    bench = Bench(shape, batch, tokens)
    if what.startswith("cg "):
        bench.cg(what.removeprefix("cg "), PRODUCTS)
        return
    if what in OPERATORS:
        call = bench.product(what)
    else:
        call = {"forward": bench.forward, "gradient": bench.gradient, "set-up": bench.set_up}[what]
    for _ in range(PRODUCTS):
        call()
