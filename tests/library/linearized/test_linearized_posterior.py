"""Degrees of freedom, leave-one-out, evidence, variances: against refits and dense determinants."""

import math

import pytest
import torch
from cases import flat, randn
from linear_cases import Dense, close, labels, penalty_weights, small_net
from test_linearized_steps import few_free
from torch import nn
from torch.nn import functional as F

from rlhf_lib import linearize

N, LAM = 14, 0.05
X, X_HELD = randn(N, 3), randn(6, 3, seed=1)


class Case:
    """A net, its dense truth with all entries penalized, and the linearized model's minimum."""

    def __init__(self, classes=2, loss="cross_entropy", include_all=True, net=None):
        self.loss = loss
        self.net = net or small_net(outputs=classes)
        if loss == "cross_entropy":
            self.y = labels(N, classes)
        else:
            self.y = randn(N, classes, seed=3)
        self.weights = penalty_weights(self.net, LAM, LAM if include_all else 0.0)
        self.dense = Dense(self.net, X, self.mean, self.weights)
        held = labels(6, classes) if loss == "cross_entropy" else randn(6, classes, seed=4)
        self.linear = linearize(
            self.net, (X, self.y), (X_HELD, held), loss=loss, include_all=include_all
        )
        self.fit = self.linear.minimum(LAM)
        self.theta = self.linear.theta(self.fit)

    def terms(self, z, y):
        """The loss of each sample, all its outputs, with the weights that the mean gives."""
        if self.loss == "cross_entropy":
            return F.cross_entropy(z, y, reduction="none") / N
        return F.mse_loss(z, y, reduction="none").sum(1) / (N * z.shape[1])

    def mean(self, z):
        return self.terms(z, self.y).sum()

    def without(self, i):
        """The dense truth with sample i left out, the others' weights as they were."""
        keep = torch.arange(N) != i
        return Dense(self.net, X[keep], lambda z: self.terms(z, self.y[keep]).sum(), self.weights)

    def loss_of(self, theta, i):
        z = self.dense.outputs(theta)[i : i + 1]
        return float(self.terms(z, self.y[i : i + 1]).sum()) * N


