import math
import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError

import pytest
import torch
from cases import close, few_cases, gradient, mlp, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import nn

from rlhf_lib import RLHFOptimizer, exact_hessian, newton
from rlhf_lib.baselines import PenalizedAdamW
from rlhf_lib.regularizers import (
    KINDS,
    L1,
    L1SP,
    L2,
    L2SP,
    ElasticNet,
    GroupLasso,
    PseudoHuber,
    check_lambda,
    make_regularizer,
    penalized,
)
from rlhf_lib.regularizers.base import Zero

N = 7
CENTER = randn(N, seed=9)
FORMULAS = {
    "l1": (L1, lambda d: abs(d)),
    "l2": (L2, lambda d: d * d / 2),
    "elastic-net": (ElasticNet, lambda d: 0.5 * abs(d) + 0.25 * d * d),
    "l1sp": (L1SP, lambda d: abs(d)),
    "l2sp": (L2SP, lambda d: d * d / 2),
    "pseudo-huber": (PseudoHuber, lambda d: math.sqrt(d * d + 1e-4) - 0.01),
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
    close(penalty.gradient(theta), gradient(penalty.value, theta), rtol=1e-13)
    hessian = exact_hessian(penalty.value, theta)
    close(torch.diag(penalty.curvature(theta)), hessian, rtol=1e-14)
    close(penalty.curvature_product(v, theta), hessian @ v, rtol=1e-14)
    block = torch.stack([v, theta], dim=1)
    close(penalty.curvature_product(block, theta), hessian @ block, rtol=1e-14)
    assert penalty.smooth == (kind in ("l2", "l2sp", "pseudo-huber")) and penalty.separable


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
    assert torch.equal(z, center) and bool(penalty.at_kink(z).all())


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
        if not penalty.smooth:
            at_kink = solution == (penalty.center if penalty.from_start else 0)
            assert torch.equal(penalty.at_kink(solution), at_kink)


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


class OneOutput(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.ones(1))


BLOCK = nn.ModuleDict(
    {
        "normal_head": nn.Linear(2, 3),
        "norm": nn.Linear(4, 4),  # a layer's name says nothing
        "LayerNorm": nn.LayerNorm(3),
        "n2": nn.LayerNorm((2, 3)),
        "scale": nn.RMSNorm(3),
        "table": nn.Embedding(4, 2),
        "lstm": nn.LSTM(2, 2),
        "attention": nn.MultiheadAttention(2, 1, add_bias_kv=True),
        "one": OneOutput(3),
    }
)


def test_biases_and_normalizations_are_left_out_by_default():
    named = list(BLOCK.named_parameters())
    flags = dict(zip([name for name, _ in named], penalized(named), strict=True))
    assert {name for name, flag in flags.items() if flag} == {
        *("normal_head.weight", "norm.weight", "table.weight", "one.weight"),
        *("lstm.weight_ih_l0", "lstm.weight_hh_l0"),
        *("attention.in_proj_weight", "attention.out_proj.weight"),
    }


def test_without_names_only_the_dimensions_decide():
    bare = penalized(BLOCK.parameters())
    assert bare == [p.ndim >= 2 for p in BLOCK.parameters()]


def test_where_there_is_no_matrix_the_names_decide_or_are_asked_for():
    assert penalized([torch.zeros(3)]) == penalized([("theta", torch.zeros(3))]) == [True]
    for size in (1, 3):
        assert penalized(OneOutput(size).named_parameters()) == [True, False]
    assert penalized(nn.Sequential(nn.LayerNorm(3), nn.LayerNorm(2)).named_parameters()) == (
        [True, False] * 2
    )
    assert penalized([("a.bias", torch.zeros(3)), ("b.bias", torch.zeros(2))]) == [True, True]
    for unknown in (OneOutput(3).parameters(), [("w", torch.zeros(3)), ("b", torch.zeros(()))]):
        with pytest.raises(ValueError, match=r"got 2 .* model.named_parameters.*lambda_reg=0"):
            penalized(unknown)


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
    penalty = L1().on(params, [0.5, 2.0])
    assert float(penalty.value()) == 0.5 * 4 + 2.0 * 6


def test_binding_again_keeps_the_common_lambda():
    penalty = L1([torch.ones(2, 2)], weight=0.5)
    assert float(penalty.on([torch.ones(3, 2)]).value()) == 3.0


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: L1().value(), "not bound to parameters: pass theta"),
        (lambda: L2SP().value(randn(3)), "pass center=theta0"),
        (lambda: L1(weight=-1.0).on([torch.ones(2)]), "weight: expected a finite number >= 0"),
        (lambda: L1().on([torch.ones(2)], [-1.0]), "finite lambda_reg >= 0, got -1.0"),
        (lambda: L1(weight=torch.ones(3)).value(torch.ones(2)), r"one weight or \(2,\) of them"),
        (
            lambda: L2(center=torch.ones(3)).on([torch.ones(2)]),
            r"center of shape \(2,\), got \(3,\)",
        ),
        (lambda: PseudoHuber(delta=0.0), "finite delta > 0, got 0.0"),
        (lambda: ElasticNet(l1_ratio=1.5), "0 <= l1_ratio <= 1, got 1.5"),
        (lambda: make_regularizer("lasso"), "one of .*'l1'.* got 'lasso'"),
        (lambda: make_regularizer(3), "got 3"),
        (lambda: check_lambda(math.inf), "finite lambda_reg"),
        (lambda: check_lambda(math.nan), "finite lambda_reg"),
    ],
)
def test_mistakes_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("l1", L1),
        ("L2", L2),
        ("elastic-net", ElasticNet),
        ("L2-SP", L2SP),
        ("l1sp", L1SP),
        ("group-lasso", GroupLasso),
        ("pseudo-huber", PseudoHuber),
    ],
)
def test_kinds_have_names(name, cls):
    assert type(make_regularizer(name)) is cls
    assert make_regularizer(None) is None


