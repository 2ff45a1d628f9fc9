"""The page of terms: one symbol, one meaning; links from the first use of each term."""

import re
from itertools import chain

import nbformat
import pytest
from nbformat import v4

from rlhf_course.glossary import GLOSSARY
from rlhf_course.series import BY_NUMBER
from tools.course_build import SOLUTIONS
from tools.glossary_page import PAGE, anchor, link_terms, page

TARGET = re.compile(rf'\]\({re.escape(PAGE)}#([\w-]+) "([^"]*)"\)')


def test_no_symbol_and_no_word_has_two_meanings():
    for found in (
        [term.symbol for term in GLOSSARY if term.symbol],
        [word.lower() for term in GLOSSARY for word in (term.name, *term.also)],
        [anchor(term) for term in GLOSSARY],
    ):
        assert len(found) == len(set(found))
    for term in GLOSSARY:
        assert term.notebook in BY_NUMBER and term.meaning.endswith(".")
        assert not set('"|[]') & set(term.meaning)  # it is the title of a link, in tables too


def test_the_page_is_made_from_the_terms():
    assert (SOLUTIONS.parent / PAGE).read_text(encoding="utf-8") == page()
    headings = {line[3:] for line in page().splitlines() if line.startswith("## ")}
    assert headings == {term.name for term in GLOSSARY}


@pytest.mark.parametrize("number", BY_NUMBER)
def test_every_link_of_a_learners_notebook_leads_to_a_term(number):
    path = SOLUTIONS.parent / f"{BY_NUMBER[number].name}.ipynb"
    if not path.is_file():
        pytest.skip("not written yet")
    cells = nbformat.read(path, as_version=4).cells
    links = list(chain(*(TARGET.findall(c.source) for c in cells if c.cell_type == "markdown")))
    known = {anchor(term): term.meaning for term in GLOSSARY}
    assert len(links) == len(set(links)) > 3
    assert all(known[name] == title for name, title in links)


def test_links_stand_in_prose_alone_and_once():
    texts = [
        "# Title\n\nThe Hessian.",
        "## The Hessian\n\n$H$ `Hessian` $$Hessian$$ [Hessian](x.md) <details>Hessian</details>\n\n"
        "A **Hessian**, Hessian-free, and Hessians. CG!\n\n## References\n\n- On the saddle.",
    ]
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell(text) for text in texts])
    link_terms(notebook)
    first, second = (cell.source for cell in notebook.cells)
    assert first == texts[0]
    names = [name for name, _ in TARGET.findall(second)]
    assert names == ["hessian", "conjugate-gradients"]
    assert second.index("**[Hessian](glossary.md#hessian") < second.index("Hessian-free")
    assert second.startswith("## The Hessian\n\n$H$ `Hessian` $$Hessian$$ [Hessian](x.md) <det")
