"""Problems of More, Garbow and Hillstrom (1981) whose variables have other units, against SciPy."""

import numpy as np
import pytest
import torch
from cases import randn
from scipy.optimize import least_squares

from rlhf_lib import newton


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def counted(first, last, step=1.0):
    return step * torch.arange(first, last + 1, dtype=torch.float64)


METERS = numbers(34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261)
METERS = torch.cat([METERS, numbers(7030, 6005, 5147, 4427, 3820, 3307, 2872)])
TENTHS = counted(1, 10, 0.1)
RESIDUALS = {
    "Meyer": (
        lambda x: x[0] * torch.exp(x[1] / (45 + counted(1, 16, 5.0) + x[2])) - METERS,
        (0.02, 4000.0, 250.0),
    ),
    "Brown badly scaled": (
        lambda x: torch.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2]),
        (1.0, 1.0),
    ),
    "Powell badly scaled": (
        lambda x: torch.stack([1e4 * x[0] * x[1] - 1, (-x).exp().sum() - 1.0001]),
        (0.0, 1.0),
    ),
    "Freudenstein and Roth": (
        lambda x: torch.stack(
            [
                -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1],
                -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1],
            ]
        ),
        (0.5, -2.0),
    ),
    "Box": (
        lambda x: (
            torch.exp(-TENTHS * x[0])
            - torch.exp(-TENTHS * x[1])
            - x[2] * (torch.exp(-TENTHS) - torch.exp(-10 * TENTHS))
        ),
        (0.0, 10.0, 20.0),
    ),
    "Jennrich and Sampson": (
        lambda x: 2 + 20 * TENTHS - torch.exp(10 * TENTHS * x[:, None]).sum(0),
        (0.3, 0.4),
    ),
}


def run(residuals, start, **settings):
    return newton(
        lambda x: residuals(x).square().sum(),
        start,
        direction="saddle-free",
        damping=1e-3,
        damping_rule="nielsen",
        scale="variables",
        line_search=True,
        **settings,
    )


@pytest.mark.parametrize("name", RESIDUALS)
def test_scaled_variables_reach_what_levenberg_and_marquardt_reach(name):
    residuals, start = RESIDUALS[name]
    found = least_squares(
        lambda x: residuals(torch.tensor(x)).numpy(), np.array(start), method="lm", x_scale="jac"
    )
    least = 2 * found.cost * (1 + 1e-6) + 1e-18
    assert any(r.loss <= least for r in run(residuals, numbers(*start), max_steps=300))


def test_steps_do_not_depend_on_the_units_of_single_variables():
    units, A = 2.0 ** (20 * counted(-2, 2)), randn(8, 5)

    def residuals(x):
        return (A @ x).tanh() + 0.1 * x.sum() - 1

    plain = run(residuals, randn(5), max_steps=6)
    other = run(lambda x: residuals(x * units), randn(5) / units, max_steps=6)
    for a, b in zip(plain, other, strict=True):
        torch.testing.assert_close(b.theta * units, a.theta, rtol=1e-6, atol=1e-9)
