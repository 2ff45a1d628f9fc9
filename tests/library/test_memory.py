"""Memory after many steps is that after a few: no graph, no list and no cycle is left behind."""

import gc
import weakref

import pytest
import torch
from cases import cross_entropy_closure, cross_entropy_on, mlp, randn

from rlhf_lib import RLHFOptimizer

pytestmark = pytest.mark.long

X = randn(24, 4)
Y = (X @ randn(4, 3, seed=1)).argmax(1)
WAYS = {
    "cg": {"regularizer": "l2"},
    "dual": {"regularizer": "l2", "solver": "dual"},
    "radius and fisher": {"regularizer": "l2", "radius": 0.5, "preconditioner": "fisher"},
    "warm start and backtracking": {"regularizer": "l2", "warm_start": 0.9, "backtrack": True},
    "orthant": {"regularizer": "l1"},
    "proximal": {"regularizer": "l1", "kinks": "proximal"},
    "graph rebuilt": {"regularizer": "l2", "keep_graph": False},
}


def held():
    """Bytes in all storages of tensors that are alive, each counted once."""
    storages = {}
    for x in gc.get_objects():
        # Other tests leave sparse tensors, which have no storage.
        if type(x) in (torch.Tensor, torch.nn.Parameter) and x.layout == torch.strided:
            storage = x.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "way", [w if w == "dual" else pytest.param(w, marks=pytest.mark.slow) for w in WAYS]
)
def test_memory_after_200_steps_is_that_after_5(way, no_collector):
    net = mlp(4, 5, 3)
    optimizer = RLHFOptimizer(
        net.parameters(),
        lambda_reg=1e-3,
        damping=1.0,
        max_iter=3,
        damping_rule="fixed",
        **WAYS[way],
    )
    parts = [(X[:14], Y[:14]), (X[14:], Y[14:])]
    graphs = []

    def closure(batch):
        loss, logits = cross_entropy_on(net)(batch)
        graphs.append(weakref.ref(logits))
        return loss, logits

    sizes = {}
    for step in range(1, 201):
        optimizer.step(closure, batches=parts)
        # Nothing waits for the collector of cycles: each graph is gone at once.
        assert not any(ref() is not None for ref in graphs)
        graphs.clear()
        if step in (5, 200):
            gc.collect()
            sizes[step] = held()
    assert sizes[200] == sizes[5]


def test_what_is_counted_would_show_a_leak():
    net = mlp(4, 5, 3)
    before, kept = held(), []
    for _ in range(5):
        kept.append(cross_entropy_closure(net, X, Y)()[1])
    assert held() - before >= 5 * 24 * 3 * 8
