import math

import pytest
import torch
from cases import (
    Classifier,
    badly_scaled,
    classification,
    close,
    cross_entropy_closure,
    cross_entropy_on,
    few_cases,
    flat,
    mlp,
    randn,
    seeds,
    spd,
    tiny_gpt2,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rlhf_lib import GaussNewtonOperator, HessianOperator, conjugate_gradient
from rlhf_lib.curvature import Shifted
from rlhf_lib.curvature.diagonals import (
    diagonal_preconditioner,
    empirical_fisher_diagonal,
    gauss_newton_diagonal,
    hutchinson_diagonal,
)
from rlhf_lib.objective import TaskLoss

X, Y = classification(10)


def fisher_in_a_loop(net, X, Y):
    """One backward pass for each sample."""
    total = torch.zeros_like(flat(net.parameters()))
    for x, y in zip(X, Y, strict=True):
        loss = F.cross_entropy(net(x[None]), y[None])
        total += flat(torch.autograd.grad(loss, list(net.parameters()))) ** 2
    return total / len(Y)


@pytest.mark.parametrize("net", [mlp(3, 5, 3), mlp(3, 6, 4, 3, norm=True)])
def test_the_gauss_newton_diagonal_is_that_of_the_dense_matrix(net):
    operator = GaussNewtonOperator(cross_entropy_closure(net, X, Y), net.parameters())
    diagonal = gauss_newton_diagonal(operator.task, operator.params)
    close(diagonal, operator.dense().diagonal(), rtol=1e-11)
    assert operator.products == operator.shape[0]  # the diagonal itself took none


class Mixing(nn.Module):
    """Two layers and what is done between them; beyond cross-entropy all outputs are samples'."""

    def __init__(self, between, x, **parts):
        super().__init__()
        self.a, self.b = (mlp(3, 4, seed=1), mlp(4, 3, seed=2))
        self.between, self.x = between, x
        for name, part in parts.items():
            setattr(self, name, part.double())

    def forward(self):
        return self.between(self, torch.tanh(self.a(self.x)))


KEPT = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]).bool()
LAST = torch.tensor([2, 0, 3, 1])
MIXED = {
    "batch normalization": lambda: Mixing(lambda m, h: m.b(m.n(h)), X[:4], n=nn.BatchNorm1d(4)),
    "time first": lambda: Mixing(lambda m, h: m.b(h.mean(0)), randn(4, 4, 3)),
    "mixup": lambda: Mixing(lambda m, h: m.b(0.7 * h + 0.3 * h[LAST]), X[:4]),
    "in-batch negatives": lambda: Mixing(lambda m, h: m.b(h) @ m.b(h.square()).T, X[:4]),
    "a mask that keeps as many tokens": lambda: Mixing(lambda m, h: m.b(h)[KEPT], randn(4, 3, 3)),
}


@pytest.mark.parametrize("name", list(MIXED))
def test_rows_are_right_where_samples_act_on_one_another(name):
    case = Classifier(MIXED[name](), LAST.clamp(max=2))
    close(
        gauss_newton_diagonal(TaskLoss(case.closure), case.params), case.gauss_newton().diagonal()
    )
    model = GaussNewtonOperator(case.closure, case.params)
    with pytest.raises(ValueError, match="samples act on one another"):
        gauss_newton_diagonal(model.task, case.params, check="raise")


def test_a_loss_that_takes_samples_together_has_no_rows():
    net = mlp(3, 4)

    def contrast():
        z = net(X)
        return F.cross_entropy(z @ z.T, torch.arange(10).roll(1)), z

    with pytest.raises(ValueError, match=r"no sum over samples.*preconditioner='hutchinson'"):
        gauss_newton_diagonal(TaskLoss(contrast), list(net.parameters()))


def test_outputs_need_not_be_contiguous():
    net, tokens, labels = mlp(3, 2), randn(4, 5, 3), torch.arange(20).view(4, 5) % 2

    def closure():
        logits = net(tokens).transpose(1, 2)
        return F.cross_entropy(logits, labels), logits

    operator = GaussNewtonOperator(closure, net.parameters())
    close(gauss_newton_diagonal(operator.task, operator.params), operator.dense().diagonal())


def test_the_gauss_newton_diagonal_of_a_whole_gpt2():
    gpt2 = tiny_gpt2()
    diagonal = gauss_newton_diagonal(TaskLoss(gpt2.closure), gpt2.params)
    close(diagonal, gpt2.gauss_newton().diagonal(), rtol=1e-10)


@pytest.mark.parametrize(
    "net",
    [
        mlp(3, 5, 3),
        mlp(3, 6, 4, 3, norm=True),
        nn.Sequential(
            nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3)
        ).double(),
    ],
)
@pytest.mark.parametrize("sizes", [[10], [5, 3, 2]])
def test_the_fisher_diagonal_is_the_mean_of_the_samples_squared_gradients(net, sizes):
    parts = list(zip(X.split(sizes), Y.split(sizes), strict=True))
    task = TaskLoss(cross_entropy_on(net), parts)
    close(
        empirical_fisher_diagonal(task, list(net.parameters())),
        fisher_in_a_loop(net, X, Y),
        rtol=1e-11,
    )


def test_the_fisher_diagonal_of_tokens_adds_each_samples_tokens_before_it_squares():
    net = mlp(3, 2)
    tokens, labels = randn(4, 5, 3), torch.arange(20).view(4, 5) % 2

    def closure():
        logits = net(tokens)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten()), logits

    found = empirical_fisher_diagonal(TaskLoss(closure), list(net.parameters()))
    total = 0
    for x, y in zip(tokens, labels, strict=True):
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        total = total + flat(grads) ** 2 / 4
    close(found, total, rtol=1e-11)


