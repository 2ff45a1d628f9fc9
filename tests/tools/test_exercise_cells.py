"""Stubs for the learner, solutions folded, and the parts of an exercise."""

import copy

import nbformat
import pytest
from nbformat import v4

from tools.exercise_cells import checks_in, exercises_of, learner, split
from tools.notebook_state import KERNEL

CELL = """\
import math

def area(r):
    # --- solution
    # the learner's own comment
    return math.pi * r**2
    # --- stub
    # if r < 0:
    #     return 0
    # return ...
    # --- end

# --- solution
unit = area(1)
# --- stub
# unit = ...
# --- end
check("00.test", area)"""


def test_stub_and_solution_are_split_and_both_run():
    stub, solved = split(CELL)
    assert stub == (
        "import math\n\ndef area(r):\n    if r < 0:\n        return 0\n    return ...\n\n"
        'unit = ...\ncheck("00.test", area)'
    )
    assert "# ---" not in solved and "    # the learner's own comment\n    return math" in solved
    for source, expected in ((stub, ...), (solved, pytest.approx(3.14159, 1e-5))):
        handed = {}
        exec(source, {"check": handed.__setitem__})
        assert handed["00.test"](1) == expected


def test_a_cell_without_markers_stays_as_it_is():
    assert split("a = 1\n# --8<--\n") == ("a = 1\n# --8<--\n",) * 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("# --- solution\n1", "'# --- stub' is missing"),
        ("# --- solution\n1\n# --- stub\n# ...", "'# --- end' is missing"),
        ("# --- stub\n# ...\n# --- end", "line 1: '# --- stub' where '# --- solution'"),
        ("# --- solution\n1\n# --- end", "line 3"),
        (
            "# --- solution\n1\n# --- stub\n...\n# --- end",
            "line 4: the stub is written as comments",
        ),
        ("# --- Solution\n1", "is no marker"),
    ],
)
def test_wrong_markers_are_named(source, message):
    with pytest.raises(ValueError, match=message):
        split(source)


def source_notebook():
    return v4.new_notebook(
        metadata={"kernelspec": KERNEL},
        cells=[
            v4.new_markdown_cell("# 00 · Start here", id="title"),
            v4.new_code_cell("from rlhf_course import check", id="import", execution_count=1),
            v4.new_markdown_cell(
                "## Exercise 1 (★★, 5 minutes): area\n\nText.\n\n```python\n# no heading\n```\n\n"
                + "\n".join(
                    f"<details><summary>Hint {i}</summary>So.</details>" for i in (1, 2, 3)
                ),
                id="exercise",
            ),
            v4.new_code_cell(
                CELL,
                id="area",
                metadata={"tags": ["nbval-ignore-output"]},
                execution_count=2,
                outputs=[v4.new_output("stream", text="secret")],
            ),
            v4.new_markdown_cell("Pi times r squared.", id="why", metadata={"tags": ["solution"]}),
            v4.new_markdown_cell("## Summary", id="summary"),
        ],
    )


def test_the_learner_gets_the_stub_and_the_solution_folded():
    source = source_notebook()
    before = copy.deepcopy(source)
    made = learner(source)
    nbformat.validate(made)
    assert source == before
    assert [cell.id for cell in made.cells] == [
        "title",
        "import",
        "exercise",
        "area",
        "area-solution",
        "summary",
    ]
    stub, fold = made.cells[3], made.cells[4]
    assert stub.source == split(CELL)[0] and stub.metadata == {"tags": ["nbval-ignore-output"]}
    assert all(
        c.outputs == [] and c.execution_count is None for c in made.cells if c.cell_type == "code"
    )
    assert fold.cell_type == "markdown"
    assert fold.source.startswith("<details><summary>Solution</summary>\n\n```python\nimport math")
    assert "unit = area(1)\n```\n\nPi times r squared.\n\n</details>" in fold.source
    assert "check(" not in fold.source
    assert [cell.source for cell in made.cells[:3]] == [cell.source for cell in source.cells[:3]]


def test_an_explanation_without_a_solution_is_named():
    source = source_notebook()
    del source.cells[3]
    with pytest.raises(ValueError, match="cell 3: tagged solution"):
        learner(source)


def test_exercises_are_found_with_their_parts():
    (exercise,) = exercises_of(source_notebook())
    assert exercise.title == "Exercise 1 (★★, 5 minutes): area"
    assert exercise.hints == [1, 2, 3] and exercise.checks == ["00.test"] and exercise.solved
    assert [cell.id for cell in exercise.cells] == ["exercise", "area", "why"]


@pytest.mark.parametrize(
    "heading",
    [
        "## Exercise 1: area",
        "## Exercise 1 (hard, 5 minutes): area",
        "Text\n\n## Exercise 1 (★, 5 minutes): area",
        "#### Exercise 1 (★, 5 minutes): area",
        "## Exercise 1 (★, 5 minutes):",
    ],
)
def test_headings_of_another_form_are_named(heading):
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(heading)])
    with pytest.raises(ValueError, match="cell 0: begin a cell with"):
        exercises_of(notebook)


def test_checks_are_read_from_the_code_not_from_text():
    code = 'x = check("00.a", 1)\nprint("check(\'00.b\', 1)")  # check("00.c", 1)\ncheck(name, 1)'
    assert checks_in(v4.new_code_cell(code)) == ["00.a"]
    assert checks_in(v4.new_code_cell("%time check('00.a', 1)")) == []