def test_binding_makes_another_object_so_that_runs_do_not_share_a_center():
    given_one = L2SP()
    bound = make_regularizer(given_one).on([torch.ones(2, 2)])
    assert given_one.center is None and bound.center.tolist() == [1.0] * 4
    assert given_one.weights is None and bound.weights.tolist() == [1.0] * 4
    assert make_regularizer(ElasticNet(l1_ratio=0.2)).l1_ratio == 0.2


def test_a_given_center_takes_the_place_of_the_own_one_and_of_the_start():
    theta, center = torch.ones(2, 2), torch.arange(4.0)
    for penalty in (L2(), L2SP(), L2SP([2 * theta]), L2(center=torch.zeros(4))):
        assert float(penalty.on([theta], center=center).value()) == (1 + 0 + 1 + 4) / 2
    assert float(L2SP([2 * theta]).on([theta]).value()) == 4 / 2  # what it pulled to already


@pytest.mark.parametrize("penalty", [cls() for cls in (*KINDS.values(), Zero)])
def test_a_penalty_cannot_be_changed(penalty):
    for one in (penalty, penalty.on([torch.ones(2, 2)])):
        for name in ("weight", "center", "weights", "params"):
            with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
                setattr(one, name, None)


def test_an_object_is_after_an_optimizer_what_it_was_before():
    for penalty in (L2SP(weight=2.0), GroupLasso(), ElasticNet(l1_ratio=0.3)):
        before = dict(vars(penalty))
        net = mlp(2, 3, 1)
        optimizer = RLHFOptimizer(net.named_parameters(), lambda_reg=0.1, regularizer=penalty)
        closure = mean_square_closure(net)
        optimizer.step(closure)
        optimizer.param_groups[0]["lambda_reg"] = 0.4
        optimizer.step(closure)
        adam = PenalizedAdamW(net.named_parameters(), lambda_reg=0.1, regularizer=penalty)
        closure()[0].backward()
        adam.step()
        adam.load_state_dict(adam.state_dict())
        list(newton(lambda t: t @ t, randn(4), regularizer=L2SP(), lambda_reg=0.1))
        assert vars(penalty) == before


