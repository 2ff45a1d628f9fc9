"""What a transformer's passes and products take, by counting: arithmetic, and memory.

Counts are for the encoder of Devlin et al. (2019) as transformers computes it with eager attention,
on B samples of T tokens: N = B T. Matrix products are exact. The rest, which the graph of a double
backward decides, was counted operation by operation (torch 2.13); tests count it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import index
from types import MappingProxyType

from rlhf_lib.work import CG_MOVES, Work

PASSES = ("forward", "gradient", "set-up", "Hv", "Gv")

# Matrix products for each one of the forward pass: a gradient has two more, a Hessian product six,
# a Gauss-Newton product four (both on a kept graph, which the set-up makes along the gradient).
PRODUCTS: Mapping[str, int] = MappingProxyType(
    {"forward": 1, "gradient": 3, "set-up": 3, "Hv": 6, "Gv": 4}
)

# Numbers read and written outside matrix products: multiples of L N H, L N F, L B h T^2 and N H.
_ELEMENTS = {
    "forward": (18, 2, 4, 7),
    "gradient": (49, 6, 9, 13),
    "set-up": (49, 6, 9, 13),
    "Hv": (342, 43, 39, 114),
    "Gv": (310, 13, 13, 133),
}
# Operations called: for each layer, and outside the layers.
_CALLS = {
    "forward": (56, 21),
    "gradient": (154, 51),
    "set-up": (170, 76),
    "Hv": (523, 218),
    "Gv": (441, 198),
}
# Vectors as long as the parameters: gradients and products are written, and then flattened or
# copied; a Hessian product meets every weight matrix twice and adds.
_VECTORS = {"forward": 0, "gradient": 1, "set-up": 3, "Hv": 3, "Gv": 2}
# Right-hand side, solution, residual, direction, product.
_CG_VECTORS = 5

# Numbers kept: multiples of L N H, L N F, L B h T^2 and N H. "forward" is what a backward pass
# needs, "graph" what products need; a Hessian product passes back through "graph" in two stages
# and holds "between" from the first to the second.
_KEPT = {"forward": (8, 2, 1, 2), "graph": (16, 4, 3, 3), "between": (8, 2, 2, 0)}


@dataclass(frozen=True)
class Transformer:
    """The sizes of an encoder with a classifier.

    Attributes:
        hidden: H, features of a token. layers: L. heads: h, a divisor of H.
        feed_forward: F, features inside a layer's two-layer network. vocabulary, positions, kinds:
            rows of the three embeddings. classes: C.
    """

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int = 30522
    positions: int = 512
    kinds: int = 2
    classes: int = 2

    def __post_init__(self):
        for field in fields(self):
            # As Python's own integers, which n^2 does not overflow.
            value = _positive(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        if self.hidden % self.heads:
            raise ValueError(
                f"expected heads to divide hidden = {self.hidden}, got heads = {self.heads}"
            )

    @property
    def layer_weights(self) -> int:
        """Entries of the weight matrices of one layer: 4 H^2 + 2 H F."""
        return 4 * self.hidden**2 + 2 * self.hidden * self.feed_forward

    @property
    def parameters(self) -> int:
        """All trained numbers: embeddings, layers, pooler and classifier, with biases."""
        H, F, C = self.hidden, self.feed_forward, self.classes
        embeddings = (self.vocabulary + self.positions + self.kinds + 2) * H
        layer = self.layer_weights + 9 * H + F  # biases 5 H + F, two layer norms 4 H
        return embeddings + self.layers * layer + H * H + H + C * H + C

    def work(self, what: str, batch: int, tokens: int) -> Work:
        """One of ``PASSES`` on ``batch`` samples of ``tokens`` tokens.

        "set-up" is a gradient whose graph is kept for products; "Hv" and "Gv" are one product each
        on that graph. Raises ValueError for another name, or for more tokens than positions.
        """
        if what not in PASSES:
            raise ValueError(f"expected one of {PASSES}, got {what!r}")
        N = self._tokens(batch, tokens)
        H, L, F, C = self.hidden, self.layers, self.feed_forward, self.classes
        scores = batch * self.heads * tokens**2
        multiplications = L * (N * self.layer_weights + 2 * H * batch * tokens**2) + batch * H * (
            H + C
        )
        operands = (
            L * (N * (14 * H + 2 * F) + self.layer_weights + 2 * scores)
            + H * (H + C)
            + batch * (3 * H + C)
        )
        per_layer, outside = _CALLS[what]
        return Work(
            flops=2 * PRODUCTS[what] * multiplications,
            operands=PRODUCTS[what] * operands,
            elements=self._activations(_ELEMENTS[what], batch, tokens),
            vectors=_VECTORS[what] * self.parameters,
            calls=per_layer * L + outside,
        )

    def cg(self, what: str, batch: int, tokens: int, products: int) -> Work:
        """A gradient and conjugate gradients with this many products, "Hv" or "Gv"."""
        _product(what)
        n = self.parameters
        iteration = self.work(what, batch, tokens) + Work(vectors=CG_MOVES * n)
        start = Work(vectors=_CG_VECTORS * n)
        return self.work("set-up", batch, tokens) + start + products * iteration

    def gradients(self, what: str, batch: int, tokens: int) -> float:
        """One of ``PASSES`` in gradients, by its matrix products alone."""
        unit = self.work("gradient", batch, tokens).flops
        return self.work(what, batch, tokens).flops / unit

    def memory(self, what: str, batch: int, tokens: int, *, size: int = 4) -> dict[str, int]:
        """Bytes at the peak, by what they hold; their sum is the peak.

        "weights" are the parameters; "vectors" as long as these: the gradient, v and the product,
        and what conjugate gradients keep; "graph" what products need of the forward and backward
        pass; "passing" what one pass holds on its way, the gradients of all but the word
        embeddings among it; "table" the gradient of these.

        Args:
            what: one of ``PASSES`` (for a product with its graph), or "cg Hv", "cg Gv": conjugate
                gradients with this product.
            size: bytes of a number, 4 for float32.
        """
        kind = what.removeprefix("cg ")
        if kind not in PASSES or (what != kind and kind not in ("Hv", "Gv")):
            raise ValueError(f"expected one of {(*PASSES, 'cg Hv', 'cg Gv')}, got {what!r}")
        N, n = self._tokens(batch, tokens), self.parameters
        scores, table = batch * self.heads * tokens**2, self.vocabulary * self.hidden
        inside = N * self.feed_forward + scores  # what one layer computes and lets go
        rest = n - table
        held = {"weights": n}
        if kind == "forward":
            held["passing"] = 2 * inside + 3 * N * self.hidden
        elif kind == "gradient":
            # Activations go as gradients come: first all of the ones, in the end all of the others.
            kept = self._activations(_KEPT["forward"], batch, tokens) + inside
            held |= {"passing": max(kept, rest), "table": table}
        else:
            on_its_way = {
                "set-up": 0,
                "Gv": 2 * inside + 3 * N * self.hidden,
                "Hv": self._activations(_KEPT["between"], batch, tokens)
                + 4 * inside
                + self.layers * self.layer_weights,
            }[kind]
            vectors = 1 + _CG_VECTORS if what != kind else 1 if kind == "set-up" else 3
            held |= {
                "vectors": vectors * n,
                "graph": self._activations(_KEPT["graph"], batch, tokens),
                "passing": max(on_its_way, rest),
                "table": table,
            }
        return {key: size * value for key, value in held.items()}

    def _tokens(self, batch: int, tokens: int) -> int:
        batch, tokens = _positive("batch", batch), _positive("tokens", tokens)
        if tokens > self.positions:
            raise ValueError(f"expected at most positions = {self.positions} tokens, got {tokens}")
        return batch * tokens

    def _activations(self, multiples, batch: int, tokens: int) -> int:
        """Multiples of L N H, L N F, L B h T^2 and N H."""
        N, L = batch * tokens, self.layers
        sizes = (
            L * N * self.hidden,
            L * N * self.feed_forward,
            L * batch * self.heads * tokens**2,
            N * self.hidden,
        )
        return sum(a * b for a, b in zip(multiples, sizes, strict=True))


def dense_hessian_bytes(parameters: int, size: int = 4) -> int:
    """Bytes of the matrix of second derivatives: n^2 numbers of ``size`` bytes."""
    return _positive("parameters", parameters) ** 2 * size


def vector_bytes(parameters: int, size: int = 4) -> int:
    """Bytes of one vector as long as the parameters, such as a product Hv."""
    return _positive("parameters", parameters) * size


def all_reduce_seconds(size: int, workers: int, bandwidth: float, latency: float = 0.0) -> float:
    """Seconds to add up a vector over workers in a ring: each sends 2 (W - 1) / W of it.

    No algorithm sends less (Patarasuk and Yuan, 2009, section 3). It nears twice the vector as the
    workers grow in number, so that the time does not fall with them.

    Args:
        size: bytes of the vector. workers: W, 1 needs nothing. bandwidth: bytes a second that each
            worker sends. latency: seconds of one of the 2 (W - 1) messages.

    Raises:
        ValueError: sizes that are not whole numbers of at least 1, or a bandwidth that is not > 0.
    """
    _positive("size", size)
    _positive("workers", workers)
    if not bandwidth > 0 or not latency >= 0:
        raise ValueError(f"expected bandwidth > 0 and latency >= 0, got {bandwidth} and {latency}")
    return 2 * (workers - 1) * (size / workers / bandwidth + latency)


def _positive(name: str, value: int) -> int:
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or index(value) < 1:
        raise ValueError(f"expected {name} to be a whole number of at least 1, got {value!r}")
    return index(value)


def _product(what: str) -> None:
    if what not in ("Hv", "Gv"):
        raise ValueError(f"expected a product, 'Hv' or 'Gv', got {what!r}")
