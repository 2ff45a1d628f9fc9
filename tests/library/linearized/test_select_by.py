"""select_lambda on a linearized model: leave-one-out against refits, evidence against a density."""

import math

import pytest
import torch
from torch.nn.functional import mse_loss

from rlhf_lib import linearize, select_lambda
from rlhf_lib.select import CriterionSelection, LambdaSelection

LAMBDAS = [0.001, 1.0, 0.03, 10.0]
N = 30


@pytest.fixture(scope="module")
def ridge():
    """A linear model from zero on 30 samples of 5 features, its data, in float64."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(N, 5, generator=generator, dtype=torch.float64)
    y = X @ torch.randn(5, 1, generator=generator, dtype=torch.float64)
    y += torch.randn(N, 1, generator=generator, dtype=torch.float64)
    model = torch.nn.Linear(5, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    return linearize(model, (X, y), loss="mse", include_all=True), X, y


def solved(X, y, value):
    """Minimum of mean squared error + value / 2 |w|^2."""
    return torch.linalg.solve(
        2 * X.T @ X / len(X) + value * torch.eye(5).double(), 2 * X.T @ y / len(X)
    )


def test_leave_one_out_is_that_of_refits_without_each_sample(ridge):
    linear, X, y = ridge
    found = select_lambda(linear, N, LAMBDAS, by="loo")
    assert isinstance(found, CriterionSelection) and found.lambdas == (10.0, 1.0, 0.03, 0.001)
    for row in found.rows:
        losses = []
        for i in range(N):
            kept = torch.arange(N) != i
            # The one sample less takes its share of the mean loss with it, not of the penalty.
            w = solved(X[kept], y[kept], row.lambda_reg * N / (N - 1))
            losses.append(float(mse_loss(X[i] @ w, y[i])))
        mean = sum(losses) / N
        assert row.mean == pytest.approx(mean, rel=1e-9)
        variance = sum((x - mean) ** 2 for x in losses) / (N - 1)
        assert row.standard_error == pytest.approx(math.sqrt(variance / N), rel=1e-9)
    assert found.best == min(found.rows, key=lambda row: row.mean).lambda_reg
    assert found.chosen >= found.best


def test_the_evidence_chooses_by_the_density_of_all_targets(ridge):
    linear, X, y = ridge
    found = select_lambda(linear, N, LAMBDAS, by="evidence")
    for row in found.rows:
        # exp(-N (y - z)^2 / N) is a normal density of variance 1/2, the prior's is 1 / (N lambda).
        covariance = torch.eye(N).double() / 2 + X @ X.T / (N * row.lambda_reg)
        normal = torch.distributions.MultivariateNormal(torch.zeros(N).double(), covariance)
        assert row.mean == pytest.approx(-float(normal.log_prob(y[:, 0])) / N, rel=1e-9)
    assert found.chosen == found.best  # it has no standard error
    assert found.best == select_lambda(linear, N, LAMBDAS, by="evidence", rule="min").chosen


def test_cross_validation_of_a_linearized_model_is_that_of_refits(ridge):
    linear, X, y = ridge

    def refits(train, validation, lambdas, seed):
        for value in lambdas:
            yield float(mse_loss(X[validation] @ solved(X[train], y[train], value), y[validation]))

    found, truth = (select_lambda(fit, N, LAMBDAS) for fit in (linear, refits))
    assert isinstance(found, LambdaSelection)
    for row, true in zip(found.rows, truth.rows, strict=True):
        assert row.mean == pytest.approx(true.mean, rel=1e-9)
        assert row.standard_error == pytest.approx(true.standard_error, rel=1e-9)


def test_options_of_the_minimum_reach_all_three_judges(ridge):
    linear, _, y = ridge
    other = linear.fold_fit(labels=-2 * y)
    for by in ("cv", "loo"):
        mine, theirs = (select_lambda(fit, N, [0.1], by=by).rows[0] for fit in (linear, other))
        assert theirs.mean == pytest.approx(4 * mine.mean, rel=1e-9)  # squares of doubled targets
    evidences = [
        select_lambda(fit, N, [0.1], by="evidence").rows[0].mean for fit in (linear, other)
    ]
    assert evidences[0] < evidences[1]


def test_a_table_and_bands_to_show(ridge):
    found = select_lambda(ridge[0], N, LAMBDAS, by="loo")
    bands = found.bands()
    assert bands["lambda"] == list(found.lambdas)
    assert all(a <= b <= c for a, b, c in zip(bands["low"], bands["mean"], bands["high"]))  # noqa: B905
    assert "by one fit to all samples" in str(found) and "best" in str(found)
    assert found.best_row.lambda_reg == found.best and found.chosen_row.lambda_reg == found.chosen


def test_what_does_not_fit_is_refused(ridge):
    linear, *_ = ridge

    def fit(train, validation, lambdas, seed):
        return [0.0 for _ in lambdas]

    with pytest.raises(TypeError, match=r"expected a model with a closed form .*got function"):
        select_lambda(fit, N, LAMBDAS, by="loo")
    with pytest.raises(ValueError, match=r"sets no samples aside: expected only rule .*got folds"):
        select_lambda(linear, N, LAMBDAS, by="loo", folds=3)
    with pytest.raises(ValueError, match="got progress"):
        select_lambda(linear, N, LAMBDAS, by="evidence", progress=print)
    with pytest.raises(ValueError, match="expected the model's 30 training samples, got 29"):
        select_lambda(linear, N - 1, LAMBDAS, by="loo")
    with pytest.raises(ValueError, match="expected by 'cv', 'loo' or 'evidence', got 'aic'"):
        select_lambda(linear, N, LAMBDAS, by="aic")
    with pytest.raises(ValueError, match="expected a rule out of"):
        select_lambda(linear, N, LAMBDAS, by="loo", rule="best")
    with pytest.raises(ValueError, match="more than once"):
        select_lambda(linear, N, [0.1, 0.1], by="loo")
    with pytest.raises(ValueError, match="expected the metric loo, got 'accuracy'"):
        select_lambda(linear, N, LAMBDAS, by="loo").table("accuracy")
