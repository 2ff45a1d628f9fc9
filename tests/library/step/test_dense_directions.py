"""Directions of the whole matrix: the same objects in newton and in RLHFOptimizer."""

import pytest
import torch
from cases import classification, close, cross_entropy_closure, mlp, randn, spd

from rlhf_lib import RLHFOptimizer, exact_hessian, newton
from rlhf_lib.curvature import MatrixOperator
from rlhf_lib.regularizers import L1, L2, GroupLasso
from rlhf_lib.step import (
    Cheapest,
    ConjugateGradients,
    Damping,
    LocalModel,
    ModifiedCholesky,
    Path,
    PlainNewton,
    ProximalNewton,
    SaddleFree,
)

N = 5
KINDS = [PlainNewton, ModifiedCholesky, SaddleFree]
NAMES = {"newton": PlainNewton, "cholesky": ModifiedCholesky, "saddle-free": SaddleFree}


def model_of(H, penalty, theta=None, **options):
    theta = randn(N, seed=3) if theta is None else theta
    return LocalModel(theta, randn(N, seed=4), MatrixOperator(H), penalty, **options)


def saddle(t):
    """x^2 - y^2 + y^4 / 2."""
    return t[0] ** 2 - t[1] ** 2 + 0.5 * t[1] ** 4


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_matrix_is_an_operator_that_counts_its_products():
    H, v, block = spd(N), randn(N), randn(N, 3)
    operator = MatrixOperator(H)
    close(operator @ v, H @ v, rtol=1e-15)
    close(operator @ block, H @ block, rtol=1e-15)
    out = torch.empty_like(v)
    assert operator.matvec(v, out) is out and torch.equal(out, H @ v)
    assert operator.products == 1 + 3 + 1
    assert torch.equal(operator.dense(), H) and operator.products == 5
    assert operator.shape == (N, N) and operator.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_definite_model_each_kind_solves_the_damped_system(kind):
    H, penalty = spd(N), L2(weight=0.3)
    model = model_of(H, penalty, damping=0.7)
    found = kind().propose(model, {})
    A = H + 1.0 * torch.eye(N).double()
    close(found.direction, torch.linalg.solve(A, -model.gradient), rtol=1e-10)
    d = found.direction
    assert found.quadratic == pytest.approx(float(d @ (H + 0.3 * torch.eye(N).double()) @ d))
    assert (found.reason, found.extra, found.products) == ("converged", {"jitter": 0.0}, 0)


