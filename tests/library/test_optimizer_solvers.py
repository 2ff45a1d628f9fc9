"""The ways to solve and to trust inside RLHFOptimizer: dual, auto, radius, preconditioners, ..."""

import copy
import io
from itertools import pairwise

import pytest
import torch
from cases import (
    classification,
    close,
    cross_entropy_closure,
    cross_entropy_on,
    few_cases,
    flat,
    mlp,
    seeds,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rlhf_lib import RLHFOptimizer

X, Y = classification(12, classes=3)


def run(net, steps, inputs=X, labels=Y, **options):
    """The records of some steps on one batch."""
    optimizer = RLHFOptimizer(net.parameters(), **options)
    records = []
    for _ in range(steps):
        optimizer.step(cross_entropy_closure(net, inputs, labels))
        records.append(optimizer.record)
    return records


def objective(net, lam=0.0):
    penalty = sum(float(p.detach().square().sum()) for p in net.parameters() if p.ndim > 1)
    return cross_entropy_closure(net, X, Y)()[0].item() + 0.5 * lam * penalty


# Dual and auto.


@pytest.mark.parametrize("regularizer", [None, "l2", "l2sp", "l1", "elastic-net"])
@pytest.mark.parametrize("solver", ["dual", "auto"])
def test_steps_in_sample_space_are_those_of_exact_conjugate_gradients(solver, regularizer):
    nets = [mlp(3, 4, 3) for _ in range(2)]
    options = {
        "regularizer": regularizer,
        "lambda_reg": 0.02 if regularizer else 0.0,
        "damping": 0.1,
    }
    dual = run(nets[0], 6, solver=solver, rtol=1e-12, **options)
    primal = run(nets[1], 6, rtol=1e-13, max_iter=500, **options)
    close(flat(nets[0].parameters()), flat(nets[1].parameters()), rtol=1e-9)
    for a, b in zip(dual, primal, strict=True):
        assert a.extra["solver"].startswith("dual") and a.reason == "converged"
        assert (a.rho, a.damping) == pytest.approx((b.rho, b.damping), rel=1e-5)
        assert (a.step_length, b.extra["solver"]) == (b.step_length, "cg")
        assert a.products < b.products


@pytest.mark.parametrize("keep_graph", [True, False])
def test_dual_steps_take_micro_batches_and_their_own_curvature_samples(keep_graph):
    nets = [mlp(3, 4, 3) for _ in range(2)]
    parts = [(X[:5], Y[:5]), (X[5:9], Y[5:9]), (X[9:], Y[9:])]
    for net, options in zip(
        nets, ({"solver": "dual", "rtol": 1e-12}, {"rtol": 1e-13, "max_iter": 500}), strict=True
    ):
        optimizer = RLHFOptimizer(
            net.parameters(), regularizer=None, damping=0.1, keep_graph=keep_graph, **options
        )
        for _ in range(3):
            optimizer.step(cross_entropy_on(net), batches=parts, curvature_batches=parts[1:])
    close(flat(nets[0].parameters()), flat(nets[1].parameters()), rtol=1e-9)


def test_a_dual_step_costs_what_its_products_say():
    net = mlp(3, 4, 3)
    optimizer = RLHFOptimizer(net.parameters(), regularizer=None, solver="dual", rtol=1e-10)
    optimizer.step(cross_entropy_closure(net, X, Y))
    record = optimizer.record
    without = 12 * (1 + 1 / 3 + record.products * 4 / 3)
    # A forward pass, then for each of two directions one pass back to the layers' outputs, two
    # over the rows to write, project and lift, and the Gram matrix: at least 5/3 gradients.
    assert record.cost > without + 12 * 5 / 3


@few_cases
@given(seed=seeds, n=st.integers(1, 20), classes=st.integers(2, 4), mu=st.floats(1e-3, 10))
def test_auto_never_leads_elsewhere(seed, n, classes, mu):
    inputs, labels = classification(n, classes=classes, seed=seed)
    results = []
    for options in (
        {"solver": "auto", "rtol": 1e-12, "max_iter": 500},
        {"solver": "cg", "rtol": 1e-13, "max_iter": 500},
    ):
        net = mlp(3, 4, classes, seed=seed % 1000)
        run(net, 2, inputs, labels, regularizer=None, damping=mu, **options)
        results.append(flat(net.parameters()))
    close(results[0], results[1], rtol=1e-7)


def test_auto_decides_once_and_again_when_the_batch_changes():
    net = mlp(3, 4, 3)
    optimizer = RLHFOptimizer(net.parameters(), regularizer=None, solver="auto")
    notes = []
    for n in (12, 12, 6, 6, 12):
        optimizer.step(cross_entropy_closure(net, X[:n], Y[:n]))
        notes.append(optimizer.record.extra["solver"])
    assert [note.split(" take")[0] for note in notes] == [
        "dual: 24 rows",
        "dual: 24 rows",
        "dual: 12 rows",
        "dual: 12 rows",
        "dual: 24 rows",
    ]
    assert optimizer.state["rlhf"]["direction memory"]["choice"] == {
        "samples": 12,
        "dual": notes[-1].startswith("dual"),
        "grounds": notes[-1],
    }


def test_auto_takes_conjugate_gradients_where_samples_are_many_and_says_why():
    inputs, labels = classification(600)
    record = run(mlp(3, 4, 3), 1, inputs, labels, regularizer=None, solver="auto")[0]
    assert record.extra["solver"].startswith("cg: 1200 rows take")


def test_auto_takes_conjugate_gradients_for_the_hessian():
    record = run(mlp(3, 3), 1, regularizer=None, solver="auto", curvature="hessian")[0]
    assert record.extra["solver"].startswith("cg: the Hessian")


@pytest.mark.parametrize("solver", ["dual", "auto"])
def test_samples_that_act_on_one_another_are_left_to_conjugate_gradients(solver):
    def norm():
        torch.manual_seed(0)
        layers = [nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)]
        return nn.Sequential(*layers).double()

    one, two = norm(), norm()
    options = {"regularizer": None, "damping": 0.01, "max_iter": 500}
    record = run(one, 1, solver=solver, rtol=1e-10, **options)[0]
    run(two, 1, rtol=1e-12, **options)
    assert record.extra["solver"].startswith("cg") and record.reason == "converged"
    close(flat(one.parameters()), flat(two.parameters()), rtol=1e-6)
    if solver == "dual":
        assert "relative residual" in record.extra["solver"]


