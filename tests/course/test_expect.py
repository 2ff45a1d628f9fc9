"""What checks are made of: the mistakes that every exercise shares, goals of panels, pictures."""

import itertools

import numpy as np
import pytest
import torch
from cases import randn, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_course import SERIES
from rlhf_course.checking import registry as register
from rlhf_course.checking.cases import integer, uniform
from rlhf_course.checking.cases import randn as randn_of
from rlhf_course.checking.expect import call, expect, expect_error, parts
from rlhf_course.checking.feedback import Feedback, NotAttempted, Wrong, attempted, correct
from rlhf_course.checking.goals import goal
from rlhf_course.checking.picture import Curves
from rlhf_course.checking.registry import check, exercise
from rlhf_lib import Record
from rlhf_lib.panels import Panel, slider

TRUTH = randn(3, 3)


def hint_for(value, truth=TRUTH, *more, **options):
    with pytest.raises(Wrong) as wrong:
        expect(value, truth, *more, **options)
    return str(wrong.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (TRUTH.T, "transposed"),
        (-TRUTH, "sign"),
        (2 * TRUTH, "2 times"),
        (TRUTH / 12, "0.08333 times"),
        (TRUTH[0], "shape (3, 3)"),
        (TRUTH.float(), "torch.float32"),
        (TRUTH / 0, "NaN or an infinity"),
        ((-TRUTH).tolist(), "sign"),
        ([[1.0], [2.0, 3.0]], "got the list [["),
        (TRUTH + 0.5, "off by up to 0.5. Try again."),
        (TRUTH + 1, "λ is missing"),
    ],
)
def test_each_shared_mistake_has_its_hint(value, hint):
    assert hint in hint_for(value, TRUTH, {"λ is missing.": TRUTH + 1}, "Try again.")


def test_a_mistake_of_the_exercise_comes_before_those_of_all():
    assert hint_for(-TRUTH, TRUTH, {"uphill": -TRUTH}) == "uphill"


def test_a_mistake_that_is_right_here_or_not_computable_does_no_harm():
    expect(TRUTH, TRUTH, {"never": TRUTH, "nor this": None})
    assert "sign" in hint_for(-TRUTH, TRUTH, {"nor this": None, "other shape": torch.zeros(2)})


@pytest.mark.parametrize("value", [0.5, torch.tensor(0.5), torch.tensor(0.5, requires_grad=True)])
def test_a_number_may_be_a_float_or_a_tensor_without_dimensions(value):
    expect(value, torch.tensor(0.5, dtype=getattr(value, "dtype", torch.float64)))


@pytest.mark.parametrize(
    "value", [TRUTH.numpy(), TRUTH.tolist(), list(TRUTH), [list(row) for row in TRUTH.numpy()]]
)
def test_numbers_count_in_whatever_holds_them(value):
    expect(value, TRUTH)
    for whole in (691, np.int64(691), torch.tensor(691), np.float64(691)):
        expect(whole, torch.tensor(691.0, dtype=torch.float64))
        expect(whole, 691)


@pytest.mark.parametrize("value", [5.7, [5.7], torch.tensor(5.7), np.float64(5.7), [5.2, 5.0]])
def test_a_fraction_is_not_cut_to_a_whole_number(value):
    truth = torch.full(np.shape(value), 5)
    assert "off by" in hint_for(value, truth)


@pytest.mark.parametrize(
    "value",
    [(1.0, 2.0), [1.0, 2.0], torch.tensor([1.0, 2.0]), np.array([1.0, 2.0]), {"a": 1.0, "b": 2.0}],
)
def test_things_that_are_returned_together_may_be_in_whatever_holds_them(value):
    assert list(map(float, parts(value, "(a, b)"))) == [1, 2]
    with pytest.raises(Wrong, match=r"Return the triple \(a, b, c\).* got 2 things"):
        parts(value, "(a, b, c)")


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (torch.tensor([0.5]), "shape (1,)"),
        (True, "bool"),
        ("0.5", "str"),
        (float("nan"), "NaN"),
        (-0.5, "sign"),
        (0.25, "0.5 times"),
        (0.35, "off by up to 0.15"),
        (0.0, "off by up to 0.5"),
    ],
)
def test_what_is_no_number_or_the_wrong_one(value, got):
    assert got in hint_for(value, torch.tensor(0.5, dtype=torch.float64))


