"""Models that are linear in their weights: the linearized model is the model, and peers know it."""

import numpy as np
import pytest
import torch
from cases import flat, randn
from linear_cases import close, labels
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn
from torch.nn import functional as F

from rlhf_lib import linearize, newton

X = randn(40, 5)


def weights(linear, fit):
    return linear.theta(fit)


@pytest.mark.parametrize("classes", [2, 6])
def test_classes_agree_with_newton(classes):
    y, net = labels(40, classes), nn.Linear(5, classes, bias=False).double()

    def f(theta):
        return F.cross_entropy(X @ theta.view(classes, 5).T, y)

    linear = linearize(net, (X, y))
    for kind, start in (("l2", flat(net.parameters())), ("l2sp", flat(net.parameters()))):
        *_, last = newton(f, start, regularizer=kind, lambda_reg=0.02, line_search=True, tol=1e-12)
        assert last.reason == "converged"
        fit = linear.minimum(0.02, regularizer=kind)
        close(linear.theta(fit), last.theta, 1e-10)
        close(fit.train_loss + fit.penalty, last.objective, 1e-12)


@pytest.mark.parametrize("classes", [2, 6])
def test_classes_with_free_intercepts_agree_with_scikit_learn(classes):
    y, net = labels(40, classes), nn.Linear(5, classes).double()
    linear = linearize(net, (X, y))
    fit = linear.minimum(0.05, regularizer="l2")
    C = 1 / (40 * 0.05)
    if classes == 2:
        # One weight vector, half of the difference of ours: |w|^2 / 2 for both of ours.
        C = 2 * C
    peer = LogisticRegression(C=C, tol=1e-12, max_iter=10000, solver="newton-cholesky")
    peer.fit(X.numpy(), y.numpy())
    linear.assign(fit)
    with torch.no_grad():
        ours = net(X).softmax(1)
    close(ours, peer.predict_proba(X.numpy()), 1e-9)


def test_one_logit_agrees_with_scikit_learn():
    y, net = labels(40, 2), nn.Linear(5, 1).double()
    linear = linearize(net, (X, y.double()[:, None]), loss="binary")
    linear.assign(linear.minimum(0.05, regularizer="l2"))
    peer = LogisticRegression(C=1 / (40 * 0.05), tol=1e-12, solver="newton-cholesky")
    peer.fit(X.numpy(), y.numpy())
    close(net.weight[0].detach(), peer.coef_[0], 1e-9)
    close(net.bias.detach(), peer.intercept_, 1e-9)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_squared_error_agrees_with_ridge_regression(outputs, bias):
    y, net = randn(40, outputs, seed=3), nn.Linear(5, outputs, bias=bias).double()
    linear = linearize(net, (X, y), loss="mse")
    fit = linear.minimum(0.3, regularizer="l2")
    # |Xw - y|^2 / (n outputs) + lambda / 2 |w|^2
    peer = Ridge(alpha=0.3 / 2 * 40 * outputs, fit_intercept=bias, solver="cholesky")
    peer.fit(X.numpy(), y.numpy())
    linear.assign(fit)
    close(net.weight.detach(), np.atleast_2d(peer.coef_), 1e-10)
    if bias:
        close(net.bias.detach(), peer.intercept_, 1e-10)


def test_a_convex_function_of_ones_own_agrees_with_scipy():
    counts, net = labels(40, 5).double(), nn.Linear(5, 1, bias=False).double()

    def poisson(outputs, targets):
        z = outputs[:, 0]
        return z.exp() - targets * z

    linear = linearize(net, (X, counts), loss=poisson)

    def objective(w):
        z = X.numpy() @ w
        r = np.exp(z) - counts.numpy()
        value = np.mean(np.exp(z) - counts.numpy() * z) + 0.05 * w @ w
        return value, X.numpy().T @ r / 40 + 0.1 * w

    peer = minimize(objective, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-9})
    fit = linear.minimum(0.1, regularizer="l2")
    assert fit.converged
    close(linear.theta(fit), peer.x, 1e-8)


def test_a_convex_function_with_several_outputs_is_the_built_in_one():
    y, net = labels(40, 4), nn.Linear(5, 4).double()

    def own(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none")

    built_in, ours = linearize(net, (X, y)), linearize(net, (X, y), loss=own)
    a, b = (m.minimum(0.1, include_all=True) for m in (built_in, ours))
    close(ours.theta(b), built_in.theta(a), 1e-9)
    close(b.dof, a.dof, 1e-9)
    close(b.log_evidence, a.log_evidence, 1e-9)