CASES = {
    "two classes": lambda: Case(2),
    "six classes": lambda: Case(6),
    "mse": lambda: Case(2, "mse"),
    "free biases": lambda: Case(2, include_all=False, net=few_free()),
    "free biases, three classes": lambda: Case(3, include_all=False, net=few_free(3)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]()


def test_leave_one_out_is_one_newton_step_of_each_refit(case):
    for i in range(N):
        rest = case.without(i)
        H, g = rest.hessian(case.theta), rest.gradient(case.theta)
        theta = case.theta - torch.linalg.pinv(H, hermitian=True, rtol=1e-12) @ g
        mine = case.fit.loo.losses.view(N, -1)[i].mean()
        close(mine, case.loss_of(theta, i), 1e-8)
    close(case.fit.loo.loss, case.fit.loo.losses.mean(), 1e-12)


def test_leave_one_out_of_a_squared_error_is_exactly_that_of_refits():
    case = CASES["mse"]()
    refits = [case.loss_of(case.without(i).minimum(steps=3), i) for i in range(N)]
    close(case.fit.loo.losses.view(N, -1).mean(1), torch.tensor(refits, dtype=torch.float64), 1e-9)


def test_leave_one_out_is_close_to_refits_of_classes_and_closer_with_more_samples():
    def gap(n):
        x, y, net = randn(n, 3, seed=7), labels(n, 2, seed=8), nn.Linear(3, 2).double()
        linear = linearize(net, (x, y), include_all=True)
        fit = linear.minimum(0.1)
        refits = torch.stack(
            [
                F.cross_entropy(dense.outputs(dense.minimum(steps=12), x[i : i + 1]), y[i : i + 1])
                for i in range(n)
                for dense in [without(net, x, y, i)]
            ]
        )
        return float((fit.loo.losses - refits).abs().mean() / (refits - refits.mean()).std())

    def without(net, x, y, i):
        keep = torch.arange(len(y)) != i
        share = (len(y) - 1) / len(y)
        return Dense(net, x[keep], lambda z: share * F.cross_entropy(z, y[keep]), 0.1)

    few, many = gap(10), gap(40)
    assert many < few / 6 < 1e-2  # O(1 / n^2) by theory, 1/16


def test_samples_of_several_terms_are_left_out_whole():
    """Two tokens a sentence: each sentence's loss against the refit of a squared error."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_net(outputs=2)

        def forward(self, x):
            return self.net(x.view(-1, 3)).view(len(x), 2, 2)

    tokens = Tokens()
    x, y = randn(8, 2, 3), randn(8, 2, 2, seed=3)
    linear = linearize(tokens, (x, y), loss="mse", include_all=True)
    fit = linear.minimum(LAM)
    for i in range(8):
        keep = torch.arange(8) != i
        dense = Dense(tokens, x[keep], lambda z, keep=keep: 7 / 8 * F.mse_loss(z, y[keep]), LAM)
        z = dense.outputs(dense.minimum(steps=3), x[i : i + 1])
        close(fit.loo.losses.view(8, 4)[i].mean(), F.mse_loss(z, y[i : i + 1]), 1e-9)


def test_the_evidence_is_that_of_the_dense_determinant():
    for name in ("two classes", "six classes", "mse"):
        case = CASES[name]()
        terms = len(case.fit.index)
        p = len(case.theta)
        H = case.dense.hessian(case.theta)
        value = -terms * case.dense.objective(case.theta)
        value += 0.5 * (p * math.log(LAM) - torch.logdet(H))
        if name == "mse":
            value -= terms * 0.5 * math.log(math.pi)
        close(case.fit.log_evidence, value, 1e-9)


def test_the_evidence_of_a_squared_error_is_the_normal_density_of_the_targets():
    """Noise of variance 1/2 and weights of variance 1 / (terms lambda): y is normal."""
    case = CASES["mse"]()
    terms = len(case.fit.index)
    S = case.dense.J @ case.dense.J.T / (terms * LAM) + 0.5 * torch.eye(terms).double()
    truth = torch.distributions.MultivariateNormal(case.dense.z0.flatten(), S)
    close(case.fit.log_evidence, truth.log_prob(case.y.flatten()), 1e-9)


def test_with_free_biases_differences_of_the_evidence_are_the_dense_ones():
    case = CASES["free biases"]()
    shared = torch.zeros(len(case.theta)).double()
    shared[-2:] = 0.5**0.5  # the bias common to both classes, which nothing sees
    penalized = int((case.weights > 0).sum())

    def dense(lam):
        weights = penalty_weights(case.net, lam)
        truth = Dense(case.net, X, case.mean, weights)
        theta = truth.minimum()
        H = truth.hessian(theta) + torch.outer(shared, shared)
        value = -N * truth.objective(theta) + 0.5 * penalized * math.log(lam)
        return value - 0.5 * torch.logdet(H)

    ours = case.linear.path([0.5, 0.05]).evidence
    close(ours[1] - ours[0], dense(0.05) - dense(0.5), 1e-7)


def test_degrees_of_freedom_are_the_dense_trace(case):
    G, H = case.dense.task_hessian(case.theta), case.dense.hessian(case.theta)
    close(case.fit.dof, torch.trace(G @ torch.linalg.pinv(H, hermitian=True, rtol=1e-12)), 1e-8)


@pytest.mark.parametrize("part", ["training", "held_out"])
def test_variances_are_those_of_the_dense_posterior(case, part):
    terms = len(case.fit.index)
    inverse = torch.linalg.pinv(case.dense.hessian(case.theta), hermitian=True, rtol=1e-12)
    inputs = X if part == "training" else X_HELD
    z, J = case.dense.outputs_and_jacobian(inputs)
    z = z + (J @ (case.theta - case.dense.theta0)).view_as(z)
    if case.loss == "cross_entropy":
        C = z.shape[1]
        J = J.view(len(inputs), C, -1)
        J = J[:, :-1] - J[:, -1:]
        margins = z[:, :-1] - z[:, -1:]
    else:
        J, margins = J.view(len(inputs) * z.shape[1], 1, -1), z.view(-1, 1)
    found = case.fit.predict(part)
    close(found.variance, J @ inverse @ J.mT / terms, 1e-7)
    close(found.margins, margins.detach(), 1e-9)
    if case.loss == "cross_entropy":
        close(found.probabilities, z.softmax(1).detach(), 1e-9)
        certain, averaged = found.probabilities.amax(1), found.averaged.amax(1)
        if z.shape[1] == 2:
            assert bool((averaged < certain).all()) and bool((averaged > 0.5).all())
    else:
        assert found.probabilities is None


def test_a_direction_that_training_has_not_seen_has_infinite_variance():
    """An intercept of its own for each of two groups, of which training has only one."""
    net = nn.Linear(2, 1, bias=False).double()
    x = torch.tensor([[1.0, 0.0]] * 5).double()
    held = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    y = randn(5, 1)
    linear = linearize(net, (x, y), (held, randn(2, 1)), loss="mse")
    seen, unseen = linear.minimum(0.0).predict().variance.flatten().tolist()
    close(seen, 0.5 / 5, 1e-9)  # the variance of a mean of five
    assert unseen == math.inf


def test_criteria_choose_along_a_path():
    case = CASES["two classes"]()
    path = case.linear.path([1.0, 0.1, 0.01, 0.001])
    loo = [fit.loo.loss for fit in path]
    assert [score for score, _ in path.criterion("loo")] == loo
    assert path.best("loo").lambda_reg == path.lambdas[loo.index(min(loo))]
    evidence = path.evidence
    assert path.best("evidence").lambda_reg == path.lambdas[evidence.index(max(evidence))]
    assert path.best("held_out").val_loss == min(path.column("val_loss"))
    errors = path[1].loo.losses.std() / N**0.5
    close(path.criterion("loo")[1][1], errors, 1e-9)
    with pytest.raises(ValueError, match="'loo', 'evidence' or 'held_out'"):
        path.criterion("aic")


def test_the_squared_errors_own_evidence_prefers_the_lambda_that_made_the_data():
    """Weights drawn with variance 1 / (terms lambda), noise of variance 1/2."""
    net, x = nn.Linear(30, 1, bias=False).double(), randn(60, 30)
    with torch.no_grad():
        net.weight.zero_()
    true = 0.01
    w = randn(30, seed=2) / (60 * true) ** 0.5
    y = (x @ w + randn(60, seed=3) * 0.5**0.5)[:, None]
    linear = linearize(net, (x, y), loss="mse")
    path = linear.path([10.0, 1.0, 0.1, 0.03, 0.01, 0.003, 0.001, 1e-4])
    assert path.best("evidence").lambda_reg in (0.03, 0.01, 0.003)
    assert flat(net.parameters()).abs().max() == 0
