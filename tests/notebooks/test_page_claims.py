"""The claims of the course, and the tool that finds sentences with numbers and no claim."""

import nbformat
import pytest
from nbformat import v4

from tools import claims
from tools.claims import Claim, between, claim, missing_sentences, near
from tools.notebooks import SOLUTIONS
from tools.number_claims import numbers, sentences, unheld
from tools.page_rules import page_faults

SOURCES = sorted(SOLUTIONS.glob("*.ipynb"))
EVERY = pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])


@EVERY
def test_every_sentence_with_a_number_has_a_claim_or_stands_beside_its_cell(path):
    assert unheld(nbformat.read(path, as_version=4), claims.of_notebook(path)) == []


@EVERY
def test_a_page_belongs_to_its_reader(path):
    assert page_faults(nbformat.read(path, as_version=4)) == []


@EVERY
def test_every_notebook_has_claims_and_they_quote_it(path):
    found, notebook = claims.of_notebook(path), nbformat.read(path, as_version=4)
    assert len(found) >= 3
    assert {c.name: missing_sentences(c, notebook) for c in found} == {c.name: [] for c in found}


def made_up(*sentences_):
    return Claim("made_up", sentences_, None, 0, None)


def page(text, *code):
    cells = [v4.new_markdown_cell(text)]
    for source, printed in code:
        outputs = [v4.new_output("stream", text=printed)] if printed else []
        cells.append(v4.new_code_cell(source, outputs=outputs))
    return v4.new_notebook(cells=cells)


@pytest.mark.parametrize(
    "text",
    [
        "The loss falls to 0.62.",
        "It takes 12 steps.",
        "There are 1,923,074 weights.",
        "The norm is $\\|d\\| = 3.5$.",
        "It rose by 41 %.",
        "- a point: 0.3 is too much",
        "Here $3 \\cdot 0.4^2 - 1 = -0.52$.",
    ],
)
def test_a_number_in_prose_wants_a_claim(text):
    assert len(unheld(page(text), [])) == 1
    assert unheld(page(text), [made_up(text)]) == []


@pytest.mark.parametrize(
    "text",
    [
        "Notebook 05 builds them, and notebooks 04 and 07 use them.",
        "By (3) and (4) it holds.",
        "See Nocedal and Wright (2006, section 3.4, eq. 3.30).",
        "$\\tfrac12 x^2 + \\theta_{12}$",
        "$$x = 0.62$$",
        "`x = 0.62`",
        "In float64 it is exact.",
        "Exercise 2 asks for it.",
        "## A heading of 12 words",
        "Is it 12 or 13?",
        "It is 0 or 1.",
        "<details><summary>Hint 1</summary>Take 0.3.</details>",
        "# References\n\n- A. Author, pages 12 to 34, 1999.",
        "[05](05_conjugate_gradients.ipynb) has it.",
    ],
)
def test_names_formulas_and_questions_want_none(text):
    assert unheld(page(text), []) == []


def test_a_number_beside_its_cell_is_held_by_it():
    text = "The loss falls to 0.62 in 12 steps, by 41 %."
    assert unheld(page(text, ("steps = 12", "0.6184 0.4101\n")), []) == []
    assert len(unheld(page(text, ("steps = 12", "0.6284 0.4101\n")), [])) == 1
    assert len(unheld(page(text, ("steps = 13", "0.6184 0.4101\n")), [])) == 1


def test_an_output_that_is_not_compared_holds_nothing():
    notebook = page("The loss falls to 0.62.", ("run()", "0.62\n"))
    notebook.cells[1].metadata["compare"] = {"chaotic": True}
    assert len(unheld(notebook, [])) == 1
    notebook.cells[1].metadata = {"tags": ["nbval-ignore-output"]}
    assert len(unheld(notebook, [])) == 1


def test_numbers_have_the_precision_with_which_they_are_written():
    assert numbers("about 21,700") == [(21700.0, 50.0)]
    assert numbers("0.62") == [(0.62, 0.005)]
    assert numbers("12") == [(12.0, 0.0)]
    assert sentences("One. Two (2) here: three.\n\n- four\n- five") == [
        "One.",
        "Two (2) here: three.",
        "- four",
        "- five",
    ]


def test_claims_are_read_in_order_with_what_they_quote(tmp_path):
    path = tmp_path / "claims_97.py"
    path.write_text(
        "from tools.claims import claim\n\n"
        "@claim('b', 'c')\ndef second(x):\n    pass\n\n"
        "@claim('a')\ndef first():\n    pass\n\ndef helper():\n    pass\n"
    )
    found = claims._read(path)
    assert [(c.name, c.sentences) for c in found] == [("second", ("b", "c")), ("first", ("a",))]
    claims.run(path, "second", {"x": 1})
    with pytest.raises(LookupError, match="the notebook has no x"):
        claims.run(path, "second", {})


def test_a_claim_without_a_sentence_is_refused():
    with pytest.raises(ValueError, match="names the sentence"):
        claim()
    with pytest.raises(ValueError, match="names the sentence"):
        claim("  ")


def test_near_and_between_say_what_was_expected():
    assert near(1.0005, 1) and near(1e-10, 0) and between(2, 1, 3)
    with pytest.raises(AssertionError, match=r"expected 1 within .*, got 1\.01"):
        near(1.01, 1)
    with pytest.raises(AssertionError, match="got nan"):
        near(float("nan"), 1)
    with pytest.raises(AssertionError, match="expected between 1 and 3, got nan"):
        between(float("nan"), 1, 3)


def test_the_page_rules_see_plumbing_booleans_and_asserts():
    long = "\n".join(f"x{i} = {i}" for i in range(40))
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("## One"),
            v4.new_code_cell(long),
            v4.new_code_cell(
                "panel = Panel(f, [slider('a', 'a', low=0, high=1, step=1, value=0)])"
            ),
            v4.new_code_cell(
                "print(a > b)", outputs=[v4.new_output("stream", text="above: True\n")]
            ),
            v4.new_code_cell("assert a\nassert b"),
            v4.new_code_cell("print(table)", outputs=[v4.new_output("stream", text="1\n" * 12)]),
            v4.new_markdown_cell("## Two"),
            v4.new_code_cell("assert c", outputs=[v4.new_output("stream", text="f(x=True)\n")]),
        ]
    )
    found = page_faults(notebook)
    for word in (
        "40 lines",
        "builds Panel",
        "prints True or False",
        "an assert beside",
        "12 lines",
    ):
        assert sum(word in fault for fault in found) == 1, (word, found)
    assert len(found) == 5
