"""Counts against torch's own counter and the operations that run; memory against live storages."""

import itertools
import weakref

import numpy as np
import pytest
import torch
from cases import few_cases
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from rlhf_course.cost.measured import Bench
from rlhf_course.cost.model import (
    PASSES,
    Transformer,
    all_reduce_seconds,
    dense_hessian_bytes,
    vector_bytes,
)
from rlhf_lib.work import Work

TINY = Transformer(16, 2, 2, 32, vocabulary=40, positions=16)
SHAPES = [
    (TINY, 3, 8),
    (Transformer(24, 3, 4, 40, vocabulary=60, positions=32, classes=3), 2, 32),
    (Transformer(32, 1, 2, 128, vocabulary=50, positions=16), 4, 5),
]
BASE = Transformer(768, 12, 12, 3072)
LARGE = Transformer(1024, 24, 16, 4096)
GPT3 = Transformer(12288, 96, 96, 4 * 12288, vocabulary=50257, positions=2048)


class Watch(TorchDispatchMode):
    """Calls of operations, and bytes of the storages that were made and are still alive."""

    def __init__(self):
        super().__init__()
        self.calls = self.live = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls += 1
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        given = {x.untyped_storage()._cdata for x in tensors}
        for x in tree_leaves(out):
            storage = x.untyped_storage() if isinstance(x, torch.Tensor) else None
            if storage is None or storage._cdata in given | self.known:
                continue
            self.known.add(storage._cdata)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return out

    def _free(self, key, size):
        self.known.discard(key)
        self.live -= size


@pytest.mark.parametrize(("shape", "batch", "tokens"), SHAPES)
def test_matrix_products_and_calls_are_those_that_run(shape, batch, tokens):
    for what, call in Bench(shape, batch, tokens).passes():
        work = shape.work(what, batch, tokens)
        with FlopCounterMode(display=False) as counted, Watch() as watched:
            call()
        # Labels and their loss take a few operations more or less.
        assert counted.get_total_flops() == pytest.approx(work.flops, rel=1e-3)
        assert watched.calls == pytest.approx(work.calls, rel=0.02)


def test_prices_in_gradients_are_those_of_the_operators():
    assert TINY.gradients("Hv", 3, 8) == pytest.approx(2.0)
    assert TINY.gradients("Gv", 3, 8) == pytest.approx(4 / 3)
    assert TINY.gradients("forward", 3, 8) == pytest.approx(1 / 3)


@pytest.mark.parametrize("shape", [TINY, SHAPES[1][0]])
def test_parameters_of_a_small_model(shape):
    assert shape.parameters == sum(p.numel() for p in Bench(shape, 1, 2).params)


@pytest.mark.parametrize("shape", [BASE, LARGE])
def test_parameters_of_bert(shape):
    with torch.device("meta"):
        params = Bench(shape, 1, 2).params
    assert shape.parameters == sum(p.numel() for p in params)


def test_gpt3_has_175_billion():
    assert GPT3.parameters == pytest.approx(175e9, rel=0.01)


def test_arithmetic_of_the_dense_hessian():
    assert dense_hessian_bytes(BASE.parameters) / 1e15 == pytest.approx(48, abs=0.5)
    assert vector_bytes(BASE.parameters) / 1e6 == pytest.approx(440, abs=5)
    assert dense_hessian_bytes(3, size=8) == 72 and vector_bytes(3, size=2) == 6
    assert dense_hessian_bytes(GPT3.parameters) > 1e23


@pytest.mark.parametrize(
    ("shape", "batch", "tokens"),
    [
        (Transformer(64, 4, 2, 256, vocabulary=500, positions=32), 8, 32),
        (Transformer(64, 3, 4, 256, vocabulary=4000, positions=64), 2, 64),
        (Transformer(128, 2, 2, 512, vocabulary=3000, positions=16), 4, 16),
    ],
)
def test_memory_is_what_lives_at_the_peak(shape, batch, tokens):
    bench = Bench(shape, batch, tokens)
    weights = 4 * shape.parameters
    calls = {
        "forward": bench.forward,
        "gradient": bench.gradient,
        "set-up": bench.set_up,
        "cg Hv": lambda: bench.cg("Hv", 2),
        "cg Gv": lambda: bench.cg("Gv", 2),
    }
    for what, call in calls.items():
        call()
        with Watch() as watched:
            call()
        counted = sum(shape.memory(what, batch, tokens).values())
        # Above it where activations have gone when the table's gradient comes: the memory of small
        # blocks is used again, but not for a large one.
        assert 0.75 < (weights + watched.peak) / counted < 1.15, what


