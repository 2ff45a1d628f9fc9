"""The converter of `make site`, on made-up notebooks; the real site is tested in a browser."""

import base64
import io
import re

import bs4
import pytest
from nbformat import v4, write
from PIL import Image

from rlhf_course.glossary import Term
from rlhf_course.series import BY_NUMBER
from tools.site.formulas import formula
from tools.site.glossary import Glossary
from tools.site.links import Links
from tools.site.notebook import read

TERMS = (
    Term("damping", "μ", "What is added to the curvature.", "03"),
    Term("Gauss-Newton matrix", "G", "Curvature of the loss alone.", "07"),
)


def png(width):
    held = io.BytesIO()
    Image.new("RGB", (width, 375), "white").save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


def shown(source, text, **data):
    output = v4.new_output("execute_result", {"text/plain": text, **data}, execution_count=1)
    return v4.new_code_cell(source, outputs=[output], execution_count=1)


@pytest.fixture
def page(tmp_path):
    """`page(cell, ...)` is the soup of a notebook 03 of these cells."""

    def made(*cells, terms=(), book=False):
        notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# 03 · Title"), *cells])
        path = tmp_path / "03_saddles_and_damping.ipynb"
        write(notebook, path)
        row, links = BY_NUMBER["03"], Links(book)
        html = read(row, path, tmp_path, links, Glossary(terms, book)).html
        return bs4.BeautifulSoup(html, "html.parser")

    return made


@pytest.mark.parametrize(
    "latex, wanted",
    [
        (r"\lVert x\rVert", ["prefix", "postfix"]),  # bars know which side they are on
        (r"|a| = |b|", ["prefix", "postfix", None, "prefix", "postfix"]),
        (r"a = -b", [None, "prefix"]),  # a sign, not a difference
        (r"a - b", [None]),
    ],
)
def test_operators_know_their_form(latex, wanted):
    soup = bs4.BeautifulSoup(formula(latex), "html.parser")
    assert [mo.get("form") for mo in soup.find_all("mo")] == wanted


def test_formulas_beside_each_other_may_stand_below_each_other():
    soup = bs4.BeautifulSoup(
        formula(r"\sqrt{x} = \max(y, 0), \qquad z = \frac{a \qquad b}{\text{c}} \tag{7}", True),
        "html.parser",
    )
    assert len(soup.find_all("math")) == 2 and soup.find(class_="tag").text == "(7)"
    assert soup.find("mi", string="max") and soup.find("msqrt")["class"] == ["line"]


@pytest.mark.parametrize("latex", [r"\unheard x", r"\frac{a", "", r"\left( a"])
def test_a_formula_that_is_none_is_named(latex):
    with pytest.raises(ValueError, match=r"expected .*formula|expected known commands"):
        formula(latex)


def test_links_lead_to_pages_and_headings(page):
    text = (
        "## The way\n\nSee [08](08_how_far_to_trust.ipynb), [there](02_newton_exact_hessian.ipynb"
        "#The-formula), [here](#The-way) and [out](https://a.example/b)."
    )
    wanted = [
        "08_how_far_to_trust.html",
        "02_newton_exact_hessian.html#The-formula",
        "#The-way",
        "https://a.example/b",
    ]
    soup = page(v4.new_markdown_cell(text))
    assert [a["href"] for a in soup.find("p").find_all("a")] == wanted
    assert soup.find(id="The-way").name == "h2"
    printed = page(v4.new_markdown_cell(text), book=True)
    assert [a["href"] for a in printed.find("p").find_all("a")][:3] == [
        "#n08",
        "#n02-The-formula",
        "#n03-The-way",
    ]
    assert printed.find(id="n03-The-way")
    with pytest.raises(ValueError, match="expected a link to a notebook of the course"):
        page(v4.new_markdown_cell("[x](99_none.ipynb)"))


def test_a_panel_is_a_place_with_its_picture(page, tmp_path):
    panel = {"image/png": png(1258)}
    soup = page(
        shown("panel", "Panel: A < B\nStep 1.", **panel),
        shown("chart", "A chart\nIt falls.", **{"image/png": png(625)}),
        shown("other", "Panel: Second", **panel),
    )
    first, second = soup.find_all(class_="panel")
    assert first["data-panel"] == "1" and first["data-title"] == "A < B"
    assert second["data-panel"] == "2" and second["data-notebook"] == "03"
    assert [image["width"] for image in first.find_all("img")] == ["500", "500"]
    assert [image["alt"] for image in first.find_all("img")] == ["Step 1.", ""]
    for image in soup.find_all("img"):
        assert Image.open(tmp_path / image["src"]).size == (625, 375)
    assert soup.find("figure", class_=None).figcaption.text == "It falls."


def test_code_is_folded_and_an_exercise_is_open(page):
    soup = page(
        shown("x = 1\nx", "1"),
        v4.new_markdown_cell(
            "## Exercise 1 (★, 5 minutes): it\n\n"
            "<details><summary>Hint 1</summary>Try $a < b$.</details>"
        ),
        shown('answer = ...\ncheck("03.it", answer)', "… Not attempted yet. Replace the ..."),
    )
    folded = soup.find("details", class_="code")
    assert "2 lines" in folded.summary.text and not folded.has_attr("open")
    exercise = soup.find("section", class_="exercise")
    assert exercise.find("pre").find_parent("details") is None
    assert exercise.find("details").find("math").find("mo").text == "<"
    assert "needs Python" in exercise.text and "Not attempted" not in soup.text


def test_a_prediction_has_what_the_kernel_would_answer(page):
    soup = page(shown('predict("03.undamped")', "..."), shown('look_back("03.undamped")', "..."))
    asked, told = soup.find_all(class_="entry")
    assert "saddle" in asked.text and "answers" not in asked["data-entry"]
    assert "Show the result" in told.text and '"answers"' in told["data-entry"]


def test_a_table_keeps_its_numbers_at_the_right_and_no_ids(page):
    from rlhf_course.table import Table

    table = Table([{"method": "A<B", "loss": 0.25}], caption="Losses")
    soup = page(shown("table", repr(table), **{"text/html": table._repr_html_()}))
    found = soup.find("table")
    assert found.caption.text == "Losses" and not found.find_all(id=True)
    assert [cell.get("class") for cell in found.find_all("td")] == [None, ["number"]]
    assert found.find("td").text == "A<B"


def test_terms_and_symbols_are_explained_where_they_are_first_used(page):
    text = (
        '# What μ is\n\n[dampings](glossary.md#damping "...") and μ; G and [μ, G]'
        "(glossary.md#gauss-newton-matrix), Mμ, `μ`, $\\mu$, [all](glossary.md)."
    )
    soup = page(v4.new_markdown_cell(text), terms=TERMS)
    assert [(a.text, a["href"]) for a in soup.find("p").find_all("a")] == [
        ("dampings", "glossary.html#term-damping"),
        ("μ, G", "glossary.html#term-gauss-newton-matrix"),
        ("all", "glossary.html"),
    ]
    only = page(v4.new_markdown_cell("## μ\n\nOne μ, another μ."), terms=TERMS)
    assert [a["data-term"] for a in only.find_all("a", class_="term")] == ["damping"]
    assert "What is added" in Glossary(TERMS).script(Links())


def test_what_cannot_be_shown_is_named(page):
    with pytest.raises(ValueError, match=re.escape("03_saddles_and_damping.ipynb, cell ")):
        page(v4.new_code_cell("x", outputs=[v4.new_output("display_data", {"video/mp4": ""})]))
