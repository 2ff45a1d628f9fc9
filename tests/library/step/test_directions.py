from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from cases import badly_scaled, classification, close, cross_entropy_closure, mlp, randn
from torch import nn

from rlhf_lib import GaussNewtonOperator, HessianOperator
from rlhf_lib.regularizers import L1, L2, GroupLasso
from rlhf_lib.step import (
    Cheapest,
    ConjugateGradients,
    LocalModel,
    Path,
    ProximalNewton,
    SampleSpaceSolve,
)
from rlhf_lib.step.directions import choose
from rlhf_lib.step.shorthand import direction_of
from rlhf_lib.timing import timed

X, Y = classification(10)


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def model_of(net, penalty=None, operator=GaussNewtonOperator, closure=None, **options):
    closure = closure or cross_entropy_closure(net, X, Y)
    params = list(net.parameters())
    curvature = operator(closure, params)
    theta = torch.cat([p.detach().reshape(-1) for p in params])
    penalty = (penalty or L2(weight=0.0)).on(list(net.named_parameters()))
    return LocalModel(theta, curvature.gradient, curvature, penalty, **options)


def by_cg(model, damping, **settings):
    model.damping = damping
    return ConjugateGradients(**settings).propose(model, {})


def by_samples(model, damping, *, rtol, **settings):
    model.damping = damping
    return SampleSpaceSolve(rtol, ConjugateGradients(rtol=rtol, **settings)).propose(model, {})


def dense(model, damping):
    return model.curvature.dense() + torch.diag(
        (model.shift + damping) * torch.ones_like(model.theta)
    )


# The model.


@pytest.mark.parametrize("kind", [L2, L1])
def test_the_model_promises_what_the_quadratic_says(net, kind):
    model = model_of(net, kind(weight=0.3))
    found = by_cg(model, 0.1, rtol=1e-12, max_iter=500)
    d = found.direction
    A = dense(model, 0.0)
    assert found.quadratic == pytest.approx(float(d @ A @ d), rel=1e-8)
    kinked = torch.cat(
        [torch.full((p.numel(),), kind is L1 and p.ndim == 2) for p in net.parameters()]
    )
    products = model.curvature.products
    for length in (1.0, 0.3, torch.full_like(d, 0.3)):
        path = Path(model, found, length)
        step = path(1.0) - model.theta
        crossed = kinked & ((model.theta + length * d) * model.theta < 0)
        close(step, torch.where(crossed, -model.theta, length * d))
        expected = -float(model.gradient @ step) - 0.5 * float(step @ A @ step)
        assert path.predicted == pytest.approx(expected, rel=1e-8)
        for t in (1.0, 0.5):
            slope = float(model.gradient @ (path(t) - model.theta))
            assert path.slope(t) == pytest.approx(slope, rel=1e-10)
    if kind is L2:
        assert model.curvature.products == products + 1  # only lengths that differ cost one


def test_the_direction_solves_the_damped_system_with_the_penalty_in_it(net):
    model = model_of(net, L2(weight=0.3))
    expected = torch.linalg.solve(dense(model, 0.1), -model.gradient)
    penalized = torch.cat(
        [
            torch.full((p.numel(),), 0.3 * (p.ndim == 2), dtype=torch.float64)
            for p in net.parameters()
        ]
    )
    close(model.shift, penalized)
    for found in (by_cg(model, 0.1, rtol=1e-13, max_iter=500), by_samples(model, 0.1, rtol=1e-12)):
        assert found.reason == "converged"
        close(found.direction, expected, rtol=1e-9)


def test_the_orthant_holds_coordinates_in_both_solvers(net):
    with torch.no_grad():
        net[0].weight[:2] = 0.0
    model = model_of(net, L1(weight=0.2))
    assert model.free is not None and not model.free.all()
    primal = by_cg(model, 0.1, rtol=1e-13, max_iter=500).direction
    dual = by_samples(model, 0.1, rtol=1e-12).direction
    close(dual, primal, rtol=1e-9)
    assert not primal[~model.free].any()
    block = dense(model, 0.1)[model.free][:, model.free]
    close(primal[model.free], torch.linalg.solve(block, -model.gradient[model.free]), rtol=1e-9)