def mean_square_closure(net):
    x, y = randn(8, 2), randn(8, 1, seed=1)

    def closure():
        outputs = net(x)
        return (outputs - y).pow(2).mean(), outputs

    return closure


def test_a_bound_penalty_goes_with_a_copy_of_its_optimizer():
    net = mlp(2, 3, 1)
    optimizer = RLHFOptimizer(net.named_parameters(), lambda_reg=0.1, regularizer="l2sp")
    optimizer.step(mean_square_closure(net))
    expected = optimizer.penalty()
    assert expected > 0
    for other in (deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert other.penalty() == expected
        with torch.no_grad():
            for p in other.param_groups[0]["params"]:
                p.mul_(2.0)
        assert other.penalty() > 2 * expected and optimizer.penalty() == expected


class Scaled(L2):
    """A subclass that is no dataclass."""

    def __init__(self, scale, **kwargs):
        self.scale = scale
        super().__init__(**kwargs)

    def _value(self, d):
        return self.scale * super()._value(d)


def test_a_subclass_with_a_constructor_of_its_own_can_be_bound():
    bound = Scaled(3.0, weight=2.0).on([torch.ones(2, 2)], [0.5])
    assert float(bound.value()) == 3 * 2 * 0.5 * 4 / 2


# An object's own weight times the lambda of who uses it.


def test_a_bound_lambda_multiplies_the_own_weight_and_never_compounds():
    params, penalty = [torch.ones(2, 2), torch.ones(3, 2)], L1(weight=2.0)
    for _ in range(3):
        assert float(penalty.on(params, [0.5, 3.0]).value()) == 2 * (0.5 * 4 + 3 * 6)
    assert penalty.weight == 2.0
    again = make_regularizer(make_regularizer(penalty).on(params, [7.0, 7.0]))
    assert float(again.on(params, [0.5, 3.0]).value()) == 2 * (0.5 * 4 + 3 * 6)


def test_one_object_in_two_optimizers_and_a_newton_run_weighs_the_same_in_each():
    penalty, nets = L2(weight=3.0), [mlp(2, 3, 1), mlp(2, 3, 1)]
    optimizers = [
        RLHFOptimizer(net.parameters(), lambda_reg=0.1, regularizer=penalty) for net in nets
    ]
    squares = sum(float(p.detach().pow(2).sum()) for p in nets[0].parameters() if p.ndim == 2)
    for optimizer in (*optimizers, *optimizers):
        assert optimizer.penalty() == pytest.approx(0.1 * 3 * squares / 2)
    theta = randn(4)
    for _ in range(2):
        first = next(newton(lambda t: t @ t, theta, regularizer=penalty, lambda_reg=0.1))
        assert first.penalty == pytest.approx(0.1 * 3 * float(theta @ theta) / 2)


def test_a_weight_for_each_entry_leaves_an_intercept_free():
    weight, theta = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), torch.ones(3).double()
    penalty = L1(weight=weight).on([theta], [0.5])
    assert float(penalty.value(10 * theta)) == 0.5 * 10 * 3
    assert penalty.prox(theta).tolist() == [0.0, 0.5, 1.0]
    assert penalty.orthant(theta, theta)[0].tolist() == [1, 1, 0]
    assert penalty.at_kink(0 * theta).tolist() == [True, True, False]


@few_cases
@given(seed=seeds, delta=st.floats(1e-6, 10))
def test_pseudo_huber_is_below_the_modulus_by_less_than_delta(seed, delta):
    d = torch.cat([10 * delta * randn(N, seed=seed), randn(N, seed=seed), torch.zeros(1)])
    for entry in d:
        gap = float(entry.abs() - PseudoHuber(delta=delta).value(entry[None]))
        assert 0 <= gap <= delta
    far = torch.tensor([1e4 * delta], dtype=torch.float64)
    assert float(far - PseudoHuber(delta=delta).value(far)) > 0.999 * delta
    most = PseudoHuber(delta=delta).curvature(torch.zeros(1).double())
    assert float(most) == pytest.approx(1 / delta)


