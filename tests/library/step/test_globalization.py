import math

import pytest
import torch
from cases import few_cases
from hypothesis import assume, given
from hypothesis import strategies as st

from rlhf_lib.step import Damping, Iterates, TrustRegion, armijo, reduction_ratio


def test_rho_is_the_share_of_the_promised_reduction_that_came_true():
    assert reduction_ratio(0.5, 2.0) == 0.25
    assert reduction_ratio(-1.0, 2.0) == -0.5


@pytest.mark.parametrize(
    ("actual", "predicted"),
    [(math.nan, 1.0), (math.inf, 1.0), (-math.inf, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan)],
)
def test_rho_is_minus_infinity_where_no_trust_is_due(actual, predicted):
    assert reduction_ratio(actual, predicted) == -math.inf


@pytest.mark.parametrize(
    ("actual", "predicted", "rho"),
    [
        (-3e-16, 1e-18, 1.0),
        (0.0, 0.0, 1.0),
        (-3e-15, 1e-18, -3e3),
        (1e-15, 2e-15, 0.5),
        (math.nan, 1e-18, -math.inf),
    ],
)
def test_reductions_below_rounding_speak_for_the_model(actual, predicted, rho):
    assert reduction_ratio(actual, predicted, rounding=1e-15) == pytest.approx(rho)


@pytest.mark.parametrize(
    ("rho", "factor"),
    [
        (-math.inf, 1.5),
        (0.1, 1.5),
        (0.25, 1.0),
        (0.5, 1.0),
        (0.75, 1.0),
        (0.8, 2 / 3),
        (5.0, 2 / 3),
    ],
)
def test_martens_rule_as_in_section_4_1(rho, factor):
    assert Damping(6.0, "martens").update(rho) == pytest.approx(6.0 * factor, rel=1e-15)


@pytest.mark.parametrize(
    ("rho", "factor"),
    [(1.0, 1 / 3), (3.0, 1 / 3), (0.5, 1.0), (0.75, 1 - 0.5**3), (0.25, 1 + 0.5**3), (1e-9, 2.0)],
)
def test_nielsens_rule_after_success(rho, factor):
    damping = Damping(6.0, "nielsen", memory={"nu": 16.0})
    assert damping.update(rho) == pytest.approx(6.0 * factor, rel=1e-8)
    assert damping.memory["nu"] == 2.0


def test_nielsens_rule_doubles_its_factor_at_each_failure_in_a_row():
    damping = Damping(1.0, "nielsen")
    values = [damping.update(rho) for rho in (-math.inf, 0.0, -3.0)]
    assert values == [2.0, 8.0, 64.0] and damping.memory["nu"] == 16.0
    damping.update(0.5)
    assert (damping.value, damping.memory["nu"]) == (64.0, 2.0)


@few_cases
@given(rho=st.floats(-10, 10), value=st.floats(1e-6, 1e6))
def test_no_rule_loosens_after_a_bad_step_or_tightens_after_a_perfect_one(rho, value):
    for rule in ("martens", "nielsen", "fixed"):
        after = Damping(value, rule).update(rho)
        if rho < 0.25:
            assert after >= value
        if rho >= 0.75:
            assert after <= value


def test_fixed_stays():
    damping = Damping(0.3, "fixed")
    assert [damping.update(rho) for rho in (-math.inf, 0.0, 1.0, 100.0)] == [0.3] * 4


def test_damping_stays_within_its_limits():
    low, high = Damping(1e-9, "nielsen"), Damping(1e9, "nielsen")
    for _ in range(10):
        low.update(1.0)
        high.update(-1.0)
    assert (low.value, high.value) == (low.least, high.most)


def test_no_damping_stays_none_until_a_step_fails():
    damping = Damping(0.0, "nielsen")
    assert damping.update(1.0) == 0.0
    assert damping.update(-1.0) == damping.least
    assert Damping(0.0, "martens").update(0.0) > 0


@pytest.mark.parametrize("arguments", [(-1.0,), (math.inf,), (math.nan,), (1.0, "levenberg")])
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        Damping(*arguments)