def test_without_outputs_there_are_no_per_sample_gradients():
    net = mlp(3, 3)
    task = TaskLoss(lambda: F.cross_entropy(net(X), Y))
    with pytest.raises(ValueError, match=r"return\s+\(loss, outputs\)"):
        empirical_fisher_diagonal(task, list(net.parameters()))


# Hutchinson's estimate.


def test_hutchinson_is_unbiased_with_the_variance_that_is_stated():
    A, samples, runs = spd(6, condition=20) - 3 * torch.eye(6).double(), 5, 2000
    generator = torch.Generator().manual_seed(0)
    found = torch.stack(
        [hutchinson_diagonal(HasType(A), samples=samples, generator=generator) for _ in range(runs)]
    )
    variance = (A.square().sum(1) - A.diagonal() ** 2) / samples
    error = (found.mean(0) - A.diagonal()).abs()
    assert bool((error < 4 * (variance / runs).sqrt()).all())
    assert bool((found.var(0) / variance - 1).abs().max() < 0.2)


class HasType:
    """A matrix as an operator with a type and a place."""

    dtype, device = torch.float64, torch.device("cpu")

    def __init__(self, A):
        self.A, self.shape, self.products = A, A.shape, 0

    def __matmul__(self, v):
        self.products += 1
        return self.A @ v


@few_cases
@given(seed=seeds, n=st.integers(1, 8))
def test_hutchinson_is_exact_for_a_diagonal_matrix_and_counts_its_products(seed, n):
    A = HasType(torch.diag(randn(n, seed=seed)))
    close(hutchinson_diagonal(A, samples=3), A.A.diagonal(), rtol=1e-14)
    assert A.products == 3


def test_hutchinson_follows_torchs_generator_and_needs_a_sample():
    A = HasType(spd(5))
    torch.manual_seed(1)
    first = hutchinson_diagonal(A)
    torch.manual_seed(1)
    assert torch.equal(first, hutchinson_diagonal(A))
    assert not torch.equal(first, hutchinson_diagonal(A))
    with pytest.raises(ValueError, match="samples: expected at least 1"):
        hutchinson_diagonal(A, samples=0)


# What conjugate gradients makes of a diagonal.


def test_martens_formula():
    diagonal = torch.tensor([1.0, 16.0, 0.0, -5.0], dtype=torch.float64)
    before = diagonal.clone()
    found = diagonal_preconditioner(diagonal, 0.25)
    expected = [(max(d, 0.0) + 0.25) ** -0.75 for d in diagonal.tolist()]
    assert found.tolist() == pytest.approx(expected, rel=1e-14)
    assert torch.equal(diagonal, before)
    close(diagonal_preconditioner(diagonal, 2.0, exponent=1.0), 1 / (diagonal.clamp(min=0) + 2))
    assert diagonal_preconditioner(diagonal, 2.0, exponent=0.0).tolist() == [1.0] * 4
    shift = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    expected = (torch.tensor([1.0, 16.0, 0.0, 0.0]).double() + shift) ** -0.75
    close(diagonal_preconditioner(diagonal, shift), expected)


@pytest.mark.parametrize(
    ("shift", "exponent", "message"),
    [
        (0.0, 0.75, "diagonal \\+ shift > 0"),
        (-2.0, 0.75, "pass the damping as shift"),
        (1.0, 1.5, "0 <= exponent <= 1"),
        (1.0, -0.1, "0 <= exponent <= 1"),
        (math.nan, 0.75, "expected a finite number"),
    ],
)
def test_what_would_not_be_positive_definite_is_refused(shift, exponent, message):
    with pytest.raises(ValueError, match=message):
        diagonal_preconditioner(torch.zeros(3), shift, exponent=exponent)


@pytest.mark.parametrize("kind", ["ggn", "fisher", "hutchinson"])
def test_each_preconditioner_saves_iterations_on_a_badly_scaled_problem(kind):
    net, closure = badly_scaled()
    operator = GaussNewtonOperator(closure, net.parameters())
    diagonal = {
        "ggn": lambda: gauss_newton_diagonal(operator.task, operator.params),
        "fisher": lambda: empirical_fisher_diagonal(operator.task, operator.params),
        "hutchinson": lambda: hutchinson_diagonal(
            operator, samples=20, generator=torch.Generator().manual_seed(0)
        ),
    }[kind]()
    system, b = Shifted(operator, 1e-3), -operator.gradient
    plain = conjugate_gradient(system, b, rtol=1e-8, max_iter=2000)
    helped = conjugate_gradient(
        system, b, rtol=1e-8, max_iter=2000, preconditioner=diagonal_preconditioner(diagonal, 1e-3)
    )
    assert plain.converged and helped.converged
    assert 2 * helped.iterations < plain.iterations


def test_the_hessians_diagonal_may_be_estimated_too():
    net = mlp(3, 4, 3)
    operator = HessianOperator(cross_entropy_closure(net, X, Y), net.parameters())
    H = operator.dense()
    variance = (H.square().sum(1) - H.diagonal() ** 2) / 400
    found = hutchinson_diagonal(operator, samples=400, generator=torch.Generator().manual_seed(0))
    assert bool(((found - H.diagonal()).abs() <= 4.5 * variance.sqrt() + 1e-12).all())