def test_entries_that_pass_their_kink_are_found():
    start = torch.tensor([1.0, -1, 1, 0, 2], dtype=torch.float64)
    end = torch.tensor([-1.0, -2, 0, 3, 1], dtype=torch.float64)
    weight = torch.tensor([1.0, 1, 1, 1, 0])
    assert L1(weight=weight).crossed(start, end).tolist() == [True] + [False] * 4
    assert not L1(weight=1 - weight).crossed(start, end).any()
    assert not L2().crossed(start, end).any()
    centred = L1(center=torch.full((5,), 1.5, dtype=torch.float64))
    assert centred.crossed(start, end).tolist() == [False, False, False, True, True]


# Group lasso.

IDS = torch.tensor([0, 1, 1, 0, -1, 2, 0])


def grouped(weight=0.7, **kwargs):
    return GroupLasso(groups=IDS, weight=weight, **kwargs)


def group_norms(d):
    return [float(d[IDS == g].norm()) for g in range(3)]


def test_group_value_weighs_norms_by_the_root_of_the_size_or_as_told():
    theta = randn(N)
    a, b, c = group_norms(theta)
    expected = 0.7 * (3**0.5 * a + 2**0.5 * b + c)
    assert float(grouped().value(theta)) == pytest.approx(expected, rel=1e-14)
    own = grouped(group_weights=torch.tensor([1.0, 2.0, 4.0]))
    assert float(own.value(theta)) == pytest.approx(0.7 * (a + 2 * b + 4 * c))
    lists = GroupLasso(groups=[torch.tensor([0, 3, 6]), [1, 2], [5]], weight=0.7)
    assert float(lists.value(theta)) == pytest.approx(expected, rel=1e-14)
    assert float(grouped(center=theta).value(theta)) == 0


def test_group_derivatives_are_those_of_the_value():
    penalty, theta, v = grouped(center=CENTER), randn(N), randn(N, 2, seed=1)
    close(penalty.gradient(theta), gradient(penalty.value, theta), rtol=1e-13)
    hessian = torch.autograd.functional.hessian(
        lambda t: sum(
            0.7 * size**0.5 * (t - CENTER)[IDS == g].norm() for g, size in enumerate((3, 2, 1))
        ),
        theta,
    )
    close(penalty.curvature_product(v, theta), hessian @ v, rtol=1e-12)
    close(penalty.curvature_product(v[:, 0], theta), hessian @ v[:, 0], rtol=1e-12)
    flat_group = torch.where(IDS == 0, CENTER, theta)
    product = penalty.curvature_product(v, flat_group)
    assert not product[IDS == 0].any() and bool(product[IDS == 1].any())
    assert not penalty.separable and not penalty.smooth


@few_cases
@given(seed=seeds, step=st.floats(0.01, 2))
def test_group_prox_minimizes_its_definition(seed, step):
    penalty, x = grouped(center=CENTER), 2 * randn(N, seed=seed)
    z = penalty.prox(x, step)

    def objective(y):
        return float((y - x).pow(2).sum() / 2 + step * penalty.value(y))

    for direction in (*torch.eye(N, dtype=torch.float64), randn(N, seed=seed + 1), CENTER - z):
        assert float(direction.norm()) > 0
        for t in (-1e-3, 1e-3):
            assert objective(z + t * direction) > objective(z)
    per_entry = penalty.prox(x, torch.full((N,), step, dtype=torch.float64))
    assert torch.equal(per_entry, z)
    found = penalty.subgradient((z - x) / step, z)
    assert float(found.abs().max()) * step < 1e-13


def test_group_prox_zeroes_whole_groups_and_only_those():
    x = torch.tensor([0.1, 3, 0.1, -0.1, 5, 0.1, 0.1], dtype=torch.float64)
    z = grouped().prox(x)
    assert not z[IDS == 0].any() and not z[IDS == 2].any()
    assert z[IDS == 1].all() and float(z[4]) == 5
    assert torch.equal(grouped().at_kink(z), (IDS == 0) | (IDS == 2))


