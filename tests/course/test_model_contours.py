"""Lines along which a quadratic model has the value of its own point."""

import math

import pytest
import torch

from rlhf_course.panels.model_contours import through_the_point

CASES = {
    "a bowl": ([[2.0, 0.5], [0.5, 1.0]], 1),
    "a saddle": ([[1.0, 0.2], [0.2, -0.5]], 2),
    "a hill": ([[-1.0, 0.3], [0.3, -2.0]], 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("gradient", [[0.7, -0.4], [-0.1, 0.9]])
def test_the_model_is_zero_along_them_and_they_pass_through_the_point(name, gradient):
    A, branches = (torch.tensor(CASES[name][0], dtype=torch.float64), CASES[name][1])
    theta, g = torch.tensor([[0.3, -0.2], gradient], dtype=torch.float64)
    xs, ys = through_the_point(theta, g, A, points=4001)
    d = torch.tensor([xs, ys], dtype=torch.float64).T - theta
    gaps = torch.isnan(d).any(1)
    d = d[~gaps]
    value = d @ g + 0.5 * ((d @ A) * d).sum(1)
    assert float(value.abs().max()) < 1e-9 * max(1.0, float(d.square().sum(1).max()))
    assert float(d.norm(dim=1).min()) < 0.01
    assert (int(gaps.sum()) > 0) == (branches == 2)


def test_there_is_none_at_rest_or_where_the_model_is_flat():
    theta = torch.zeros(2)
    assert through_the_point(theta, torch.zeros(2), torch.eye(2)) == ([], [])
    flat = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert through_the_point(theta, torch.ones(2), flat) == ([], [])
    assert math.isfinite(through_the_point(theta, torch.ones(2), torch.eye(2))[0][0])
