import copy
import gc
import math
import warnings
from itertools import pairwise

import pytest
import torch
from cases import (
    classification,
    close,
    cross_entropy_closure,
    cross_entropy_on,
    flat,
    flat_loss,
    gradient,
    mlp,
    randn,
    watched_closure,
)
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from torch import nn

from rlhf_lib import RLHFOptimizer
from rlhf_lib.interrupt import Interrupted, interruptible
from rlhf_lib.regularizers import L2SP, ElasticNet

X, Y = classification(12, classes=3)


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def tight(params, **options):
    """An optimizer whose linear solves are exact up to rounding."""
    return RLHFOptimizer(params, rtol=1e-14, max_iter=500, **options)


class Dense:
    """The same problem written out with matrices: objective, gradient and curvature at theta."""

    def __init__(self, net, curvature, lam=0.0, center=None, inputs=X, labels=Y):
        self.theta = flat(net.parameters())
        self.weighted = torch.cat(
            [
                torch.full((p.numel(),), lam * (p.ndim == 2), dtype=torch.float64)
                for p in net.parameters()
            ]
        )
        self.center = torch.zeros_like(self.theta) if center is None else center
        self.curvature = curvature
        self.loss = flat_loss(net, lambda call: nn.functional.cross_entropy(call(inputs), labels))
        self.logits = flat_loss(net, lambda call: call(inputs))

    def objective(self, theta):
        return float(self.loss(theta)) + 0.5 * float(self.weighted @ (theta - self.center) ** 2)

    def gradient(self, theta):
        return gradient(self.loss, theta) + self.weighted * (theta - self.center)

    def matrix(self, theta):
        """Curvature of the loss plus that of the penalty, without damping."""
        penalty = torch.diag(self.weighted)
        if self.curvature == "hessian":
            return torch.autograd.functional.hessian(self.loss, theta) + penalty
        J = torch.autograd.functional.jacobian(self.logits, theta)
        p = self.logits(theta).softmax(1)
        inner = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) / len(p)
        return torch.einsum("scp,scd,sdq->pq", J, inner, J) + penalty

    def direction(self, theta, mu):
        eye = torch.eye(len(theta), dtype=theta.dtype)
        return torch.linalg.solve(self.matrix(theta) + mu * eye, -self.gradient(theta))

    def damped_newton(self, mu, rule, steps):
        """Levenberg-Marquardt with Armijo backtracking; yields (theta, mu, rho, t) of each step."""
        theta, nu = self.theta, 2.0
        for _ in range(steps):
            g, d, used = self.gradient(theta), self.direction(theta, mu), mu
            before = self.objective(theta)
            promised = -float(g @ d) - 0.5 * float(d @ self.matrix(theta) @ d)
            rho = (before - self.objective(theta + d)) / promised
            if rule == "martens" and rho < 0.25:
                mu *= 1.5
            elif rule == "martens" and rho > 0.75:
                mu /= 1.5
            elif rule == "nielsen" and rho > 0:
                mu, nu = mu * max(1 / 3, 1 - (2 * rho - 1) ** 3), 2.0
            elif rule == "nielsen":
                mu, nu = mu * nu, nu * 2
            t = 1.0
            while self.objective(theta + t * d) > before + 1e-4 * t * float(g @ d):
                t /= 2
            theta = theta + t * d
            yield theta, used, rho, t


# Against the dense method.


@pytest.mark.parametrize(
    ("rule", "regularizer", "mu"),
    [
        ("nielsen", "l2", 1.0),
        ("nielsen", "l2sp", 1e-4),
        ("martens", "l2", 1e-3),
        ("martens", None, 0.1),
        ("fixed", "l2sp", 0.01),
    ],
)
def test_ten_steps_equal_a_hand_written_damped_gauss_newton(net, rule, regularizer, mu):
    lam = 0.01 if regularizer else 0.0
    center = flat(net.parameters()) if regularizer == "l2sp" else None
    dense = Dense(net, "ggn", lam, center)
    optimizer = tight(
        net.parameters(), lambda_reg=lam, regularizer=regularizer, damping=mu, damping_rule=rule
    )
    for theta, used, rho, t in dense.damped_newton(mu, rule, 10):
        before = dense.objective(flat(net.parameters()))
        optimizer.step(cross_entropy_closure(net, X, Y))
        record = optimizer.record
        close(flat(net.parameters()), theta, rtol=1e-10)
        assert record.damping == pytest.approx(used, rel=1e-8)
        assert record.rho == pytest.approx(rho, rel=1e-5)
        assert record.step_length == t
        assert record.objective == pytest.approx(before, rel=1e-12)