def test_a_dual_step_without_damping_is_refused_and_nothing_has_changed():
    net = mlp(3, 4, 3)
    before = flat(net.parameters())
    with pytest.raises(ValueError, match="raise damping above 0"):
        run(net, 1, regularizer=None, damping=0.0, solver="dual")
    assert torch.equal(flat(net.parameters()), before)


# Trust region.


class Scripted:
    """A quadratic whose true value at the trial points is scripted by rho, Hessian diag(h)."""

    def __init__(self, start, h):
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.h = torch.tensor(h, dtype=torch.float64)

    def exact(self):
        return 0.5 * (self.h * self.w * self.w).sum()


def test_the_radius_follows_algorithm_4_1():
    # f is quadratic but for a factor on its fall, so that rho is that factor; damping is nil.
    problem = Scripted([30.0, 40.0], [1.0, 1.0])
    rhos = iter([0.9, 0.9, 0.5, 0.1, 0.2, -3.0, 0.9, 0.74, 0.76])
    optimizer = RLHFOptimizer(
        [problem.w],
        regularizer=None,
        curvature="hessian",
        damping=0.0,
        damping_rule="fixed",
        radius=1.0,
        line_search=False,
    )
    expected, rejected = 1.0, 0
    for rho in rhos:
        start = problem.exact().item()
        calls = []

        def closure(rho=rho, start=start, calls=calls):
            calls.append(1)
            value = problem.exact()
            return value if len(calls) == 1 else start + rho * (value - start)

        before = problem.w.detach().clone()
        optimizer.step(closure)
        record = optimizer.record
        assert record.rho == pytest.approx(rho, rel=1e-6)
        assert record.reason == "boundary"  # the minimum is 50 away
        moved = float((problem.w.detach() - before).norm())
        assert moved == pytest.approx(expected if rho > 0 else 0.0, rel=1e-9)
        if rho <= 0:
            assert torch.equal(problem.w.detach(), before) and not record.accepted
            rejected += 1
        expected *= 0.25 if rho < 0.25 else 2.0 if rho > 0.75 else 1.0
        assert optimizer.state["rlhf"]["radius"] == pytest.approx(expected)
        assert record.extra["radius"] == optimizer.state["rlhf"]["radius"]
    assert rejected == 1


