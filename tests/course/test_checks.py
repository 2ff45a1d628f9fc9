"""Exercises: a stub is not attempted, the solution is correct, each mistake has its own hint.

The answers of notebook NN_slug are in `tests/exercises/nbNN.py`: MISTAKES, name -> list of
(answer, part of its hint), RIGHT, name -> list of other answers that are right, and SOLUTIONS for
those whose cell cannot run by itself.
"""

from importlib import import_module
from importlib.util import find_spec

import pytest
import torch
from answers import Shown, written_answer

from rlhf_course import SERIES, check
from rlhf_course.checking.registry import exercises

MISTAKES, RIGHT, SOLUTIONS, GOALS, BROKEN = {}, {}, {}, {}, {}
for notebook in SERIES:
    try:
        GOALS |= {name: e.goal for name, e in exercises(notebook.number).items()}
        if find_spec(f"exercises.nb{notebook.number}"):
            answers = import_module(f"exercises.nb{notebook.number}")
            MISTAKES |= answers.MISTAKES
            RIGHT |= getattr(answers, "RIGHT", {})
            SOLUTIONS |= getattr(answers, "SOLUTIONS", {})
    except Exception as error:  # of one notebook; the tests of the others go on
        BROKEN[notebook.name] = error

EVERY = pytest.mark.parametrize("name", GOALS)


def solution(name):
    return SOLUTIONS[name] if name in SOLUTIONS else written_answer(name)


def test_every_file_of_checks_and_answers_can_be_imported():
    assert BROKEN == {}


def test_answers_are_given_to_exercises_that_there_are():
    assert set(MISTAKES) | set(RIGHT) | set(SOLUTIONS) <= set(GOALS)


@EVERY
def test_there_are_six_mistakes_with_three_hints_and_three_right_answers(name):
    mistakes = MISTAKES.get(name, [])
    assert len(mistakes) >= 6 and len({hint for _, hint in mistakes}) >= 3
    assert len(RIGHT.get(name, [])) >= 3


@EVERY
def test_the_solution_is_correct(name):
    feedback = check(name, solution(name))
    assert feedback, feedback
    assert repr(feedback).startswith("✓ Correct. ")


@EVERY
def test_the_stub_is_not_attempted(name):
    stub = Shown(status="Press Run.") if GOALS[name] else written_answer(name, solved=False)
    for answer in (..., None, stub):
        feedback = check(name, answer)
        assert feedback.status == "not attempted yet", feedback


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes],
    ids=[f"{name}-{hint}" for name, mistakes in MISTAKES.items() for _, hint in mistakes],
)
def test_each_mistake_gets_its_own_hint(name, answer, hint):
    feedback = check(name, answer)
    assert feedback.status == "almost", feedback
    assert hint in feedback.message, feedback


@pytest.mark.parametrize(
    ("name", "answer"),
    [(name, answer) for name, answers in RIGHT.items() for answer in answers],
    ids=[f"{name}-{k}" for name, answers in RIGHT.items() for k in range(len(answers))],
)
def test_a_right_answer_in_another_style_is_correct(name, answer):
    feedback = check(name, answer)
    assert feedback, feedback


@pytest.mark.slow
@EVERY
def test_fresh_cases_tell_right_from_wrong_as_well(name):
    for seed in range(1, 6):
        for answer in [solution(name), *RIGHT.get(name, [])]:
            feedback = check(name, answer, seed=seed)
            assert feedback, (seed, feedback)
        for answer, _ in MISTAKES.get(name, []):
            feedback = check(name, answer, seed=seed)
            assert feedback.status == "almost", (seed, feedback)


@EVERY
def test_a_check_leaves_torch_as_it_was(name):
    torch.manual_seed(3)
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    check(name, solution(name))
    assert torch.equal(torch.get_rng_state(), state) and torch.get_default_dtype() == dtype


@pytest.mark.parametrize("name", ["99.none", "00.none", "none", ""])
def test_an_unknown_exercise_is_named_with_the_known_ones(name):
    with pytest.raises(ValueError, match=r"00\.ridge_minimum.*03\.safe_damping"):
        check(name, 1)