def test_the_cases_above_contain_steps_that_the_line_search_cuts(net):
    steps = list(Dense(net, "ggn", 0.01, flat(net.parameters())).damped_newton(1e-4, "nielsen", 10))
    assert any(t < 1 for *_, t in steps) and any(rho < 0 for _, _, rho, _ in steps)


@pytest.mark.parametrize("rule", ["nielsen", "martens"])
def test_ten_steps_equal_a_hand_written_damped_newton(rule):
    net = mlp(3, 3)  # convex: the Hessian is definite wherever the steps lead
    dense = Dense(net, "hessian", 0.02)
    optimizer = tight(
        net.parameters(),
        lambda_reg=0.02,
        regularizer="l2",
        curvature="hessian",
        damping=0.5,
        damping_rule=rule,
    )
    closure = cross_entropy_closure(net, X, Y)
    for theta, used, *_ in dense.damped_newton(0.5, rule, 10):
        optimizer.step(lambda: closure()[0])
        close(flat(net.parameters()), theta, rtol=1e-10)
        assert optimizer.record.damping == pytest.approx(used, rel=1e-4)


def test_micro_batches_make_the_same_steps_as_the_whole_batch(net):
    other = mlp(3, 4, 3)
    one, two = (tight(n.parameters(), lambda_reg=0.01, regularizer="l2") for n in (net, other))
    parts = list(zip(X.split([5, 4, 3]), Y.split([5, 4, 3]), strict=True))
    for _ in range(4):
        one.step(cross_entropy_closure(net, X, Y))
        two.step(cross_entropy_on(other), batches=parts)
        close(flat(other.parameters()), flat(net.parameters()), rtol=1e-10)
        assert two.record.cost == one.record.cost


@pytest.mark.parametrize("keep_graph", [True, False])
def test_curvature_may_come_from_fewer_samples_than_the_gradient(net, keep_graph):
    whole, part = Dense(net, "ggn"), Dense(net, "ggn", inputs=X[:5], labels=Y[:5])
    theta = whole.theta
    matrix = part.matrix(theta) + 0.3 * torch.eye(len(theta)).double()
    expected = theta + torch.linalg.solve(matrix, -whole.gradient(theta))
    optimizer = tight(net.parameters(), damping=0.3, regularizer=None, keep_graph=keep_graph)
    optimizer.step(
        cross_entropy_on(net),
        batches=[(X[:8], Y[:8]), (X[8:], Y[8:])],
        curvature_batches=[(X[:2], Y[:2]), (X[2:5], Y[2:5])],
    )
    assert optimizer.record.step_length == 1
    close(flat(net.parameters()), expected, rtol=1e-10)
    assert optimizer.record.loss == pytest.approx(whole.objective(theta), rel=1e-12)
    # gradient and one trial on 12 samples; graph and products on 5
    products = optimizer.record.products
    assert optimizer.record.cost == pytest.approx(12 * (1 + 1 / 3) + 5 * (1 + products * 4 / 3))


def test_lr_is_the_length_that_the_line_search_starts_from(net):
    dense = Dense(net, "ggn", 0.5)
    d = dense.direction(dense.theta, 1.0)
    optimizer = tight(net.parameters(), lr=0.3, lambda_reg=0.5, regularizer="l2")
    optimizer.step(cross_entropy_closure(net, X, Y))
    close(flat(net.parameters()), dense.theta + 0.3 * d, rtol=1e-10)
    g, s = dense.gradient(dense.theta), 0.3 * d
    promised = -float(g @ s) - 0.5 * float(s @ dense.matrix(dense.theta) @ s)
    actual = dense.objective(dense.theta) - dense.objective(dense.theta + s)
    assert optimizer.record.rho == pytest.approx(actual / promised, rel=1e-8)


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_convergence_is_superlinear_as_damping_fades(curvature):
    net = mlp(3, 3)
    optimizer = tight(net.parameters(), lambda_reg=0.01, regularizer="l2", curvature=curvature)
    norms = []
    for _ in range(14):
        optimizer.step(cross_entropy_closure(net, X, Y))
        norms.append(optimizer.record.grad_norm)
    assert norms[-1] < 1e-9
    above_rounding = [norm for norm in norms if norm > 1e-8]
    ratios = [after / before for before, after in pairwise(above_rounding)]
    assert ratios[-1] < 0.1 * ratios[0]


