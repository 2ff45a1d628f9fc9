"""What holds for any data: degrees of freedom fall with lambda, a huge lambda stays at theta_0."""

from itertools import pairwise

import torch
from cases import few_cases, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from linear_cases import labels, small_net

from rlhf_lib import linearize

LAMBDAS = [1e4, 10.0, 1.0, 0.1, 0.01]


def random_model(seed, classes):
    net = small_net(outputs=classes, seed=seed % 1000)
    data = randn(10, 3, seed=seed), labels(10, classes, seed=seed)
    return linearize(net, data, include_all=True)


@few_cases
@given(seeds, st.integers(2, 4))
def test_along_a_path_everything_goes_one_way(seed, classes):
    path = random_model(seed, classes).path(LAMBDAS)
    assert set(path.column("reason")) == {"converged"}
    dof, distance = path.column("dof"), path.column("distance")
    assert dof == sorted(dof) and distance == sorted(distance)
    assert path.column("train_loss") == sorted(path.column("train_loss"), reverse=True)
    assert all(0 <= value <= 10 * (classes - 1) for value in dof)
    assert distance[0] < 1e-2 and dof[0] < 0.1


@few_cases
@given(seeds, st.integers(2, 4), st.sampled_from([0.0, 0.01, 1.0]), st.sampled_from([0.1, 3.0]))
def test_the_objective_never_rises_in_a_run(seed, classes, lam, damping):
    run = random_model(seed, classes).run(lam, damping=damping, steps=8)
    values = [record.objective for record in run[1:]]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(values))


@few_cases
@given(seeds, st.integers(2, 4))
def test_probabilities_are_some_and_variances_positive(seed, classes):
    found = random_model(seed, classes).minimum(0.1).predict("training")
    assert torch.allclose(found.probabilities.sum(1), torch.ones(10).double())
    assert bool((torch.linalg.eigvalsh(found.variance) > -1e-12).all())


@few_cases
@given(seeds, st.integers(2, 4))
def test_leave_one_out_is_worse_than_the_training_loss(seed, classes):
    fit = random_model(seed, classes).minimum(0.05)
    assert fit.loo.loss > fit.train_loss
