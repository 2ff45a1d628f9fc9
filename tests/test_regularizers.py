import math

import pytest
import torch
from cases import close, few_cases, gradient, mlp, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import nn

from rlhf_lib import exact_hessian
from rlhf_lib.regularizers import (
    L1,
    L1SP,
    L2,
    L2SP,
    ElasticNet,
    check_lambda,
    make_regularizer,
    penalized,
)

N = 7
CENTER = randn(N, seed=9)
FORMULAS = {
    "l1": (L1, lambda d: abs(d)),
    "l2": (L2, lambda d: d * d / 2),
    "elastic-net": (ElasticNet, lambda d: 0.5 * abs(d) + 0.25 * d * d),
    "l1sp": (L1SP, lambda d: abs(d)),
    "l2sp": (L2SP, lambda d: d * d / 2),
}
every_kind = pytest.mark.parametrize("kind", FORMULAS)
kinked_kinds = pytest.mark.parametrize("kind", ["l1", "elastic-net", "l1sp"])


def made(kind, weight=0.7):
    """(regularizer, its centre, its formula for one entry): SP kinds have a centre away from 0."""
    cls, formula = FORMULAS[kind]
    center = CENTER if cls.from_start else torch.zeros(N, dtype=torch.float64)
    given_center = {"center": CENTER} if cls.from_start else {}
    return cls(weight=weight, **given_center), center, formula


@every_kind
def test_value_is_the_weighted_sum_of_the_formula(kind):
    penalty, center, formula = made(kind)
    theta = randn(N)
    expected = 0.7 * sum(formula(float(d)) for d in theta - center)
    assert math.isclose(float(penalty.value(theta)), expected, rel_tol=1e-14)
    assert float(penalty.value(center)) == 0


@every_kind
def test_gradient_and_curvature_are_the_derivatives_of_the_value(kind):
    penalty, _, _ = made(kind)
    theta, v = randn(N), randn(N, seed=1)
    close(penalty.gradient(theta), gradient(penalty.value, theta), rtol=1e-14)
    hessian = exact_hessian(penalty.value, theta)
    close(torch.diag(penalty.curvature(theta)), hessian, rtol=1e-14)
    close(penalty.curvature_product(v, theta), hessian @ v, rtol=1e-14)
    assert penalty.smooth == (kind in ("l2", "l2sp"))


@every_kind
@few_cases
@given(seed=seeds, step=st.floats(0.01, 5))
def test_prox_minimizes_its_definition(kind, seed, step):
    penalty, center, formula = made(kind)
    x = 2 * randn(N, seed=seed)
    z = penalty.prox(x, step)
    for i in range(N):
        def objective(y, i=i):
            return (y - float(x[i])) ** 2 / 2 + step * 0.7 * formula(y - float(center[i]))
        found = minimize_scalar(objective, bracket=(-3.0, 3.0), tol=1e-12)
        assert objective(float(z[i])) <= found.fun + 1e-12
        assert abs(float(z[i]) - found.x) < 1e-5


@kinked_kinds
def test_prox_puts_small_entries_at_the_kink_exactly(kind):
    penalty, center, _ = made(kind)
    z = penalty.prox(center + 0.3 * randn(N).sign(), 1.0)
    assert torch.equal(z, center)


def test_prox_takes_a_step_for_each_coordinate():
    x, steps = randn(N), torch.linspace(0, 2, N, dtype=torch.float64)
    each = torch.stack([L1().prox(x, float(s))[i] for i, s in enumerate(steps)])
    assert torch.equal(L1().prox(x, steps), each)


@kinked_kinds
@few_cases
@given(seed=seeds)
def test_subgradient_is_the_shortest_of_all_subgradients(kind, seed):
    penalty, center, _ = made(kind)
    theta = center + randn(N, seed=seed) * (randn(N, seed=seed + 1) > 0)  # half sit at the kink
    task = randn(N, seed=seed + 2)
    found = penalty.subgradient(task, theta)
    smooth_part = penalty.gradient(theta)
    half_jump = 0.7 * (0.5 if kind == "elastic-net" else 1.0)
    grid = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    for i in range(N):
        slack = half_jump if theta[i] == center[i] else 0.0
        shortest = (task[i] + smooth_part[i] + slack * grid).abs().min()
        assert abs(abs(float(found[i])) - float(shortest)) <= slack * 1e-3 + 1e-14
        assert abs(float(found[i] - task[i] - smooth_part[i])) <= slack + 1e-14


def test_subgradient_vanishes_exactly_where_the_kkt_conditions_hold():
    # min |theta - b|^2 / 2 + R(theta) has the solution prox(b): soft thresholding for L1.
    b = 2 * randn(N)
    for kind in FORMULAS:
        penalty, _, _ = made(kind)
        solution = penalty.prox(b)
        assert float(penalty.subgradient(solution - b, solution).abs().max()) < 1e-14
        shifted = solution + 1e-3
        assert float(penalty.subgradient(shifted - b, shifted).abs().min()) > 5e-4


def test_subgradient_of_a_smooth_penalty_is_the_gradient():
    theta, task = randn(N), randn(N, seed=1)
    assert torch.equal(L2().subgradient(task, theta), task + theta)


