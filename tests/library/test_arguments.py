"""Arguments by kind: whole numbers, numbers and flags; NaN is no setting anywhere."""

import math

import numpy as np
import pytest
import torch
from cases import randn

from rlhf_lib import HessianOperator, RLHFOptimizer, linearize, newton
from rlhf_lib.arguments import flag, real, whole
from rlhf_lib.regularizers import L1
from rlhf_lib.solve import conjugate_gradient, proximal_solve

EYE, ONES = torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)


@pytest.mark.parametrize("value", [3, np.int64(3), torch.tensor(3), np.uint8(3)])
def test_a_whole_number_of_every_library(value):
    found = whole("n", value)
    assert (found, type(found), real("n", value)) == (3, int, 3.0)


@pytest.mark.parametrize("value", [3.0, "3", None, True, math.nan, [3], torch.ones(2), 1j])
def test_what_is_no_whole_number(value):
    with pytest.raises(TypeError, match="n: expected a whole number, got"):
        whole("n", value, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, "1", None, 1j, torch.ones(2), [1]])
def test_what_is_no_finite_number_from_zero_on(value):
    with pytest.raises((TypeError, ValueError), match="x: expected a "):
        real("x", value, 0)


def test_flags_are_no_texts_and_no_numbers():
    assert flag("f", True) is True and flag("f", np.False_) is False
    for value in ("no", 1, None, math.nan, torch.tensor(True)):
        with pytest.raises(TypeError, match="f: expected True or False, got"):
            flag("f", value)


NET = torch.nn.Linear(3, 2)
X, Y = randn(8, 3).float(), torch.arange(8) % 2


def loss(batch):
    return torch.nn.functional.cross_entropy(NET(batch[0]), batch[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: conjugate_gradient(EYE, ONES, rtol=math.nan),
        lambda: proximal_solve(EYE, ONES, L1(), ONES, rtol=math.nan),
        lambda: next(newton(lambda x: x.square().sum(), ONES, tol=math.nan)),
        lambda: linearize(NET, (X, Y)).run(0.1, tol=math.nan),
        lambda: HessianOperator(loss, NET.parameters(), [(X, Y)], count=lambda batch: math.nan),
        *(
            lambda name=name: RLHFOptimizer(NET.parameters(), **{name: math.nan})
            for name in ("rtol", "progress_tol", "max_iter", "damping", "lambda_reg", "radius")
        ),
    ],
)
def test_nan_is_no_setting(call):
    with pytest.raises((TypeError, ValueError), match="expected"):
        call()