def test_the_graph_is_kept_and_nothing_else():
    shape = Transformer(64, 4, 2, 256, vocabulary=500, positions=32)
    bench = Bench(shape, 8, 32)
    bench.set_up()
    with Watch() as watched:
        operator = bench.operator("Hv")
        held = watched.live
    counted = shape.memory("Hv", 8, 32)["graph"] + 4 * shape.parameters  # and its gradient
    assert held == pytest.approx(counted, rel=0.03) and operator.products == 0


@few_cases
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 64)),
    st.integers(1, 9),
    st.integers(1, 16),
    st.integers(0, 3),
)
def test_more_costs_more(sizes, batch, tokens, which):
    head, heads, layers, inner = sizes
    sizes = [head * heads, layers, heads, inner]
    shape = Transformer(*sizes, vocabulary=100, positions=32)
    sizes[3] += 7
    wider = Transformer(*sizes, vocabulary=100, positions=32)
    more = [
        (shape, batch + 1, tokens),
        (shape, batch, tokens + 1),
        (
            Transformer(sizes[0], layers + 1, heads, inner, vocabulary=100, positions=32),
            batch,
            tokens,
        ),
        (wider, batch, tokens),
    ][which]
    for what in PASSES:
        fewer, many = shape.work(what, batch, tokens), more[0].work(what, *more[1:])
        assert all(a <= b for a, b in zip(fewer.numbers, many.numbers, strict=True))
        assert fewer.flops < many.flops
    for what in (*PASSES, "cg Hv", "cg Gv"):
        few, many = shape.memory(what, batch, tokens), more[0].memory(what, *more[1:])
        assert sum(few.values()) <= sum(many.values())
    for what, next_ in itertools.pairwise(("gradient", "Gv", "Hv")):
        assert shape.work(what, batch, tokens).flops < shape.work(next_, batch, tokens).flops


def test_attention_grows_with_the_square_of_the_tokens():
    shape = Transformer(16, 2, 2, 32, positions=512)

    def beyond_linear(T):
        return shape.work("forward", 1, 2 * T).flops - 2 * shape.work("forward", 1, T).flops

    head = 2 * 16 * (16 + 2)  # pooler and classifier see one token, whatever T
    assert beyond_linear(64) + head == pytest.approx(4 * (beyond_linear(32) + head))


def test_an_all_reduce_sends_nearly_twice_the_vector():
    assert all_reduce_seconds(1000, 1, 10.0) == 0
    assert all_reduce_seconds(1000, 2, 10.0) == pytest.approx(100)
    assert all_reduce_seconds(1000, 10, 10.0) == pytest.approx(180)
    assert all_reduce_seconds(1000, 4, 10.0, latency=2.0) == pytest.approx(150 + 12)
    assert all_reduce_seconds(1000, 10**6, 10.0) < 200
    for wrong in ((0, 2, 1.0), (10, 0, 1.0), (10, 2, 0.0), (10, 2, 1.0, -1.0)):
        with pytest.raises(ValueError, match="expected"):
            all_reduce_seconds(*wrong)


def test_work_adds_up():
    one = Work(1.0, 2.0, 3.0, 4.0, 5.0)
    assert (2 * one + one).numbers == (3.0, 6.0, 9.0, 12.0, 15.0)
    gradient, product = (TINY.work(what, 2, 4) for what in ("set-up", "Gv"))
    solve = TINY.cg("Gv", 2, 4, 10)
    assert solve.flops == gradient.flops + 10 * product.flops
    assert solve.vectors > gradient.vectors + 10 * product.vectors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Transformer(10, 1, 3, 20), "heads to divide hidden = 10, got heads = 3"),
        (lambda: Transformer(16, 0, 2, 32), "layers to be a whole number of at least 1, got 0"),
        (lambda: TINY.work("Hessian", 1, 2), "got 'Hessian'"),
        (lambda: TINY.work("Hv", 0, 2), "batch to be a whole number"),
        (lambda: TINY.work("Hv", 1, 17), "at most positions = 16 tokens, got 17"),
        (lambda: TINY.memory("cg gradient", 1, 2), "got 'cg gradient'"),
        (lambda: TINY.cg("gradient", 1, 2, 3), "expected a product"),
        (lambda: dense_hessian_bytes(0), "parameters to be a whole number"),
        (lambda: vector_bytes(1.5), "parameters to be a whole number"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numpys_integers_will_do_and_do_not_overflow():
    shape = Transformer(*map(np.int64, (12288, 96, 96, 49152)))
    assert dense_hessian_bytes(np.int64(shape.parameters)) == 4 * shape.parameters**2 > 2**63
    assert sum([Work(flops=1.0), Work(flops=2.0)]).flops == 3.0
