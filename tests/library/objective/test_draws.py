"""What a closure moves beside the parameters moves once a step, and not at all in a failed one."""

import copy
import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from cases import classification, close, cross_entropy_closure, flat, mlp, randn
from torch import nn
from torch.utils.checkpoint import checkpoint

from rlhf_lib import RLHFOptimizer
from rlhf_lib.objective import TaskLoss
from rlhf_lib.objective.reach import reach

X, Y = classification(12)
# Closures reach these by their names, as those of a script do.
GENERATOR, RNG = torch.Generator(), np.random.default_rng()


class Average(nn.Module):
    """Keeps a moving average by making a new buffer each time, as many do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", None)

    def forward(self, x):
        mean = x.detach().mean(0)
        self.mean = mean if self.mean is None else 0.9 * self.mean + 0.1 * mean
        return x - self.mean


def network(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), *layers, nn.Tanh(), nn.Linear(4, 3)).double()


def noise(name):
    """One function for each way to draw; those of modules are drawn by their functions, too."""
    return {
        "torch": lambda: torch.randn(X.shape),
        "own generator": lambda: torch.randn(X.shape, generator=GENERATOR),
        "numpy": lambda: torch.from_numpy(RNG.normal(size=X.shape)),
        "numpy's global": lambda: torch.from_numpy(np.random.randn(*X.shape)),  # noqa: NPY002
        "python": lambda: random.gauss(0, 1),
    }[name]


def with_noise(name):
    net, draw = network(), noise(name)
    return net, lambda: cross_entropy_closure(net, X + draw(), Y)()


class Holder:
    def __init__(self, net):
        self.parts = {"net": net}

    def loss(self):
        return cross_entropy_closure(self.parts["net"], X, Y)()


def with_layer(layer):
    net = network(layer)
    return net, Holder(net).loss


def checkpointed():
    net = network(nn.BatchNorm1d(4))
    return net, lambda: cross_entropy_closure(partial(checkpoint, net, use_reentrant=False), X, Y)()


WORLDS = {
    **{name: lambda name=name: with_noise(name) for name in ("torch", "own generator", "numpy")},
    **{name: lambda name=name: with_noise(name) for name in ("numpy's global", "python")},
    "batch norm": lambda: with_layer(nn.BatchNorm1d(4)),
    "spectral norm": lambda: with_layer(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))),
    "batch norm in a checkpoint": checkpointed,
    "new buffers": lambda: with_layer(Average()),
}


def made(name):
    for seed in (torch.manual_seed, GENERATOR.manual_seed, np.random.seed, random.seed):
        seed(1)
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
    net, closure = WORLDS[name]()
    return net, closure, list(net.parameters())


def state(net):
    """All that a closure above may move, as numbers."""
    generators = [torch.get_rng_state().tolist(), GENERATOR.get_state().tolist()]
    numpy = [RNG.bit_generator.state, str(np.random.mtrand._rand.get_state()), random.getstate()]
    return [*generators, *numpy, {k: v.tolist() for k, v in net.named_buffers()}]


@pytest.mark.parametrize("keep_graph", [True, False])
@pytest.mark.parametrize("name", WORLDS)
def test_a_step_moves_what_one_call_moves_and_an_error_nothing(name, keep_graph):
    net, closure, params = made(name)
    start = state(net)
    closure()
    once = state(net)
    assert once != start

    net, closure, params = made(name)
    optimizer = RLHFOptimizer(params, regularizer=None, keep_graph=keep_graph)
    optimizer.step(closure)
    assert state(net) == once and optimizer.record.accepted

    def broken():
        loss, outputs = closure()
        return loss * math.nan, outputs

    with pytest.raises(FloatingPointError):
        optimizer.step(broken)
    assert state(net) == once


@pytest.mark.parametrize("name", ["batch norm", "new buffers"])
def test_a_rejected_step_leaves_the_buffers_alone(name):
    net, closure, params = made(name)
    before = state(net)
    optimizer = RLHFOptimizer(params, regularizer=None, line_search=False, lr=1e30)
    optimizer.step(closure)
    assert not optimizer.record.accepted and state(net) == before


def test_micro_batches_move_the_statistics_once_each_and_curvature_batches_not_at_all():
    net, _, params = made("batch norm")
    batches = [(X[:5], Y[:5]), (X[5:], Y[5:])]
    net.eval()(X)
    net.train()
    for x, _ in batches:
        net(x)
    once = state(net)
    net, _, params = made("batch norm")
    optimizer = RLHFOptimizer(params, regularizer=None)

    def loss(batch):
        return cross_entropy_closure(net, *batch)()

    optimizer.step(loss, batches=batches, curvature_batches=[(X[:7], Y[:7])])
    assert state(net) == once and net[1].num_batches_tracked == 2


def test_modules_and_generators_are_found_where_a_closure_keeps_them():
    net, closure, _ = made("own generator")
    modules, generators = reach(closure)
    assert set(net.modules()) <= set(modules) and any(g is GENERATOR for g in generators)
    layer = nn.Dropout()
    layer.generator = GENERATOR
    layer.register_forward_hook(lambda module, inputs, output: output + np.random.rand())  # noqa: NPY002
    assert set(map(id, reach(lambda: layer)[1])) >= {id(GENERATOR), id(np.random.mtrand._rand)}

    class Slots:
        __slots__ = ("parts",)

        def __call__(self):
            return None

    callable_object = Slots()
    callable_object.parts = (layer,)
    assert reach(partial(callable_object))[0] == [layer]


def test_casts_of_autocast_are_made_anew_when_the_parameters_move():
    runs = []
    for outside in (True, False):
        net = mlp(3, 8, 3, seed=1).float()
        closure = cross_entropy_closure(net, X.float(), Y)

        def inside(closure=closure):
            with torch.autocast("cpu", torch.bfloat16):
                return closure()

        optimizer = RLHFOptimizer(net.parameters(), regularizer=None)
        with torch.autocast("cpu", torch.bfloat16, enabled=outside):
            for _ in range(2):
                optimizer.step(closure if outside else inside)
            if outside:
                close(closure()[0].detach(), inside()[0].detach(), rtol=1e-6)
        runs.append(flat(net.parameters()))
    close(runs[0], runs[1], rtol=1e-3)


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_derivatives_by_inputs_work_at_trial_points(curvature, mode):
    """u' + u = t for u = w . (1, t, t^2, t^3), in the least squares sense."""
    t = torch.linspace(0.1, 1, 9, dtype=torch.float64)
    powers = torch.arange(4)
    w = nn.Parameter(randn(4))

    def closure():
        assert torch.is_grad_enabled()
        x = t.clone().requires_grad_()
        u = x[:, None] ** powers @ w
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        residual = slope + u - t
        return residual.square().mean(), residual

    optimizer = RLHFOptimizer(
        [w], curvature=curvature, regularizer=None, damping=1e-12, rtol=1e-12, progress_tol=None
    )
    with mode():
        for _ in range(3):
            optimizer.step(closure)
    basis = t[:, None] ** powers + powers * t[:, None] ** (powers - 1).clamp(min=0)
    close(w.detach(), torch.linalg.lstsq(basis, t[:, None]).solution[:, 0], rtol=1e-6)


def test_a_lazy_module_is_asked_to_be_run_first():
    with pytest.raises(ValueError, match="lazy module: run the model on one batch first"):
        RLHFOptimizer(nn.LazyLinear(2).parameters())


def test_a_value_alone_can_be_taken_back():
    net, closure, _ = made("batch norm")
    before, task = state(net), TaskLoss(closure)
    task.value()
    assert state(net) != before
    task.undo()
    assert state(net) == before


class Range(nn.Module):
    """The largest entry so far, as an observer keeps it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("most", torch.tensor(1e3, dtype=torch.float64))

    def forward(self, x):
        self.most.copy_(torch.maximum(self.most, x.detach().max()))
        return x


@pytest.mark.parametrize("layer", [Range, lambda: nn.BatchNorm1d(4, momentum=None)])
def test_a_buffer_that_the_first_call_moves_to_where_it_was_is_put_back(layer):
    net = network(layer())
    X = randn(6, 3)
    net(X)  # the mean of two equal batches is that of one
    once = copy.deepcopy(net)
    once(X)
    task = TaskLoss(lambda: net(X).square().sum())
    task.value()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1e4)  # a trial point
    task.value()
    for name, buffer in once.named_buffers():
        assert torch.equal(buffer, net.get_buffer(name))
