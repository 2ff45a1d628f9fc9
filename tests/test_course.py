"""Exercises: a stub is not attempted, the solution is correct, each mistake has its own hint."""

import pytest
import torch

from rlhf_lib.course import check
from rlhf_lib.course.feedback import _CHECKS


def ridge(shift=lambda lam, n: lam, sign=1):
    def answer(X, y, lam):
        n, p = X.shape
        matrix = X.T @ X / n + shift(lam, n) * torch.eye(p, dtype=X.dtype)
        return sign * torch.linalg.solve(matrix, X.T @ y / n)

    return answer


def safe(H, margin):
    return max(0.0, margin - float(torch.linalg.eigvalsh(H)[0]))


def in_place(H, margin):
    answer = safe(H, margin)
    H += answer * torch.eye(len(H), dtype=H.dtype)
    return answer


def closure(model, x, y):
    outputs = model(x)
    return torch.nn.functional.cross_entropy(outputs, y), outputs


def with_backward(model, x, y):
    loss, outputs = closure(model, x, y)
    loss.backward(retain_graph=True)
    return loss, outputs


def summed(model, x, y):
    outputs = model(x)
    return torch.nn.functional.cross_entropy(outputs, y, reduction="sum"), outputs


def softmaxed(model, x, y):
    outputs = model(x).softmax(1)
    return torch.nn.functional.cross_entropy(outputs, y), outputs


def central(gradient, theta, v, eps):
    return (gradient(theta + eps * v) - gradient(theta - eps * v)) / (2 * eps)


SOLUTIONS = {
    "00.same_rest": "AB",
    "00.ridge_minimum": ridge(),
    "03.least_damping": 0.9,
    "03.safe_damping": safe,
    "10.closure": closure,
    "10.finite_difference": central,
}

MISTAKES = [
    ("00.same_rest", "AC", "different functions"),
    ("00.same_rest", "c, b", "another λ"),
    ("00.same_rest", "all", "two of the letters"),
    ("00.ridge_minimum", ridge(lambda lam, n: 0.0), "λ is missing"),
    ("00.ridge_minimum", ridge(lambda lam, n: lam / n), "divide both"),
    ("00.ridge_minimum", ridge(lambda lam, n: 2 * lam), "not 2λ"),
    ("00.ridge_minimum", ridge(sign=-1), "sign"),
    ("00.ridge_minimum", lambda X, y, lam: X.T @ X, "shape"),
    ("00.ridge_minimum", lambda X, y, lam: X.no_such_method(), "AttributeError"),
    ("03.least_damping", 0.88, "not above zero"),
    ("03.least_damping", 0.54, "not above zero"),
    ("03.least_damping", 0.94, "smaller μ"),
    ("03.safe_damping", lambda H, m: safe(H, 0.0), "margin is missing"),
    ("03.safe_damping", lambda H, m: m - float(torch.linalg.eigvalsh(H)[0]), "not be negative"),
    ("03.safe_damping", lambda H, m: max(0.0, m - float(H.diagonal().min())), "not the spectrum"),
    ("03.safe_damping", lambda H, m: m + float(torch.linalg.eigvalsh(H).abs().max()), "the least"),
    ("03.safe_damping", in_place, "in place"),
    ("03.safe_damping", lambda H, m: 0.0, "below the margin"),
    ("10.closure", with_backward, "No backward"),
    ("10.closure", lambda m, x, y: closure(m, x, y)[0], "outputs, too"),
    ("10.closure", lambda m, x, y: closure(m, x, y)[::-1], "order"),
    ("10.closure", summed, "mean"),
    ("10.closure", softmaxed, "softmax"),
    ("10.closure", lambda m, x, y: tuple(t.detach() for t in closure(m, x, y)), "graph is cut"),
    ("10.finite_difference", lambda g, t, v, e: -central(g, t, v, e), "sign"),
    ("10.finite_difference", lambda g, t, v, e: 2 * central(g, t, v, e), "2ε"),
    ("10.finite_difference", lambda g, t, v, e: 2 * e * central(g, t, v, e), "divided"),
    ("10.finite_difference", lambda g, t, v, e: (g(t + e * v) - g(t)) / e, "one-sided"),
]


def test_every_exercise_has_a_solution_and_three_mistakes_here():
    assert set(SOLUTIONS) == set(_CHECKS)
    for name in _CHECKS:
        assert sum(mistake[0] == name for mistake in MISTAKES) >= 3, name


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_solution_is_correct(name):
    feedback = check(name, SOLUTIONS[name])
    assert feedback, feedback
    assert repr(feedback).startswith("✓ Correct")


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_stub_is_not_attempted(name):
    assert check(name, ...).status == "not attempted yet"
    if callable(SOLUTIONS[name]):
        assert check(name, lambda *arguments: ...).status == "not attempted yet"


@pytest.mark.parametrize(("name", "answer", "hint"), MISTAKES)
def test_each_mistake_gets_its_own_hint(name, answer, hint):
    feedback = check(name, answer)
    assert feedback.status == "almost", feedback
    assert hint in feedback.message, feedback


def test_an_unknown_exercise_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"00\.ridge_minimum"):
        check("99.none", 1)