# L1: exact zeros, scikit-learn's optimum.


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return torch.tensor((X - X.mean(0)) / X.std(0)), torch.tensor(y, dtype=torch.float64)


def logistic_closure(net, X, y):
    def closure():
        z = net(X)[:, 0]
        return nn.functional.binary_cross_entropy_with_logits(z, y), z

    return closure


def zeros_net(features):
    net = nn.Linear(features, 1).double()
    for p in net.parameters():
        nn.init.zeros_(p)
    return net


@pytest.mark.parametrize(("curvature", "warm_start"), [("ggn", 0), ("hessian", 0), ("ggn", 0.9)])
def test_l1_logistic_regression_reaches_scikit_learns_optimum_and_support(
    cancer, curvature, warm_start
):
    X, y = cancer
    lam = 0.01
    model = LogisticRegression(
        l1_ratio=1, C=1 / (len(y) * lam), solver="saga", tol=1e-9, max_iter=20_000
    ).fit(X.numpy(), y.numpy())
    net = zeros_net(30)  # its bias is left out of the penalty, as scikit-learn's intercept is
    closure = logistic_closure(net, X, y)
    optimizer = RLHFOptimizer(
        net.parameters(),
        lambda_reg=lam,
        regularizer="l1",
        curvature=curvature,
        damping=1e-2,
        rtol=1e-6,
        warm_start=warm_start,
    )
    values = []
    for _ in range(60):
        optimizer.step(closure)
        values.append(optimizer.record.objective)
        if optimizer.record.grad_norm < 1e-9:
            break
    assert optimizer.record.grad_norm < 1e-9
    assert all(after <= before for before, after in pairwise(values))
    assert values[-1] == pytest.approx(0.15930738045800086, rel=1e-12)
    assert (net.weight == 0).tolist() == (model.coef_ == 0).tolist()
    assert int((net.weight != 0).sum()) == 9 and bool(net.bias != 0)
    assert optimizer.record.penalty == pytest.approx(lam * float(net.weight.detach().abs().sum()))


def test_elastic_net_satisfies_its_optimality_conditions(cancer):
    X, y = cancer
    net = zeros_net(30)
    optimizer = RLHFOptimizer(
        net.parameters(),
        lambda_reg=0.05,
        damping=1e-2,
        rtol=1e-8,
        regularizer=ElasticNet(l1_ratio=0.3),
    )
    closure = logistic_closure(net, X, y)
    for _ in range(40):
        optimizer.step(closure)
    w = net.weight.detach()[0]
    grads = torch.autograd.grad(closure()[0], [net.weight, net.bias])
    g = grads[0][0] + 0.05 * 0.7 * w
    zero = w == 0
    assert 0 < int(zero.sum()) < 30 and float(g[zero].abs().max()) <= 0.05 * 0.3
    close(g[~zero], -0.05 * 0.3 * w[~zero].sign(), rtol=1e-7)
    assert abs(float(grads[1])) < 1e-8


def test_l1sp_leaves_the_weights_that_the_data_does_not_need_at_their_start(cancer):
    X, y = cancer
    net = nn.Linear(30, 1).double()
    start = net.weight.detach().clone()
    optimizer = RLHFOptimizer(net.parameters(), lambda_reg=0.02, regularizer="l1sp", damping=1e-2)
    for _ in range(15):
        optimizer.step(logistic_closure(net, X, y))
    stayed = net.weight == start
    assert 5 < int(stayed.sum()) < 30 and not bool((net.weight == 0).any())


def test_a_strong_l1_penalty_leaves_zero_weights_at_zero_and_moves_the_bias(cancer):
    X, y = cancer
    net = zeros_net(30)
    optimizer = RLHFOptimizer(net.parameters(), lambda_reg=1.0, regularizer="l1", damping=0.01)
    for _ in range(8):
        optimizer.step(logistic_closure(net, X, y))
    assert not net.weight.any()
    share = float(y.mean())
    assert net.bias.item() == pytest.approx(math.log(share / (1 - share)), rel=1e-6)


# The article's call and loop.