@few_cases
@given(seed=seeds)
def test_group_subgradient_is_the_shortest_of_all_subgradients(seed):
    penalty, task = grouped(), randn(N, seed=seed)
    theta = torch.where(IDS == 0, 0.0, randn(N, seed=seed + 1))
    found = penalty.subgradient(task, theta)
    away = IDS != 0
    close(found[away], (task + penalty.gradient(theta))[away], rtol=1e-13)
    radius = 0.7 * 3**0.5
    assert float((found - task)[~away].norm()) <= radius + 1e-14
    assert float(found[~away].norm()) == pytest.approx(
        max(float(task[~away].norm()) - radius, 0), abs=1e-13
    )


def test_groups_are_the_rows_of_the_weight_matrices():
    net = mlp(2, 3, 1)
    penalty = GroupLasso(net.named_parameters(), weight=2.0)
    first, last = net[0].weight.detach(), net[2].weight.detach()
    expected = 2 * (2**0.5 * float(first.norm(dim=1).sum()) + 3**0.5 * float(last.norm()))
    assert float(penalty.value()) == pytest.approx(expected, rel=1e-14)
    ones = torch.ones(13, dtype=torch.float64)
    small = penalty.prox(0.1 * ones)
    assert [p.tolist() for p in small.split([6, 3, 3, 1])] == [[0] * 6, [0.1] * 3, [0] * 3, [0.1]]
    with_biases = GroupLasso(net.named_parameters(), weight=2.0, include_all=True)
    biases = float(net[0].bias.detach().abs().sum() + net[2].bias.detach().abs().sum())
    assert float(with_biases.value()) == pytest.approx(expected + 2 * biases, rel=1e-14)
    penalty = penalty.on(net.named_parameters(), [1.0, 0, 0.5, 0])
    expected = 2 * (2**0.5 * float(first.norm(dim=1).sum()) + 0.5 * 3**0.5 * float(last.norm()))
    assert float(penalty.value()) == pytest.approx(expected, rel=1e-14)


def test_groups_of_one_entry_are_l1():
    theta, task = randn(N) * (randn(N, seed=1) > 0), randn(N, seed=2)
    single, l1 = GroupLasso(groups=torch.arange(N), weight=0.4), L1(weight=0.4)
    close(single.value(theta), l1.value(theta), rtol=1e-15)
    close(single.prox(theta, 0.5), l1.prox(theta, 0.5), rtol=1e-14)
    close(single.subgradient(task, theta), l1.subgradient(task, theta), rtol=1e-13)
    assert torch.equal(single.at_kink(theta), l1.at_kink(theta))
    assert torch.equal(single.crossed(theta, task), l1.crossed(theta, task))
    assert not single.curvature_product(task, theta).abs().gt(1e-15).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GroupLasso().value(randn(3)), "no groups: pass groups="),
        (lambda: GroupLasso([torch.ones(3)]), "got vectors only: pass groups="),
        (lambda: grouped().value(randn(3)), r"integers of shape \(3,\), got torch.int64"),
        (lambda: GroupLasso(groups=torch.ones(3)).value(randn(3)), "integers of shape"),
        (lambda: GroupLasso(groups=[[0, 1], [1]]).value(randn(3)), "overlap: an entry of group 1"),
        (lambda: grouped(group_weights=torch.ones(2)).value(randn(N)), "expected 3 group_weights"),
        (lambda: grouped().prox(randn(N), torch.arange(N) + 1.0), "the step to be constant within"),
        (lambda: grouped(torch.arange(N)).value(randn(N)), "the weight to be constant within"),
        (lambda: grouped().curvature(randn(N)), "not diagonal: use curvature_product"),
        (lambda: grouped().orthant(randn(N), randn(N)), "use the proximal method"),
        (lambda: grouped().project(randn(N), randn(N)), "use the proximal method"),
    ],
)
def test_mistakes_with_groups_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