def test_zeros_and_booleans_can_be_the_truth():
    expect(torch.zeros(2), torch.zeros(2))
    assert "off by up to 1" in hint_for(torch.ones(2), torch.zeros(2))
    expect(torch.tensor([True, False]), torch.tensor([True, False]))
    assert "off" in hint_for(torch.tensor([True, True]), torch.tensor([True, False]))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(seeds, st.floats(-6, 6), st.floats(1e-4, 10) | st.floats(-10, -1e-4))
def test_scale_does_not_matter_and_a_factor_is_found(seed, exponent, factor):
    truth = randn(5, seed=seed) * 10**exponent
    expect(truth * (1 + 1e-8), truth, atol=0)
    if abs(factor - 1) > 1e-3:
        hint = hint_for(factor * truth, truth, atol=0)
        assert f"{factor:.4g} times" in hint or (abs(factor + 1) < 1e-3 and "sign" in hint)


def test_a_mistake_may_have_another_shape_or_dtype():
    row = {"one row only": TRUTH[0], "in half": (TRUTH / 2).float()}
    assert hint_for(TRUTH[0], TRUTH, row) == "one row only"
    assert hint_for((TRUTH / 2).float(), TRUTH, row) == "in half"
    # No picture can be drawn of it.
    with pytest.raises(Wrong) as wrong:
        expect(TRUTH[1], TRUTH, picture=lambda value: "drawn")
    assert wrong.value.picture is None


def test_a_hint_about_numbers_brings_its_picture():
    with pytest.raises(Wrong) as wrong:
        expect(-TRUTH[0], TRUTH[0], picture=lambda value: ("drawn", value))
    drawn, value = wrong.value.picture
    assert drawn == "drawn" and torch.equal(value, -TRUTH[0])


def write(x):
    x[0] = 0
    return x


def backward(x, model):
    model(x).sum().backward()
    return x


def test_a_call_gives_what_the_function_returns():
    assert call(lambda a, b: a + b, 1, 2) == 3
    leaf = randn(2).requires_grad_()
    leaf.grad = torch.ones_like(leaf)  # was there before
    assert call(lambda x: 2 * x, leaf).shape == (2,)


@pytest.mark.parametrize(
    ("function", "arguments", "hint"),
    [
        (write, (randn(3),), "changed x in place"),
        (lambda pieces: write(pieces["w"]), ({"w": randn(3)},), "changed pieces in place"),
        (lambda m: m.weight.data.zero_(), (torch.nn.Linear(2, 2),), "changed m in place"),
        (lambda x: x.resize_(2), (randn(3),), "changed x in place"),
        (backward, (randn(2).float(), torch.nn.Linear(2, 2)), "left a gradient in model"),
        (3.5, (), "Expected a function, got the float 3.5"),
    ],
)
def test_a_call_sees_what_should_not_happen(function, arguments, hint):
    with pytest.raises(Wrong, match=hint):
        call(function, *arguments)


@pytest.mark.parametrize("stub", [None, ..., (1, ...), [...]])
def test_stubs_are_not_attempted(stub):
    with pytest.raises(NotAttempted):
        attempted(stub)
    with pytest.raises(NotAttempted):
        call(lambda: stub)


def test_an_expected_error():
    expect_error(lambda x: [][x], 1, error=IndexError, hint="no")
    with pytest.raises(Wrong, match="negative μ"):
        expect_error(lambda x: x, -1.0, hint="A negative μ should raise ValueError.")


@pytest.fixture
def made_up(monkeypatch):
    """Exercises registered in a test are gone after it; they are called 00.test and so on."""
    for notebook in SERIES:
        register.exercises(notebook.number)  # what is imported only now would be lost after it
    monkeypatch.setattr(register, "_EXERCISES", dict(register._EXERCISES))


def test_a_stub_that_computes_with_dots_is_not_attempted(made_up):
    @exercise("00.test")
    def judge(answer):
        return correct(f"{call(answer, randn(3)):.1f}")

    assert check("00.test", lambda x: x - ...).status == "not attempted yet"
    assert check("00.test", lambda x: torch.dot(x, ...)).status == "not attempted yet"
    feedback = check("00.test", lambda x: x[7])
    assert feedback.status == "almost" and "IndexError" in feedback.message


