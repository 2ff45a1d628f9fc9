"""Reviews: questions drawn anew, marked with and without widgets, each wrong answer explained."""

import pytest

from rlhf_course import review
from rlhf_course.checking.review import LETTERS

NUMBERS = ("06", "09", "17")


@pytest.mark.parametrize("number", NUMBERS)
def test_every_question_has_one_right_answer_and_says_why_the_others_tempt(number):
    questions = review(number, seed=0).questions
    assert 12 <= len(questions) == len({q.text for q in questions})
    assert {q.read for q in questions} >= {number}
    for question in questions:
        assert question.right not in question.wrong and 2 <= len(question.wrong) < len(LETTERS)
        told = [question.because, *question.wrong.values()]
        assert len(set(told)) == len(told) and all(len(why) > 12 for why in told)
        assert question.said(question.right).startswith("✓ Right.")
        for option, why in question.wrong.items():
            said = question.said(option)
            assert said.startswith("✗ No.") and why in said and question.because in said


@pytest.mark.parametrize("number", NUMBERS)
def test_a_seed_makes_the_same_five_and_without_one_they_are_new(number, monkeypatch):
    monkeypatch.delenv("RLHF_SEED")
    assert review(number, seed=7).asked == review(number, seed=7).asked
    draws = [review(number) for _ in range(12)]
    assert len({r.asked for r in draws}) == 12
    assert len({a.question for r in draws for a in r.asked}) > 9
    monkeypatch.setenv("RLHF_SEED", "7")
    assert review(number).asked == review(number, seed=7).asked
    assert len({a.options.index(a.question.right) for r in draws for a in r.asked}) == 4


def letters(asked, right=True):
    return "".join(
        LETTERS[[(o == a.question.right) is right for o in a.options].index(True)] for a in asked
    )


def test_answers_are_marked_without_widgets():
    asked = review("06", seed=3)
    assert asked.answer(letters(asked.asked)).score == 5
    marked = asked.answer(*letters(asked.asked, right=False))
    assert marked.score == 0 and repr(marked).count("✗ No.") == 5
    assert all(a.question.text in repr(asked) for a in asked.asked)
    assert not any(a.question.because in repr(asked) for a in asked.asked)
    for bad in ("abc", "abcdz", ""):
        with pytest.raises(ValueError, match="expected 5 letters"):
            asked.answer(bad)
    with pytest.raises(ValueError, match="expected a review after notebook 06, 09, 17, got '05'"):
        review("05")


def test_the_widget_answers_each_choice_and_draws_another_five(monkeypatch):
    monkeypatch.delenv("RLHF_SEED")
    shown = review("09", seed=1)
    first, *_, score, again = shown.widget.children
    asked = shown.asked[0]
    wrong = next(iter(asked.question.wrong))
    first.value = wrong
    assert asked.question.wrong[wrong] in first.status and score.text == "0 right, 1 of 5 answered."
    first.value = asked.question.right
    assert first.status.startswith("✓ Right.") and score.text == "1 right, 1 of 5 answered."
    again.click()
    assert len(shown.widget.children) == 7 and shown.widget.children[0] is not first
    assert shown.seed != 1 and score.text.startswith("Choose")
    assert repr(shown) == shown._repr_mimebundle_()["text/plain"]