def test_the_radius_stays_where_a_good_step_ends_inside():
    problem = Scripted([0.3, 0.4], [1.0, 2.0])
    optimizer = RLHFOptimizer(
        [problem.w],
        regularizer=None,
        curvature="hessian",
        damping=0.0,
        damping_rule="fixed",
        radius=1.0,
        rtol=1e-10,
    )
    optimizer.step(problem.exact)
    assert optimizer.record.reason == "converged" and optimizer.record.rho == pytest.approx(1.0)
    assert optimizer.state["rlhf"]["radius"] == 1.0
    assert float(problem.w.detach().norm()) < 1e-9


@pytest.mark.parametrize("line_search", [True, False])
@pytest.mark.parametrize("damping", [0.0, 0.05])
@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_steps_stay_inside_the_radius_and_descend(curvature, damping, line_search):
    net = mlp(3, 4, 3)
    optimizer = RLHFOptimizer(
        net.parameters(),
        lambda_reg=0.01,
        regularizer="l2",
        curvature=curvature,
        damping=damping,
        radius=0.2,
        line_search=line_search,
        max_iter=200,
    )
    reasons, values = set(), [objective(net, 0.01)]
    for _ in range(25):
        radius, before = optimizer.state["rlhf"]["radius"], flat(net.parameters())
        optimizer.step(cross_entropy_closure(net, X, Y))
        record = optimizer.record
        assert record.step_norm <= radius * (1 + 1e-9)
        assert record.accepted or torch.equal(flat(net.parameters()), before)
        reasons.add(record.reason)
        values.append(objective(net, 0.01))
    assert "boundary" in reasons
    assert all(b <= a * (1 + 1e-14) for a, b in pairwise(values))
    assert values[-1] < 0.75 * values[0]


def test_a_rejected_step_restores_the_parameters_bit_for_bit_and_shrinks_the_radius():
    net = mlp(3, 4, 3)
    optimizer = RLHFOptimizer(net.parameters(), regularizer=None, radius=0.5, damping=0.0)
    before = flat(net.parameters())

    def closure():
        loss, logits = cross_entropy_closure(net, X, Y)()
        return loss + (0 if torch.equal(flat(net.parameters()), before) else 100), logits

    optimizer.step(closure)
    assert not optimizer.record.accepted and optimizer.record.step_norm == 0
    assert torch.equal(flat(net.parameters()), before)
    assert optimizer.state["rlhf"]["radius"] == 0.125


def saddle(w):
    return 0.5 * (w[0] ** 2 - w[1] ** 2) + 0.25 * w[1] ** 4


def monkey_saddle(w):
    return w[0] ** 3 - 3 * w[0] * w[1] ** 2 + 0.25 * (w[0] ** 2 + w[1] ** 2) ** 2


@pytest.mark.parametrize(
    ("f", "start", "least"), [(saddle, [1.0, 1e-3], -0.25), (monkey_saddle, [1e-2, 1e-2], -6.75)]
)
@pytest.mark.parametrize("line_search", [True, False])
def test_negative_curvature_is_followed_to_the_boundary_and_saddles_are_left(
    f, start, least, line_search
):
    w = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = RLHFOptimizer(
        [w],
        regularizer=None,
        curvature="hessian",
        damping=0.0,
        radius=0.5,
        damping_rule="fixed",
        line_search=line_search,
    )
    at_boundary = []
    for _ in range(40):
        radius = optimizer.state["rlhf"]["radius"]
        optimizer.step(lambda: f(w))
        record = optimizer.record
        if record.reason == "negative_curvature" and record.step_length == 1:
            at_boundary.append(record.step_norm / radius)
    assert at_boundary == pytest.approx([1.0] * len(at_boundary)) and at_boundary
    assert float(f(w.detach())) == pytest.approx(least, abs=1e-8)