def test_the_articles_call_constructs(net):
    optimizer = RLHFOptimizer(net.parameters(), lr=1e-3, lambda_reg=1e-4)
    assert isinstance(optimizer, torch.optim.Optimizer)
    before = optimizer.step(cross_entropy_closure(net, X, Y))
    assert cross_entropy_closure(net, X, Y)()[0].item() < before


def test_the_articles_loop_is_told_what_to_write_instead(net):
    optimizer = RLHFOptimizer(net.parameters(), lr=1e-3, lambda_reg=1e-4)
    cross_entropy_closure(net, X, Y)()[0].backward()
    before = flat(net.parameters())
    with pytest.raises(TypeError, match=r"def closure\(\):(.|\n)*optimizer\.step\(closure\)"):
        optimizer.step()
    assert torch.equal(flat(net.parameters()), before)


def test_step_returns_the_loss_before_it_and_records_what_happened(net):
    closure = cross_entropy_closure(net, X, Y)
    expected, theta = float(closure()[0].detach()), flat(net.parameters())
    optimizer = RLHFOptimizer(net.parameters(), lambda_reg=0.1, regularizer="l2", rtol=1e-10)
    assert optimizer.step(closure) == expected
    record = optimizer.record
    assert (record.step, record.loss, record.damping) == (1, expected, 1.0)
    weights = torch.cat([theta[:12], theta[16:28]])
    assert record.penalty == pytest.approx(0.05 * float(weights @ weights))
    assert record.objective == record.loss + record.penalty
    assert record.step_norm == pytest.approx(float((flat(net.parameters()) - theta).norm()))
    assert record.accepted and record.reason == "converged" and record.products > 1
    optimizer.step(closure)
    assert optimizer.record.step == 2 and record.step == 1


def test_gradients_of_the_caller_are_left_alone(net):
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    RLHFOptimizer(net.parameters()).step(cross_entropy_closure(net, X, Y))
    assert all(bool((p.grad == 1).all()) for p in net.parameters())


def test_a_step_under_no_grad_is_the_same_step(net):
    other = mlp(3, 4, 3)
    RLHFOptimizer(net.parameters()).step(cross_entropy_closure(net, X, Y))
    with torch.no_grad():
        RLHFOptimizer(other.parameters()).step(cross_entropy_closure(other, X, Y))
    assert torch.equal(flat(other.parameters()), flat(net.parameters()))


