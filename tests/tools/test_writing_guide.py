"""The example in docs/writing_notebooks.md does what the text says of it."""

import re
from pathlib import Path

import pytest
import torch

from rlhf_course import SERIES
from rlhf_course.checking import registry as register
from rlhf_course.checking.registry import check
from tools.exercise_cells import exercises_of, learner, split
from tools.notebook_text import from_text

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "writing_notebooks.md").read_text()
BLOCKS = re.findall(r"^```(?:python|text)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def block(text):
    (found,) = [b for b in BLOCKS if text in b]
    return found


@pytest.fixture
def answers(monkeypatch):
    """The names of the example's test file, its checks registered meanwhile."""
    for row in SERIES:
        register.exercises(row.number)
    # Without those of the real notebook 04, whose names the example may use.
    others = {k: v for k, v in register._EXERCISES.items() if not k.startswith("04.")}
    monkeypatch.setattr(register, "_EXERCISES", others)
    for text in ('@exercise("04.directional")', '@goal("04.epsilon"'):
        namespace = {"__package__": "rlhf_course.checks", "__name__": "rlhf_course.checks.example"}
        exec(compile(block(text), text, "exec", dont_inherit=True), namespace)
    # Not those of the notebook's file.
    monkeypatch.setattr(register, "exercises", lambda number: register._EXERCISES)
    names = {}
    exec(block("MISTAKES = {"), names)
    return names


def test_the_example_s_notebook_has_the_parts_of_an_exercise():
    source = from_text(block("def directional(f, theta, v):\n    # --- solution"))
    (exercise,) = exercises_of(source)
    assert exercise.hints == [1, 2, 3] and exercise.checks == ["04.directional"]
    assert [cell.cell_type for cell in learner(source).cells] == ["markdown", "code", "markdown"]


def test_the_example_s_solution_and_stub(answers, monkeypatch):
    source = from_text(block("def directional(f, theta, v):\n    # --- solution"))
    stub, solved = split(source.cells[1].source)
    for code, status in ((stub, "not attempted yet"), (solved, "correct")):
        said = []
        exec(code, {"torch": torch, "check": lambda *a, said=said: said.append(check(*a))})
        assert said[0].status == status, said
    assert check("04.epsilon", answers["SOLUTIONS"]["04.epsilon"])


def test_the_example_s_mistakes_get_their_hints(answers):
    for name, mistakes in answers["MISTAKES"].items():
        assert len(mistakes) >= 3
        for answer, hint in mistakes:
            feedback = check(name, answer)
            assert feedback.status == "almost" and hint in feedback.message, feedback


def test_the_guide_names_files_and_commands_that_there_are():
    root = Path(__file__).resolve().parents[2]
    folders = "rlhf_lib|rlhf_course|tests|tools|notebooks"
    for name in re.findall(rf"`((?:{folders})/[\w/.]+\.\w+)`", GUIDE):
        if not any(part in name for part in ("slug", "NN", "hessian_vector")):
            assert (root / name).is_file(), name
    commands = re.findall(r"tools/notebooks\.py (\w+)", GUIDE)
    assert set(commands) == {"fromtext", "build", "execute", "check"}