def test_an_indefinite_model_is_changed_by_what_the_proposal_says():
    H = torch.diag(numbers(-3.0, 1, 2, 4, 5))
    shifts = {
        "newton": torch.zeros(N).double(),
        "saddle-free": numbers(6.0, 0, 0, 0, 0),
        "cholesky": torch.ones(N).double(),
    }
    for name, kind in NAMES.items():
        model = model_of(H, L2(weight=0.0))
        found = kind().propose(model, {})
        jitter = found.extra["jitter"]
        change = shifts[name] * (jitter if name == "cholesky" else 1.0)
        close(found.direction, -model.gradient / (H.diagonal() + change), rtol=1e-12)
        assert jitter == pytest.approx(float(change.max()))
        assert (float(model.gradient @ found.direction) < 0) or name == "newton"
        metric, changed = kind().definite(H)
        close(metric, H + torch.diag(change), rtol=1e-12, atol=1e-13)
        assert changed == pytest.approx(jitter)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_at_the_kink_that_should_stay_do_not_move(kind):
    theta = numbers(0.0, 1, -2, 0, 3)
    model = model_of(spd(N), L1(weight=10.0), theta)
    found = kind().propose(model, {})
    still = theta == 0
    assert not found.direction[still].any() and found.direction[~still].all()
    free = ~still
    block = spd(N)[free][:, free]
    close(found.direction[free], torch.linalg.solve(block, -model.gradient[free]), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proximal_proposal_minimizes_the_model_with_its_penalty(kind):
    H, penalty = spd(N), GroupLasso(groups=torch.tensor([0, 0, 1, 1, 2]), weight=0.5)
    model = model_of(H, penalty, proximal=True, damping=0.2)
    memory = {}
    for _ in range(2):
        found = kind(proximal=True, atol=1e-12).propose(model, memory)
        memory = {"first_norm": 1e30}  # so that the forcing term asks for the solution itself
    A, d = H + 0.2 * torch.eye(N).double(), found.direction
    residual = penalty.subgradient(model.task_gradient + A @ d, found.point)
    assert float(residual.norm()) < 1e-10
    promised = found.decrement + 0.5 * found.quadratic
    exact = model.task_gradient @ d + penalty.value(found.point) - penalty.value(model.theta)
    assert promised == pytest.approx(float(exact + 0.5 * d @ H @ d), rel=1e-10)
    assert found.products > 0 and found.memory == {"first_norm": 1e30}
    path = Path(model, found)
    assert path(1.0) is found.point and path.predicted == pytest.approx(-promised)
    assert path.slope(0.25) == 0.25 * found.decrement


# In newton.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", [None, "proximal"])
def test_a_name_is_short_for_an_object(name, method):
    settings = {"line_search": True, "damping": 0.1, "max_steps": 8, "tol": 1e-6}
    if method:
        settings |= {"regularizer": "l1", "lambda_reg": 0.1}
    by_name = newton(saddle, numbers(0.5, 0.2), direction=name, method=method, **settings)
    given = NAMES[name](proximal=method == "proximal", atol=0.5e-6)
    by_object = newton(saddle, numbers(0.5, 0.2), direction=given, **settings)
    for a, b in zip(by_name, by_object, strict=True):
        assert torch.equal(a.theta, b.theta) and a.reason == b.reason
        assert a.extra["jitter"] == b.extra["jitter"] and a.products == b.products


def test_conjugate_gradients_on_the_matrix_take_newtons_step_and_count_their_products():
    A, b = spd(N), randn(N)
    records = list(
        newton(
            lambda t: 0.5 * t @ A @ t - b @ t,
            torch.zeros(N).double(),
            direction=ConjugateGradients(rtol=1e-12, max_iter=50),
        )
    )
    close(records[1].theta, torch.linalg.solve(A, b), rtol=1e-9)
    assert N <= records[1].products < 20


def test_orthant_steps_are_conjugate_gradients_too():
    A, b = spd(N), randn(N)
    settings = {"regularizer": "l1", "lambda_reg": 0.3, "max_steps": 30}

    def f(t):
        return 0.5 * t @ A @ t - b @ t

    start = torch.zeros(N).double()
    *_, by_products = newton(f, start, direction=ConjugateGradients(rtol=1e-12), **settings)
    *_, by_matrix = newton(f, start, **settings)
    assert by_products.reason == by_matrix.reason == "converged"
    close(by_products.theta, by_matrix.theta, rtol=1e-7)
    assert torch.equal(by_products.theta == 0, by_matrix.theta == 0)


def test_of_a_matrix_the_cheapest_direction_is_by_conjugate_gradients():
    settings = {"damping": 1.0, "max_steps": 1}
    *_, cheapest = newton(saddle, numbers(0.5, 1), direction=Cheapest(), **settings)
    *_, plain = newton(saddle, numbers(0.5, 1), direction=ConjugateGradients(), **settings)
    assert torch.equal(cheapest.theta, plain.theta)


@pytest.mark.parametrize("kind", ["fisher", "ggn"])
def test_a_preconditioner_that_needs_a_model_s_outputs_is_refused_for_a_matrix(kind):
    steps = newton(saddle, numbers(0.5, 1), direction=ConjugateGradients(preconditioner=kind))
    next(steps)
    with pytest.raises(ValueError, match=f"'hutchinson'.*got '{kind}'"):
        next(steps)


@pytest.mark.parametrize("rule", ["nielsen", "martens"])
def test_mu_answers_to_each_step_by_the_rule_that_is_named(rule):
    records = list(
        newton(saddle, numbers(0.5, 0.2), damping=3.0, damping_rule=rule, max_steps=7, tol=0.0)
    )
    mu = Damping(3.0, rule)
    for record in records[1:]:
        assert record.damping == mu.value
        mu.update(record.rho)
    assert len({r.damping for r in records}) > 1
    fixed = newton(saddle, numbers(0.5, 0.2), damping=3.0, max_steps=12)
    assert {r.damping for r in fixed} == {3.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"direction": len}, r"object with propose\(model, memory\), got <built-in"),
        ({"damping_rule": "marquardt"}, "expected 'martens', 'nielsen' or 'fixed'.* 'marquardt'"),
        (
            {"direction": PlainNewton(), "regularizer": "l1", "method": "proximal"},
            "takes proximal steps for this penalty.* got PlainNewton",
        ),
        (
            {"direction": SaddleFree(proximal=True), "regularizer": "l1", "method": "orthant"},
            "keeps to an orthant.* got SaddleFree",
        ),
        (
            {"direction": SaddleFree(), "regularizer": GroupLasso(groups=torch.tensor([0, 0]))},
            "takes proximal steps",
        ),
    ],
)
def test_objects_and_rules_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        next(newton(saddle, numbers(1, 1), **arguments))


# In RLHFOptimizer.


@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
def test_the_optimizer_takes_a_dense_direction(penalty):
    X, Y = classification(12)
    settings = {"regularizer": penalty, "lambda_reg": 0.02 if penalty else 0.0, "damping": 0.5}
    thetas = []
    for solver in (PlainNewton(), ConjugateGradients(rtol=1e-13, max_iter=500)):
        net = mlp(3, 4, 3)
        optimizer = RLHFOptimizer(net.named_parameters(), solver=solver, **settings)
        for _ in range(3):
            optimizer.step(cross_entropy_closure(net, X, Y))
        thetas.append(torch.cat([p.detach().reshape(-1) for p in net.parameters()]))
        if isinstance(solver, PlainNewton):
            assert optimizer.record.extra["jitter"] == 0.0
            assert optimizer.record.products >= thetas[0].numel()
    close(*thetas, rtol=1e-6, atol=1e-9)


def test_the_optimizer_takes_proximal_steps_in_a_dense_metric():
    X, Y = classification(12)
    found = []
    for solver in (SaddleFree(proximal=True, atol=1e-12), ProximalNewton(1e-12, 1000)):
        net = mlp(3, 4, 3)
        optimizer = RLHFOptimizer(
            net.named_parameters(), solver=solver, regularizer="l1", lambda_reg=0.02, damping=0.5
        )
        for _ in range(30):
            optimizer.step(cross_entropy_closure(net, X, Y))
        record, zeros = optimizer.record, [int((p == 0).sum()) for p in net.parameters()]
        assert record.grad_norm < 1e-3 and record.products > 0 and sum(zeros) > 0
        found.append((record.objective, zeros))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4) and found[0][1] == found[1][1]


def test_the_models_matrix_is_the_hessian_of_its_objective():
    theta, penalty = randn(N), L2(weight=torch.arange(N).double())

    def objective(t):
        return (t**4).sum() / 12 + penalty.value(t)

    model = model_of(torch.diag(theta**2), penalty, theta)
    close(model.matrix(), exact_hessian(objective, theta), rtol=1e-12)