@pytest.mark.parametrize(("dtype", "small"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_rounding_at_the_minimum_does_not_drive_the_damping_up(dtype, small):
    net = mlp(3, 3, dtype=dtype)
    optimizer = tight(net.parameters(), lambda_reg=0.05, regularizer="l2", damping=0.1)
    for _ in range(25):
        optimizer.step(cross_entropy_closure(net, X.to(dtype), Y))
    assert optimizer.record.grad_norm < small
    assert optimizer.record.damping < 0.1


# Nonconvex losses.


def saddle_closure(theta):
    return lambda: theta[0] ** 2 - theta[1] ** 2 + 0.5 * theta[1] ** 4


@pytest.mark.parametrize("start", [[0.5, 0.01], [0.0, 0.3]])
def test_the_hessian_of_a_saddle_is_left_downhill(start):
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = RLHFOptimizer([theta], curvature="hessian", regularizer=None, damping=0.1)
    values, reasons = [], []
    for _ in range(40):
        values.append(optimizer.step(saddle_closure(theta)))
        reasons.append(optimizer.record.reason)
    assert "negative_curvature" in reasons
    assert all(after <= before for before, after in pairwise(values))
    close(theta.detach().abs(), torch.tensor([0.0, 1.0]).double(), rtol=1e-6)


def test_hessian_steps_train_a_network(net):
    optimizer = RLHFOptimizer(
        net.parameters(), curvature="hessian", regularizer="l2", lambda_reg=1e-3, damping=0.1
    )
    values = []
    for _ in range(40):
        optimizer.step(cross_entropy_closure(net, X, Y))
        values.append(optimizer.record.objective)
    assert all(after <= before for before, after in pairwise(values))
    assert optimizer.record.grad_norm < 1e-4


# Rejected steps and errors.


def only_here(net):
    """A closure that is finite at the present point alone."""
    theta = flat(net.parameters())

    def closure():
        logits = net(X)
        loss = nn.functional.cross_entropy(logits, Y)
        return (loss if torch.equal(flat(net.parameters()), theta) else loss * math.nan), logits

    return closure


@pytest.mark.parametrize("line_search", [True, False])
def test_a_rejected_step_restores_the_parameters_bit_for_bit(net, line_search):
    theta = flat(net.parameters())
    optimizer = RLHFOptimizer(net.parameters(), damping=0.5, line_search=line_search)
    for mu in (0.5, 1.0, 4.0):
        optimizer.step(only_here(net))
        record = optimizer.record
        assert torch.equal(flat(net.parameters()), theta)
        assert not record.accepted and record.step_norm == 0 and record.step_length == 0
        assert (record.damping, record.rho) == (mu, -math.inf)


def test_without_line_search_the_full_step_is_taken_or_none(net):
    dense = Dense(net, "ggn")
    optimizer = tight(
        net.parameters(), regularizer=None, damping=1e-6, damping_rule="fixed", line_search=False
    )
    full = dense.theta + dense.direction(dense.theta, 1e-6)
    optimizer.step(cross_entropy_closure(net, X, Y))
    better = dense.objective(full) <= dense.objective(dense.theta)
    assert optimizer.record.step_length == (1.0 if better else 0.0)
    close(flat(net.parameters()), full if better else dense.theta, rtol=1e-6)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("at_call", [1, 2, 3, 4])
def test_an_exception_in_the_closure_loses_nothing(net, error, at_call):
    theta, calls, inner = flat(net.parameters()), [], cross_entropy_closure(net, X, Y)

    def closure():
        calls.append(1)
        if len(calls) == at_call:
            raise error("in the closure")
        loss, logits = inner()
        return (loss if len(calls) < 3 else loss + 100), logits  # the line search goes on

    optimizer = RLHFOptimizer(net.parameters(), warm_start=0.9)
    state = dict(optimizer.state["rlhf"])
    with pytest.raises(error):
        optimizer.step(closure)
    assert torch.equal(flat(net.parameters()), theta)
    assert optimizer.state["rlhf"] == state and optimizer.record is None
    optimizer.step(inner)
    assert optimizer.record.step == 1 and optimizer.record.accepted


def test_a_step_can_be_interrupted_between_two_products(net):
    theta, looks = flat(net.parameters()), []
    optimizer = RLHFOptimizer(net.parameters(), damping=1e-6, rtol=1e-12)
    with pytest.raises(Interrupted), interruptible(lambda: looks.append(1) or len(looks) > 3):
        optimizer.step(cross_entropy_closure(net, X, Y))
    assert torch.equal(flat(net.parameters()), theta) and optimizer.state["rlhf"]["step"] == 0


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z: z.sum() * math.nan, "the loss is not finite"),
        (lambda z: (z * 0).sum().sqrt(), "the gradient is not finite"),
        (lambda z: ((z - z.detach()).abs() ** 1.5).sum(), "a curvature product is not finite"),
    ],
)
def test_what_is_not_finite_is_named_and_nothing_has_changed(net, loss, message):
    theta = flat(net.parameters())

    def closure():
        z = net(X)
        return loss(z), z

    optimizer = RLHFOptimizer(
        net.parameters(), curvature="hessian", regularizer="l2", lambda_reg=0.1
    )
    with pytest.raises(FloatingPointError, match=message):
        optimizer.step(closure)
    assert torch.equal(flat(net.parameters()), theta) and optimizer.record is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1.0}, "lr: expected a finite number >= 0"),
        ({"lr": math.inf}, "lr: expected a finite number"),
        ({"lambda_reg": -1.0}, "lambda_reg >= 0"),
        ({"lambda_reg": 0.1, "regularizer": None}, "no effect without a penalty"),
        ({"regularizer": "ridge"}, "one of"),
        ({"damping": -1.0}, "damping: expected a finite number >= 0"),
        ({"damping_rule": "none"}, "'martens', 'nielsen' or 'fixed'"),
        ({"curvature": "fisher"}, "'ggn' or 'hessian', got 'fisher'"),
        ({"solver": "lu"}, "got 'lu'"),
        ({"max_iter": 0}, "max_iter >= 1"),
        ({"warm_start": 2.0}, "0 <= warm_start <= 1"),
    ],
)
def test_bad_arguments_are_refused(net, arguments, message):
    with pytest.raises(ValueError, match=message):
        RLHFOptimizer(net.parameters(), **arguments)