@kinked_kinds
def test_orthant_takes_the_sign_of_each_entry_and_the_descent_at_the_kink(kind):
    penalty, center, _ = made(kind)
    offset = torch.tensor([1.0, -2.0, 0.0, 0.0, 0.0, 3.0, -4.0], dtype=torch.float64)
    descent = torch.tensor([-1.0, -1.0, 2.0, -3.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    signs, stay = penalty.orthant(center + offset, descent)
    assert signs.tolist() == [1, -1, 1, -1, 0, 1, -1]
    assert stay.tolist() == [False, False, False, False, True, False, False]


def test_orthant_restricts_nothing_where_the_weight_is_zero_or_there_is_no_kink():
    theta, zero = torch.zeros(N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for penalty in (L1(weight=0.0), ElasticNet(l1_ratio=0.0), L2()):
        signs, stay = penalty.orthant(theta, zero)
        assert not signs.any() and not stay.any()


@kinked_kinds
def test_projection_puts_entries_that_changed_sides_at_the_kink_exactly(kind):
    penalty, center, _ = made(kind)
    signs = torch.tensor([1.0, 1, -1, -1, 0, 0, 1], dtype=torch.float64)
    offset = torch.tensor([0.5, -0.5, -0.5, 0.5, -0.5, 0.5, 0.5], dtype=torch.float64)
    projected = penalty.project(center + offset, signs)
    crossed = torch.tensor([False, True, False, True, False, False, False])
    assert torch.equal(projected[crossed], center[crossed])
    assert torch.equal(projected[~crossed], (center + offset)[~crossed])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(2, 3)
        self.LayerNorm = nn.LayerNorm(3)
        self.table = nn.Embedding(4, 2)
        self.ln_f = nn.Module()
        self.ln_f.weight = nn.Parameter(torch.ones(2, 2))


def test_biases_and_normalizations_are_left_out_by_default():
    named = list(Block().named_parameters())
    flags = dict(zip([name for name, _ in named], penalized(named), strict=True))
    assert {name for name, flag in flags.items() if flag} == {"dense.weight", "table.weight"}


def test_without_names_only_the_dimensions_decide():
    assert penalized(Block().parameters()) == [True, False, False, False, True, True]


def test_a_toy_with_one_weight_vector_is_penalized():
    assert penalized([torch.zeros(3), torch.zeros(())]) == [True, True]


def test_include_all_penalizes_biases_too():
    net = mlp(2, 3, 1)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    assert float(L1(net.named_parameters()).value()) == 6 + 3
    assert float(L1(net.named_parameters(), include_all=True).value()) == 6 + 3 + 3 + 1


def test_left_out_entries_have_no_value_gradient_curvature_or_prox():
    net = mlp(2, 3, 1)
    out = torch.cat([torch.full((p.numel(),), p.ndim < 2) for p in net.parameters()])
    for cls in (L1, L2, ElasticNet):
        penalty = cls(net.named_parameters(), weight=5.0)
        theta = randn(int(out.numel()))
        changed = torch.where(out, 10 * theta, theta)
        assert float(penalty.value(theta)) == float(penalty.value(changed))
        assert not penalty.gradient(theta)[out].any() and penalty.gradient(theta)[~out].all()
        assert not penalty.curvature(theta)[out].any()
        assert torch.equal(penalty.prox(theta)[out], theta[out])


def test_a_bound_regularizer_follows_its_parameters():
    net = mlp(2, 3, 1)
    penalty = L2(net.named_parameters(), weight=2.0)
    weights = [p.detach() for p in net.parameters() if p.ndim == 2]
    weights[0].mul_(3.0)
    expected = sum(float(p.pow(2).sum()) for p in weights)
    assert math.isclose(float(penalty.value()), expected, rel_tol=1e-14)


def test_each_parameter_may_have_its_own_lambda():
    params = [torch.ones(2, 2), torch.ones(3, 2)]
    penalty = L1().bind(params, [0.5, 2.0])
    assert float(penalty.value()) == 0.5 * 4 + 2.0 * 6


def test_binding_again_keeps_the_common_lambda():
    penalty = L1([torch.ones(2, 2)], weight=0.5)
    assert float(penalty.bind([torch.ones(3, 2)]).value()) == 3.0


@pytest.mark.parametrize("cls", [L1SP, L2SP])
def test_sp_kinds_pull_to_where_the_parameters_were_when_bound(cls):
    p = randn(3, 2).requires_grad_(True)
    start = p.detach().clone()
    penalty = cls([p])
    assert float(penalty.value()) == 0
    with torch.no_grad():
        p.add_(2.0)
    assert float(penalty.value()) == pytest.approx(12.0)
    assert torch.equal(penalty.center, start.reshape(-1))
    assert torch.equal(penalty.gradient().sign(), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: L1().value(), "not bound to parameters: pass theta"),
    (lambda: L2SP().value(randn(3)), "pass center=theta0"),
    (lambda: L1(weight=-1.0).bind([torch.ones(2)]), "finite lambda_reg >= 0, got -1.0"),
    (lambda: ElasticNet(l1_ratio=1.5), "0 <= l1_ratio <= 1, got 1.5"),
    (lambda: make_regularizer("lasso"), "one of .*'l1'.* got 'lasso'"),
    (lambda: make_regularizer(3), "got 3"),
    (lambda: check_lambda(math.inf), "finite lambda_reg"),
    (lambda: check_lambda(math.nan), "finite lambda_reg"),
])  # fmt: skip
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("name", "cls"), [
    ("l1", L1), ("L2", L2), ("elastic-net", ElasticNet), ("L2-SP", L2SP), ("l1sp", L1SP),
])  # fmt: skip
def test_kinds_have_names(name, cls):
    assert type(make_regularizer(name)) is cls
    assert make_regularizer(None) is None


def test_a_given_object_is_copied_so_that_runs_do_not_share_its_center():
    given_one = L2SP()
    make_regularizer(given_one).bind([torch.ones(2, 2)])
    assert given_one.center is None
    assert make_regularizer(ElasticNet(l1_ratio=0.2)).l1_ratio == 0.2