def test_no_direction_gives_steepest_descent_with_its_curvature(net):
    class Negative(HessianOperator):
        """-I."""

        def matvec(self, v, out=None):
            return torch.neg(v, out=out)

    model = model_of(net, operator=Negative)
    found = by_cg(model, 0.25, rtol=1e-3, max_iter=5)
    assert found.reason == "negative_curvature"
    assert torch.equal(found.direction, -model.gradient)
    assert found.quadratic == pytest.approx(-float(model.gradient @ model.gradient))


# Iterates and backtracking.


def test_kept_iterates_come_with_their_own_curvature(net):
    model = model_of(net)
    found = by_cg(model, 0.001, rtol=1e-12, max_iter=40, backtrack=True)
    assert len(found.earlier) >= 4
    A = dense(model, 0.0)
    for option in found.earlier:
        d = option.direction
        assert option.quadratic == pytest.approx(float(d @ A @ d), rel=1e-7)
    sizes = [float(o.direction.norm()) for o in found.earlier] + [float(found.direction.norm())]
    for inner, outer in pairwise(sizes):  # conjugate gradients move outwards (Steihaug, 1983)
        assert inner <= outer * (1 + 1e-8)
    assert not any(torch.equal(o.direction, found.direction) for o in found.earlier)


# Which solver.


def test_dual_is_chosen_for_few_samples_and_says_why(net):
    space, note = choose(model_of(net), 50)
    assert space is not None and note.startswith("dual: 20 rows take")
    assert f"{space.predicted_cost + 4 / 3:.1f} gradients" in note and "50 products 66.7" in note


def test_cg_is_chosen_where_it_needs_fewer_products(net):
    space, note = choose(model_of(net), 1)
    assert space is None and note.startswith("cg: 20 rows take") and "1 products 1.3" in note


def test_cg_is_chosen_for_the_hessian(net):
    space, note = choose(model_of(net, operator=HessianOperator), 50)
    assert space is None and note == "cg: the Hessian has no factor in sample space"


def test_cg_is_chosen_for_many_samples():
    wide = mlp(3, 4, 3)
    inputs, labels = classification(2000)
    closure = cross_entropy_closure(wide, inputs, labels)
    space, note = choose(model_of(wide, closure=closure), 50)
    assert space is None and note.startswith("cg: ")


def test_cg_is_chosen_for_many_outputs_without_differentiating_each():
    net = mlp(3, 4, 1500)
    inputs = randn(6, 3)
    closure = cross_entropy_closure(net, inputs, torch.arange(6))
    passes = []
    net[1].register_full_backward_hook(lambda *_: passes.append(1))
    model = model_of(net, closure=closure)
    before = len(passes)
    space, note = choose(model, 50)
    assert space is None and note.startswith("cg: ")
    assert len(passes) - before < 50


def test_cg_is_chosen_where_rows_would_take_a_backward_pass_each(monkeypatch):
    net = nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3)
    ).double()
    assert choose(model_of(net), 50)[0] is not None

    def refuses(*arguments):
        raise RuntimeError("no rule")

    monkeypatch.setattr("rlhf_lib.per_sample.rows.Apart", refuses)
    space, note = choose(model_of(net), 50)
    assert space is None and "used in ['conv1d'] have no rows with copies" in note
    assert note.endswith("RuntimeError: no rule")


def test_cg_is_chosen_where_the_rows_cannot_be_had(net, monkeypatch):
    def mixed():
        z = net(X) + net(X).flip(0)
        return nn.functional.cross_entropy(z, Y), z

    space, note = choose(model_of(net, closure=mixed), 50)
    assert space is None and "samples act on one another" in note
    with pytest.raises(ValueError, match=r"preconditioner='fisher': .* Use preconditioner='hutch"):
        by_cg(model_of(net, closure=mixed), 0.1, preconditioner="fisher")

    def fails(*args, **options):
        raise NotImplementedError("for complex numbers")

    monkeypatch.setattr("rlhf_lib.step.directions.SampleSpace", fails)
    found = Cheapest().propose(model_of(net, damping=0.1), {})
    assert found.reason == "converged"
    assert found.solver == "cg: no rows, NotImplementedError: for complex numbers"