def test_curvature_batches_alone_are_refused(net):
    with pytest.raises(ValueError, match="curvature_batches need batches"):
        RLHFOptimizer(net.parameters()).step(cross_entropy_on(net), curvature_batches=[(X, Y)])


def test_parameters_frozen_after_construction_are_named(net):
    optimizer = RLHFOptimizer(net.parameters())
    net[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"parameter 0 .*frozen"):
        optimizer.step(cross_entropy_closure(net, X, Y))


# The linear solve.


def test_max_iter_bounds_the_products_of_a_step(net):
    optimizer = RLHFOptimizer(net.parameters(), damping=1e-3, rtol=1e-12, max_iter=4)
    optimizer.step(cross_entropy_closure(net, X, Y))
    assert (optimizer.record.products, optimizer.record.reason) == (4, "max_iter")
    assert optimizer.record.accepted


def test_martens_stop_is_passed_on(net):
    optimizer = RLHFOptimizer(
        net.parameters(), damping=1e-6, rtol=1e-14, max_iter=500, progress_tol=0.01
    )
    optimizer.step(cross_entropy_closure(net, X, Y))
    assert optimizer.record.reason == "relative_progress"


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_a_record_has_the_relative_residual_of_every_iterate(curvature):
    shares = []
    for k in range(1, 6):
        net = mlp(3, 4, 3)
        dense, mu = Dense(net, curvature, 0.02), 2.0
        optimizer = RLHFOptimizer(
            net.parameters(),
            regularizer="l2",
            lambda_reg=0.02,
            damping=mu,
            curvature=curvature,
            rtol=1e-12,
            max_iter=k,
        )
        optimizer.step(cross_entropy_closure(net, X, Y))
        record = optimizer.record
        d = (flat(net.parameters()) - dense.theta) / record.step_length
        g = dense.gradient(dense.theta)
        left = g + dense.matrix(dense.theta) @ d + mu * d
        shares.append(float(left.norm() / g.norm()))
        assert record.extra["residuals"] == pytest.approx([1, *shares], rel=1e-8)


def test_the_dual_solve_reports_its_one_residual_and_proximal_steps_none(net):
    optimizer = RLHFOptimizer(net.parameters(), regularizer=None, solver="dual", damping=0.1)
    optimizer.step(cross_entropy_closure(net, X, Y))
    first, last = optimizer.record.extra["residuals"]
    assert first == 1 and last < 1e-3
    optimizer = RLHFOptimizer(net.parameters(), lambda_reg=0.01, kinks="proximal")
    optimizer.step(cross_entropy_closure(net, X, Y))
    assert optimizer.record.extra["residuals"] == ()


def test_a_warm_start_saves_products_and_changes_the_solution_within_the_tolerance():
    def products(warm_start):
        net = mlp(3, 4, 3)
        optimizer = RLHFOptimizer(
            net.parameters(),
            lr=1e-6,
            damping=0.01,
            damping_rule="fixed",
            regularizer=None,
            rtol=1e-3,
            warm_start=warm_start,
        )
        for _ in range(2):
            optimizer.step(cross_entropy_closure(net, X, Y))
        return optimizer.record.products

    assert products(1.0) < products(0.0)


def test_cost_is_the_cumulative_sum_of_what_the_steps_did(net):
    calls, inner = [], cross_entropy_closure(net, X, Y)
    optimizer = RLHFOptimizer(net.parameters(), damping=1e-4, regularizer=None)
    expected = 0.0
    for _ in range(6):
        calls.clear()
        optimizer.step(lambda: calls.append(1) or inner())
        looks = 2 if optimizer.record.step == 1 else 1  # the gradient, and a look at the closure
        trials = len(calls) - looks
        expected += 12 * (1 + trials / 3 + optimizer.record.products * 4 / 3)
        assert optimizer.record.cost == pytest.approx(expected)
        assert optimizer.record.seconds > 0


# Dropout.


@pytest.fixture
def dropout_net():
    torch.manual_seed(0)
    net = mlp(3, 16, 3)
    net.insert(2, nn.Dropout(0.5))
    return net


def test_all_evaluations_of_a_step_see_one_mask_and_the_next_step_another(dropout_net):
    losses, inner = [], cross_entropy_closure(dropout_net, X, Y)

    def closure():
        loss, logits = inner()
        losses.append(loss.item())
        return loss, logits

    # A step too short to change any parameter: the trial has the objective of the start.
    optimizer = RLHFOptimizer(dropout_net.parameters(), lr=1e-300, regularizer=None)
    optimizer.step(closure)
    first = list(losses)
    losses.clear()
    optimizer.step(closure)
    assert len(first) > 1 and set(first) == {first[0]}
    assert set(losses) == {losses[0]} and losses[0] != first[0]