def test_cases_are_fresh_and_a_seed_makes_them_again(made_up, monkeypatch):
    seen = []

    @exercise("00.test")
    def judge(answer):
        seen.append((randn_of(2), torch.rand(1), integer(1, 10**6), uniform(0, 1)))
        return correct("")

    asked = check("00.test", 1, seed=7)
    monkeypatch.setenv("RLHF_SEED", "7")
    check("00.test", 1)
    monkeypatch.delenv("RLHF_SEED")
    fresh = [check("00.test", 1).seed for _ in range(2)]
    first, again, *others = ([float(x.sum() if hasattr(x, "sum") else x) for x in s] for s in seen)
    assert asked.seed == 7 and first == again
    assert all(a != b for other in others for a, b in zip(first, other, strict=True))
    assert fresh[0] != fresh[1]
    for bad in ("seven", -1, 0.5):
        with pytest.raises(ValueError, match="expected a whole number"):
            check("00.test", 1, seed=bad)


def test_names_are_checked_when_a_check_is_registered(made_up):
    with pytest.raises(ValueError, match="number of a notebook"):
        exercise("hvp")
    with pytest.raises(ValueError, match="a name of its own for each check, got"):
        exercise("00.same_rest")(lambda answer: correct(""))


@pytest.fixture
def panel(made_up):
    @goal("00.test", damping=1.0)
    def reached(records, values):
        loss = records[-1].loss
        return correct(f"{values['damping']:g}") if loss < 0.3 else Feedback("almost", f"{loss}")

    def run(damping, rate):
        if rate == 9:
            raise ArithmeticError("too fast")
        for step in itertools.count() if rate == 8 else range(3):
            yield Record(step, loss=min(rate, 1.0) ** step)

    return Panel(
        run,
        [
            slider("damping", "μ", low=0.0, high=2.0, step=0.5, value=0.5),
            slider("rate", "rate", low=0.0, high=9.0, step=0.1, value=0.9),
        ],
        on_release=False,
    )


def test_a_goal_counts_a_whole_run_with_its_settings(panel):
    asked = "end of a run with damping μ = 1,"
    assert asked in check("00.test", panel).message  # nothing has run
    panel.run(damping=0.5)
    assert asked in check("00.test", panel).message
    panel.run(damping=1.0)
    assert check("00.test", panel).message == repr(0.9**2)
    panel.run(damping=1.0, rate=0.5)
    assert check("00.test", panel).message == "1"
    panel.reset()  # the controls are not those of the run any more
    assert check("00.test", panel).status == "not attempted yet"


def test_a_goal_does_not_count_a_control_that_was_moved_after_the_run(panel):
    panel.run(damping=0.5, rate=0.5)
    panel._controls["damping"].widget.value = 1.0  # as the page does
    assert check("00.test", panel).status == "not attempted yet"


def test_a_goal_says_when_a_run_was_stopped_or_failed(panel):
    with pytest.raises(ArithmeticError):
        panel.run(damping=1.0, rate=9)
    assert "not attempted" in check("00.test", panel).status  # not one record
    panel._controls["rate"].widget.value = 8
    run = panel._start()
    while not run.records:
        run.done.wait(0.01)
    panel.stop()
    assert "was stopped" in check("00.test", panel).message
    assert "the panel itself" in check("00.test", 3).message


def test_a_picture_is_drawn_with_its_sentence():
    x = torch.linspace(-1, 1, 5)
    picture = Curves(x, x**2, x**3, title="Powers", x_title="θ")
    assert picture.readout == "The two curves are farthest apart, by 2, at θ = -1."
    target, answer = picture.figure().widget.data
    assert target["name"] == "target" and answer["name"] == "your answer"
    assert target["y"] == [1, 0.25, 0, 0.25, 1] and answer["y"][0] == -1
    low, high = picture.figure().widget.axes["yaxis"]["range"]
    assert -1.2 < low < -1 and 1 < high < 1.2

    bundle = Feedback("almost", "a < b", picture)._repr_mimebundle_()
    assert bundle["text/plain"] == "✗ Not yet. a < b"
    assert any("widget-view" in kind for kind in bundle)


def test_a_picture_keeps_its_axes_where_an_answer_explodes():
    picture = Curves([0, 1, 2], [0.0, 1.0, 2.0], [0.0, 1.0, 1e9])
    assert picture.figure().widget.axes["yaxis"]["range"][1] < 5
    assert Curves([0, 1], [1.0, 2.0], [1.0, 2.0]).readout == "The two curves lie on one another."


def test_feedback_without_a_picture_is_text():
    assert correct("Yes.")._repr_mimebundle_() == {"text/plain": "✓ Correct. Yes."}