def test_a_product_of_complex_numbers_has_rows_of_its_own():
    net = mlp(8, 3)
    net.register_parameter("w", nn.Parameter(randn(5)))
    inputs = randn(6, 8)

    def closure():
        z = net(torch.fft.irfft(torch.fft.rfft(inputs) * net.w, n=8))
        return nn.functional.cross_entropy(z, Y[:6]), z

    model = model_of(net, closure=closure)
    found = by_samples(model, 0.1, rtol=1e-10)
    assert found.solver == "dual"
    close(found.direction, torch.linalg.solve(dense(model, 0.1), -model.gradient))


def test_cg_is_chosen_where_the_loss_is_not_convex(net):
    def closure():
        z = net(X)
        return z.sin().mean(), z

    space, note = choose(model_of(net, closure=closure), 50)
    assert space is None and "not convex" in note


def test_cg_goes_on_where_samples_act_on_one_another():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double()
    model = model_of(net)
    found = by_samples(model, 0.01, rtol=1e-8, max_iter=200)
    assert found.reason == "converged"
    assert found.solver.startswith("cg, because the sample-space solution had a relative residual")
    expected = torch.linalg.solve(dense(model, 0.01), -model.gradient)
    close(found.direction, expected, rtol=1e-6)


def test_parameters_that_act_through_derivatives_have_rows_with_copies_from_then_on():
    net = mlp(3, 5, 1)

    def closure():
        x = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        return slope.square().mean(), slope

    model = model_of(net, closure=closure, damping=0.01)
    by_samples = SampleSpaceSolve(rtol=1e-9)
    found = by_samples.propose(model, {})
    assert found.solver == "dual" and found.memory["copied"]
    close(found.direction, torch.linalg.solve(dense(model, 0.01), -model.gradient), rtol=1e-6)
    again = by_samples.propose(model, found.memory)
    close(again.direction, found.direction)
    assert again.cost < 0.7 * found.cost and again.memory == found.memory


def test_dual_needs_the_gauss_newton_matrix(net):
    with pytest.raises(ValueError, match="solver='dual' needs curvature='ggn'"):
        by_samples(model_of(net, operator=HessianOperator), 0.1, rtol=1e-3)


# The choice is kept.


def test_a_choice_is_kept_until_the_number_of_samples_changes(net):
    solver = Cheapest()
    first = solver.propose(model_of(net, damping=0.1), {})
    assert first.memory["choice"] == {"samples": 10, "dual": True, "grounds": first.solver}
    assert first.solver.startswith("dual: 20 rows")
    decided = {"choice": {"samples": 10, "dual": False, "grounds": "cg: once and for all"}}
    second = solver.propose(model_of(net, damping=0.1), decided)
    assert second.solver == "cg: once and for all"
    assert second.memory["choice"] == decided["choice"]
    fewer = model_of(net, closure=cross_entropy_closure(net, X[:4], Y[:4]), damping=0.1)
    third = solver.propose(fewer, decided)
    assert third.solver.startswith("dual: 8 rows") and third.memory["choice"]["samples"] == 4


def test_a_choice_by_seconds_lets_both_solve_once(net, monkeypatch):
    model = model_of(net, damping=0.1)
    for slow, word in ((0.0, "cg"), (1e9, "dual")):

        def stopped(run, slow=slow):
            taken, found = timed(run)
            more = slow if found.solver == "cg" else 1e6
            return replace(taken, cpu=taken.cpu + more), found

        monkeypatch.setattr("rlhf_lib.step.directions.timed", stopped)
        found = Cheapest(by="seconds").propose(model, {})
        assert found.solver.startswith(f"{word}: ") and "seconds in sample space" in found.solver
        assert found.memory["choice"]["dual"] == (word == "dual") and found.cost > 0
        both = model.curvature.products
        again = Cheapest(by="seconds").propose(model, found.memory)
        assert again.solver == found.solver and model.curvature.products - both < both
        model = model_of(net, damping=0.1)
        close(again.direction, found.direction, rtol=1e-2)
    with pytest.raises(ValueError, match="by"):
        Cheapest(by="watch")


def test_the_choice_goes_by_the_products_that_were_needed_last(net):
    found = Cheapest().propose(model_of(net, damping=0.1), {"products": 1})
    assert found.solver.startswith("cg: 20 rows take") and "1 products" in found.solver


def test_auto_without_damping_goes_by_conjugate_gradients(net):
    solver = Cheapest(ConjugateGradients(max_iter=200, rtol=1e-6))
    found = solver.propose(model_of(net), {})
    assert found.solver.startswith("cg") and found.direction.isfinite().all()