@pytest.mark.parametrize("few", [slice(None), "the batches"])
def test_curvature_batches_see_the_masks_of_the_gradient(dropout_net, few):
    other, batches = copy.deepcopy(dropout_net), [(X[:8], Y[:8]), (X[8:], Y[8:])]
    for net, curvature in ((dropout_net, None), (other, batches if few == "the batches" else few)):
        torch.manual_seed(5)
        optimizer = RLHFOptimizer(net.parameters(), lambda_reg=0.1, regularizer="l2", damping=0.1)
        for _ in range(2):
            optimizer.step(cross_entropy_on(net), batches=batches, curvature_batches=curvature)
    close(flat(dropout_net.parameters()), flat(other.parameters()))


def test_a_dropout_network_descends_on_each_steps_own_function(dropout_net):
    # Short steps, so that the model holds: with other masks rho would be anything.
    optimizer = RLHFOptimizer(
        dropout_net.parameters(),
        regularizer="l2",
        lambda_reg=1e-3,
        damping=30.0,
        damping_rule="fixed",
    )
    for _ in range(10):
        optimizer.step(cross_entropy_closure(dropout_net, X, Y))
        assert optimizer.record.rho == pytest.approx(1.0, abs=0.1)


# The contract of torch.optim.


def make_run(net, dropout_seed=None, **options):
    optimizer = RLHFOptimizer(
        net.named_parameters(), lambda_reg=0.02, damping=1e-3, max_iter=5, **options
    )
    return optimizer, cross_entropy_closure(net, X, Y)


def test_without_its_state_a_resumed_run_would_go_elsewhere(net):
    optimizer, closure = make_run(net, regularizer="l2sp")
    for _ in range(3):
        optimizer.step(closure)
    theta = flat(net.parameters())
    optimizer.step(closure)
    continued = flat(net.parameters())
    with torch.no_grad():
        nn.utils.vector_to_parameters(theta, net.parameters())
    make_run(net, regularizer="l2sp")[0].step(closure)
    assert not torch.equal(flat(net.parameters()), continued)


def test_a_loaded_state_is_not_shared(net):
    optimizer, closure = make_run(net)
    other, _ = make_run(mlp(3, 4, 3))
    other.load_state_dict(optimizer.state_dict())
    optimizer.step(closure)
    assert other.state["rlhf"]["step"] == 0


def test_an_lr_scheduler_shortens_the_steps(net):
    optimizer = tight(net.parameters(), regularizer=None, damping_rule="fixed")
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for lr in (1.0, 0.5, 0.25):
            dense = Dense(net, "ggn")
            optimizer.step(cross_entropy_closure(net, X, Y))
            scheduler.step()
            expected = dense.theta + lr * dense.direction(dense.theta, 1.0)
            close(flat(net.parameters()), expected, rtol=1e-10)


def test_groups_have_their_own_lambda_and_lr(net):
    dense = Dense(net, "ggn")
    dense.weighted = torch.tensor(
        [0.5] * 12 + [0.0] * 4 + [0.1] * 12 + [0.0] * 3, dtype=torch.float64
    )
    groups = [
        {"params": net[0].parameters(), "lambda_reg": 0.5},
        {"params": net[2].parameters(), "lr": 0.5},
    ]
    optimizer = tight(groups, lambda_reg=0.1, regularizer="l2")
    optimizer.step(cross_entropy_closure(net, X, Y))
    d = dense.direction(dense.theta, 1.0)
    expected = dense.theta + torch.cat([d[:16], 0.5 * d[16:]])
    close(flat(net.parameters()), expected, rtol=1e-10)
    assert optimizer.record.penalty == pytest.approx(0.5 * float(dense.weighted @ dense.theta**2))


def test_lambda_may_change_between_steps(net):
    optimizer = tight(net.parameters(), lambda_reg=0.0, regularizer="l2")
    optimizer.param_groups[0]["lambda_reg"] = 0.3
    dense = Dense(net, "ggn", 0.3)
    optimizer.step(cross_entropy_closure(net, X, Y))
    close(flat(net.parameters()), dense.theta + dense.direction(dense.theta, 1.0), rtol=1e-10)