def test_the_full_step_is_taken_where_it_decreases_enough():
    assert armijo(lambda t: 1 - 0.5 * t, 1.0, lambda t: -t) == (1.0, 0.5, 1)


def test_backtracking_takes_the_first_step_length_with_enough_decrease():
    def f(t):  # f'(0) = -1, least at t = 0.05
        return -t + 10 * t * t

    t, value, evaluations = armijo(f, 0.0, lambda t: -t, c=0.1)
    lengths = [0.5**k for k in range(13)]
    assert t == next(s for s in lengths if f(s) <= -0.1 * s)
    assert value == f(t) and evaluations == lengths.index(t) + 1


@few_cases
@given(curvature=st.floats(-1, 1e4), c=st.floats(1e-4, 0.5), start=st.floats(0.1, 4))
def test_what_is_taken_satisfies_armijos_condition(curvature, c, start):
    def f(t):
        return -t + curvature * t * t

    t, value, _ = armijo(f, 0.0, lambda t: -t, c=c, start=start)
    if t:
        assert value == f(t) <= -c * t
        assume(t < start)
        assert f(2 * t) > -c * 2 * t
    else:
        assert f(start * 0.5**12) > -c * start * 0.5**12


def test_a_value_known_already_is_not_computed_again():
    asked = []
    armijo(lambda t: asked.append(t) or -t, 0.0, lambda t: -t, first=5.0)
    assert asked == [0.5]
    assert armijo(lambda t: asked.append(t) or -t, 0.0, lambda t: -t, first=-1.0)[2] == 0
    assert asked == [0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_passed_over(bad):
    t, value, evaluations = armijo(lambda t: bad if t > 0.3 else -t, 0.0, lambda t: -t)
    assert (t, value, evaluations) == (0.25, -0.25, 3)


def test_no_step_is_stated_as_length_zero_with_the_old_value():
    assert armijo(lambda t: 1.0 + t, 1.0, lambda t: -t, most=4) == (0.0, 1.0, 5)


def test_an_ascent_direction_is_never_taken():
    assert armijo(lambda t: -t, 0.0, lambda t: t)[0] == 0.0


def test_a_projected_path_is_judged_by_its_own_slope():
    # On the path the slope is not proportional to t: it is positive until t <= 1/4.
    t, _, _ = armijo(lambda t: -t, 0.0, lambda t: -t if t <= 0.25 else t)
    assert t == 0.25


# Trust region: Nocedal and Wright (2006), algorithm 4.1.


@pytest.mark.parametrize(
    ("rho", "at_boundary", "factor"),
    [
        (-math.inf, True, 0.25),
        (-1.0, False, 0.25),
        (0.2499, True, 0.25),
        (0.25, True, 1.0),
        (0.5, True, 1.0),
        (0.75, True, 1.0),
        (0.7501, True, 2.0),
        (0.7501, False, 1.0),
        (5.0, True, 2.0),
        (5.0, False, 1.0),
    ],
)
def test_the_radius_changes_as_in_algorithm_4_1(rho, at_boundary, factor):
    region = TrustRegion(3.0)
    assert region.update(rho, at_boundary) == region.radius == 3.0 * factor


def test_the_radius_has_a_limit():
    region = TrustRegion(1.0, most=5.0)
    assert [region.update(1.0, True) for _ in range(4)] == [2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize("radius", [0.0, -1.0, math.inf, math.nan])
def test_a_radius_that_is_none_is_refused(radius):
    with pytest.raises(ValueError, match="finite radius > 0"):
        TrustRegion(radius)


# Backtracking: Martens (2010), section 4.6.


def test_iterates_are_kept_at_the_next_whole_number_after_each_power_of_1_3():
    kept, x = Iterates(), torch.zeros(1)
    for i in range(1, 101):
        x.fill_(i)  # conjugate gradients write over it
        assert kept(i, x) is None  # True would stop them
    numbers = [i for i, _ in kept.kept]
    assert numbers == sorted({math.ceil(1.3**j - 1e-9) for j in range(18)})
    assert numbers[:9] == [1, 2, 3, 4, 5, 7, 9, 11, 14]
    assert all(float(x) == i for i, x in kept.kept)