def test_without_a_radius_the_same_saddle_is_left_more_slowly():
    values = {}
    for radius in (None, 0.5):
        w = nn.Parameter(torch.tensor([1.0, 1e-6], dtype=torch.float64))
        optimizer = RLHFOptimizer(
            [w],
            regularizer=None,
            curvature="hessian",
            damping=0.0,
            radius=radius,
            damping_rule="fixed",
        )
        for _ in range(8):
            optimizer.step(lambda w=w: saddle(w))
        values[radius] = float(saddle(w.detach()))
    assert values[0.5] == pytest.approx(-0.25, abs=1e-4) and values[None] > -0.01


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "dual"},
        {"solver": "auto"},
        {"warm_start": 0.5},
        {"regularizer": "group-lasso"},
        {"regularizer": "l1", "kinks": "proximal"},
    ],
)
def test_a_radius_with_what_cannot_keep_it_is_refused(options):
    with pytest.raises(ValueError, match="trust-region radius works with solver='cg' alone"):
        RLHFOptimizer(mlp(2, 2).parameters(), radius=1.0, **options)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("inf"), float("nan")])
def test_a_radius_has_to_be_positive_and_finite(radius):
    with pytest.raises(ValueError, match="finite radius > 0"):
        RLHFOptimizer(mlp(2, 2).parameters(), radius=radius)


# Preconditioners.


@pytest.mark.parametrize("kind", ["ggn", "fisher", "hutchinson"])
@pytest.mark.parametrize("regularizer", ["l2", "l1"])
def test_preconditioned_steps_lead_where_plain_ones_do(kind, regularizer):
    nets = [mlp(3, 4, 3) for _ in range(2)]
    options = {
        "regularizer": regularizer,
        "lambda_reg": 0.02,
        "damping": 0.1,
        "max_iter": 500,
        "rtol": 1e-12,
    }
    run(nets[0], 5, preconditioner=kind, **options)
    run(nets[1], 5, **options)
    close(flat(nets[0].parameters()), flat(nets[1].parameters()), rtol=1e-8)
    if regularizer == "l1":
        zeros = [flat(net.parameters()) == 0 for net in nets]
        assert torch.equal(*zeros) and zeros[0].any()


# Backtracking, relative progress, warm start.


def watched(net, seen):
    """A closure that writes down the values it returns."""

    def closure():
        loss, logits = cross_entropy_closure(net, X, Y)()
        seen.append(loss.item())
        return loss, logits

    return closure


def test_backtracking_never_ends_higher_than_the_last_iterate():
    went_back = 0
    for seed in range(12):
        nets = [mlp(3, 6, 3, seed=seed, activation=nn.Sigmoid) for _ in range(2)]
        records, values = [], []
        for net, backtrack in zip(nets, (True, False), strict=True):
            optimizer = RLHFOptimizer(
                net.parameters(),
                regularizer=None,
                damping=1e-6,
                rtol=1e-10,
                max_iter=60,
                line_search=False,
                backtrack=backtrack,
            )
            seen = []
            optimizer.step(watched(net, seen))
            records.append(optimizer.record)
            values.append(seen)
        assert values[0][2] == values[1][2]  # at the last iterate, after two calls at the start
        assert objective(nets[0]) <= min(values[1])
        if records[0].reason == "backtracked":
            went_back += 1
            assert objective(nets[0]) < values[1][2]
        else:
            assert torch.equal(flat(nets[0].parameters()), flat(nets[1].parameters()))
    assert went_back >= 3


def test_backtracking_goes_back_while_the_objective_falls_and_then_stops():
    went_back = 0
    for seed in range(6):
        net = mlp(3, 6, 3, seed=seed, activation=nn.Sigmoid)
        optimizer = RLHFOptimizer(
            net.parameters(),
            regularizer=None,
            damping=1e-6,
            rtol=1e-10,
            max_iter=60,
            backtrack=True,
        )
        for step in range(6):
            seen = []
            optimizer.step(watched(net, seen))
            trials = seen[1 if step else 2 :]  # the first are at the start
            falls = [b < a for a, b in pairwise(trials)]
            # Of where it went back to there is nothing to remember: the solve is the last one.
            assert optimizer.state["rlhf"]["direction memory"]["products"] > 0
            if optimizer.record.reason == "backtracked":
                went_back += 1
                best = falls.index(False) if False in falls else len(falls)
                assert best > 0 and all(falls[:best])
    assert went_back >= 3


def test_backtracking_is_refused_where_kinks_cut_the_iterates():
    with pytest.raises(ValueError, match="backtrack works with smooth penalties"):
        RLHFOptimizer(mlp(2, 2).parameters(), regularizer="l1", backtrack=True)


# Copies and states.