@pytest.mark.parametrize("steps_before", [0, 2])
def test_an_added_group_is_pulled_to_where_it_was_when_added(net, steps_before):
    optimizer = tight(net[0].parameters(), lambda_reg=0.2, regularizer="l2sp", warm_start=0.5)
    start = flat(net[0].parameters())
    for _ in range(steps_before):
        optimizer.step(cross_entropy_closure(net, X, Y))
    with torch.no_grad():
        net[2].weight.add_(1.0)
    optimizer.add_param_group({"params": net[2].parameters()})
    center = torch.cat([start, flat(net[2].parameters())])
    dense = Dense(net, "ggn", 0.2, center)
    mu = optimizer.state["rlhf"]["damping"]
    optimizer.step(cross_entropy_closure(net, X, Y))
    t = optimizer.record.step_length
    expected = dense.theta + t * dense.direction(dense.theta, mu)
    close(flat(net.parameters()), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"lambda_reg": -1.0}, "lambda_reg"),
        ({"lr": "a"}, "lr: expected a number"),
        ({"params": [torch.zeros(2)]}, "frozen"),
    ],
)
def test_a_group_that_is_refused_is_not_added(net, group, message):
    optimizer = RLHFOptimizer(net[0].parameters())
    with pytest.raises((TypeError, ValueError), match=message):
        optimizer.add_param_group({"params": list(net[2].parameters()), **group})
    assert len(optimizer.param_groups) == 1
    optimizer.step(cross_entropy_closure(net, X, Y))


def test_names_tell_the_bias_of_a_vector_of_weights():
    net = nn.Module()
    net.weight, net.bias = (nn.Parameter(torch.ones(k).double()) for k in (3, 1))
    optimizer = RLHFOptimizer(net.named_parameters(), lambda_reg=1.0, regularizer="l1")

    def closure():
        z = X @ net.weight + net.bias
        return z.pow(2).mean(), z

    optimizer.step(closure)
    assert optimizer.record.penalty == 3.0
    assert optimizer.state_dict()["param_groups"][0]["param_names"][0] == "weight"


def test_one_regularizer_object_serves_two_optimizers():
    penalty = L2SP()
    for seed in (0, 1):
        net = mlp(3, 4, 3, seed=seed)
        optimizer = RLHFOptimizer(net.parameters(), lambda_reg=0.5, regularizer=penalty)
        optimizer.step(cross_entropy_closure(net, X, Y))
        assert optimizer.record.penalty == 0  # at its own start


def test_an_explicit_center_is_kept(net):
    center = randn(31, seed=8)
    optimizer = tight(net.parameters(), lambda_reg=0.2, regularizer=L2SP(center=center))
    dense = Dense(net, "ggn", 0.2, center)
    optimizer.step(cross_entropy_closure(net, X, Y))
    close(flat(net.parameters()), dense.theta + dense.direction(dense.theta, 1.0), rtol=1e-10)


def test_hooks_of_torch_optim_run(net):
    optimizer, seen = RLHFOptimizer(net.parameters()), []
    optimizer.register_step_pre_hook(lambda *args: seen.append("before"))
    optimizer.register_step_post_hook(lambda *args: seen.append("after"))
    optimizer.step(cross_entropy_closure(net, X, Y))
    assert seen == ["before", "after"]


def test_a_step_leaves_no_graph_behind(net):
    closure, hidden = watched_closure(net, X, Y)
    optimizer = RLHFOptimizer(net.parameters())
    gc.collect()
    gc.disable()  # so that a reference cycle would show
    try:
        for _ in range(3):
            optimizer.step(closure)
        assert [ref() for ref in hidden] == [None] * len(hidden)
    finally:
        gc.enable()


def test_a_warm_up_from_a_learning_rate_of_zero_stands_still_and_keeps_the_damping(net):
    optimizer = RLHFOptimizer(net.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 2)
    before, closure = flat(net.parameters()), cross_entropy_closure(net, X, Y)
    optimizer.step(closure)
    assert torch.equal(flat(net.parameters()), before)
    assert not optimizer.record.accepted
    schedule.step()
    optimizer.step(closure)
    assert optimizer.record.damping == 1.0  # the step that stood still has not changed it
    assert optimizer.record.accepted and not torch.equal(flat(net.parameters()), before)