# Preconditioners of a proposal.


class Doubling:
    """An operator that knows only its product."""

    def __matmul__(self, v):
        return 2 * v


def kinds(n):
    weights = 0.5 + randn(n).abs()
    return {
        "ggn": "ggn",
        "fisher": "fisher",
        "hutchinson": "hutchinson",
        "vector": weights,
        "matrix": torch.diag(weights),
        "operator": Doubling(),
        "a function that makes a vector": lambda A, shift: weights / (shift + 1),
        "a function that makes a function": lambda A, shift: lambda r: weights * r,
    }


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", list(kinds(1)))
def test_every_kind_of_preconditioner_leads_to_the_same_solution(net, kind, masked):
    if masked:
        with torch.no_grad():
            net[0].weight[:2] = 0.0
    model = model_of(net, L1(weight=0.2) if masked else L2(weight=0.2))
    torch.manual_seed(0)
    found = by_cg(
        model, 0.1, rtol=1e-12, max_iter=500, preconditioner=kinds(len(model.theta))[kind]
    )
    plain = by_cg(model, 0.1, rtol=1e-13, max_iter=500)
    assert found.reason == "converged"
    close(found.direction, plain.direction, rtol=1e-8)
    if masked:
        assert not model.free.all() and not found.direction[~model.free].any()


def test_a_function_is_given_the_operator_and_the_shift(net):
    seen = []

    def make(A, shift):
        seen.append((A, shift))
        return torch.ones_like(model.theta)

    model = model_of(net, L2(weight=0.2))
    by_cg(model, 0.1, rtol=1e-3, max_iter=5, preconditioner=make)
    ((A, shift),) = seen
    assert A is model.curvature
    close(shift, model.shift + 0.1)


def test_a_diagonal_cuts_the_products_of_a_proposal():
    net, closure = badly_scaled()
    spent = {}
    for kind in (None, "ggn", "fisher"):
        model = model_of(net, closure=closure)
        found = by_cg(model, 1e-3, rtol=1e-8, max_iter=2000, preconditioner=kind)
        spent[kind] = model.curvature.products
        assert found.cost == (0.0 if kind is None else 1.0)
    assert spent["ggn"] < spent[None] / 2 and spent["fisher"] < spent[None] / 2


# Settings.

DEFAULTS = {field.name: field.default for field in fields(ConjugateGradients)}


@pytest.mark.parametrize(
    ("solver", "kinks", "penalty", "settings", "message"),
    [
        ("lu", None, None, {}, "expected solver to be one of"),
        ("cg", "soft", None, {}, "expected kinks None or"),
        ("cg", None, None, {"preconditioner": "jacobi"}, "expected a preconditioner from"),
        ("cg", None, None, {"max_iter": 0}, "max_iter >= 1"),
        ("cg", None, None, {"warm_start": 1.5}, "0 <= warm_start <= 1"),
        ("cg", "orthant", GroupLasso(), {}, "use kinks='proximal'"),
        ("dual", "proximal", L1(), {}, "cannot take proximal steps"),
        ("cg", None, L1(), {"backtrack": True}, "backtrack works with smooth penalties"),
        (len, None, None, {}, r"an object with propose\(model, memory\), got <built-in"),
        (
            ConjugateGradients(),
            None,
            None,
            {"max_iter": 3},
            "expected max_iter in the solver object",
        ),
        (ConjugateGradients(), None, GroupLasso(), {}, "such as ProximalNewton"),
        (ConjugateGradients(), "proximal", L1(), {}, "such as ProximalNewton"),
        (ProximalNewton(), "orthant", L1(), {}, "keeps to an orthant"),
        (ConjugateGradients(backtrack=True), None, L1(), {}, "backtrack works with smooth"),
        (Cheapest(ConjugateGradients(backtrack=True)), None, L1(), {}, "backtrack works with"),
        (ConjugateGradients(), None, None, {"preconditioner": torch.ones(3)}, "preconditioner in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(solver, kinks, penalty, settings, message):
    with pytest.raises(ValueError, match=message):
        direction_of(solver, kinks, penalty, DEFAULTS | settings)


def test_a_setting_beside_an_object_that_says_the_default_is_no_other_wish():
    solver = ConjugateGradients(max_iter=7)
    assert direction_of(solver, None, None, DEFAULTS | {"rtol": float("1e-3")}) is solver