SETTINGS = {
    "cg": {"regularizer": "l2"},
    "dual": {"solver": "dual", "regularizer": "l2"},
    "auto": {"solver": "auto", "regularizer": "l2"},
    "radius": {"radius": 0.3, "regularizer": "l2"},
    "preconditioner": {"preconditioner": "fisher", "regularizer": "l2"},
    "hutchinson": {"preconditioner": "hutchinson", "regularizer": "l2"},
    "warm start": {"warm_start": 0.9, "regularizer": "l2"},
    "backtrack": {"backtrack": True, "regularizer": "l2"},
    "orthant": {"regularizer": "l1"},
    "proximal": {"regularizer": "l1", "kinks": "proximal"},
    "group lasso": {"regularizer": "group-lasso"},
    "start": {"regularizer": "l2sp"},
}


def build(name):
    net = mlp(3, 4, 3)
    options = {"lambda_reg": 0.02, "damping": 0.1, **SETTINGS[name]}
    return net, RLHFOptimizer(net.parameters(), **options)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_deepcopy_continues_bit_for_bit_and_apart(name):
    net, optimizer = build(name)
    torch.manual_seed(3)
    for _ in range(2):
        optimizer.step(cross_entropy_closure(net, X, Y))
    twin, copied = copy.deepcopy((net, optimizer))
    state = torch.get_rng_state()
    for _ in range(3):
        optimizer.step(cross_entropy_closure(net, X, Y))
    assert not torch.equal(flat(net.parameters()), flat(twin.parameters()))
    torch.set_rng_state(state)
    for _ in range(3):
        copied.step(cross_entropy_closure(twin, X, Y))
    assert torch.equal(flat(net.parameters()), flat(twin.parameters()))
    assert copied.record.with_(seconds=0) == optimizer.record.with_(seconds=0)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_state_dict_continues_bit_for_bit(name):
    net, optimizer = build(name)
    torch.manual_seed(3)
    for _ in range(2):
        optimizer.step(cross_entropy_closure(net, X, Y))
    stored = io.BytesIO()
    torch.save(
        {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
        },
        stored,
    )
    for _ in range(3):
        optimizer.step(cross_entropy_closure(net, X, Y))
    stored.seek(0)
    loaded = torch.load(stored, weights_only=True)
    twin, resumed = build(name)
    twin.load_state_dict(loaded["net"])
    resumed.load_state_dict(loaded["optimizer"])
    torch.set_rng_state(loaded["random"])
    for _ in range(3):
        resumed.step(cross_entropy_closure(twin, X, Y))
    assert torch.equal(flat(net.parameters()), flat(twin.parameters()))
    assert resumed.record.with_(seconds=0) == optimizer.record.with_(seconds=0)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_group_may_be_added_and_its_lambda_and_lr_hold(name):
    net = mlp(3, 4, 3)
    options = {"lambda_reg": 0.02, "damping": 0.1, **SETTINGS[name]}
    optimizer = RLHFOptimizer(net[2].parameters(), **options)
    optimizer.step(cross_entropy_closure(net, X, Y))
    still = flat(net[0].parameters())
    optimizer.add_param_group({"params": list(net[0].parameters()), "lr": 0.5, "lambda_reg": 0.1})
    optimizer.step(cross_entropy_closure(net, X, Y))
    assert optimizer.record.accepted
    assert not torch.equal(flat(net[0].parameters()), still)
    expected = {"l1": lambda p: p.abs().sum(), "l2": lambda p: 0.5 * p.square().sum()}
    kind = options["regularizer"]
    if kind in expected:
        r = expected[kind]
        value = 0.02 * r(net[2].weight).item() + 0.1 * r(net[0].weight).item()
        assert optimizer.penalty() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_scheduler_shortens_the_steps(name):
    norms = {}
    for factor in (1.0, 0.25):
        net, optimizer = build(name)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch, f=factor: f)
        torch.manual_seed(0)
        optimizer.step(cross_entropy_closure(net, X, Y))
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] == factor
        norms[factor] = optimizer.record.step_norm
    # An entry that the full step takes across a kink is cut, so that the others count more.
    assert norms[0.25] < 0.6 * norms[1.0]
    if SETTINGS[name].get("regularizer") in ("l2", "l2sp") and name != "backtrack":
        assert norms[0.25] == pytest.approx(0.25 * norms[1.0], rel=1e-9)
