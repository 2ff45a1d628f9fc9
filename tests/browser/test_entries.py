"""Predictions in the browser: chosen, typed and sketched, by keys and by mouse; the look back."""

import json

import nbformat
import pytest
from lab import Notebook
from nbformat import v4
from test_panels import grave_violations

from tools.notebook_state import KERNEL

pytestmark = pytest.mark.browser

MARKUP = (
    '<b style="background:url(https://example.org/x)">b</b> <a href="https://example.org">a</a>'
)
CODE = [
    "from rlhf_course.checking.predictions import choice, curve, number, predict, look_back\n"
    "choice('03.a', 'Where will it end?', ['here', 'there'], truth=1, why='It is far.')\n"
    "number('03.b', 'How much?', truth=0.5, within=0.1, unit='nats', why='Half of it.')\n"
    "curve('03.c', 'How does it go on?', truth=[0, 1, 4, 9], why='A parabola.', axes={\n"
    "      'x_range': [0, 3], 'y_range': [0, 10], 'x_title': 'step', 'y_title': 'loss'})",
    *(f"predict('03.{name}')" for name in "abc"),
    *(f"look_back('03.{name}')" for name in "abc"),
    "from rlhf_lib.panels import charts\n"
    f"charts.cells(['p', 'q'], [{MARKUP!r}, '&lt;'], [[1, 2], [3, 4]], title={MARKUP!r})",
]


@pytest.fixture
def page(lab, open_notebook):
    """A notebook of predictions in the course's folder, all of it run."""
    path = lab.folder / "root" / "notebooks" / "predictions.ipynb"
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(source) for source in CODE], metadata={"kernelspec": KERNEL}
    )
    nbformat.write(notebook, path)
    opened = open_notebook(path.name)
    opened.run_all()
    opened.page.locator(".rlhf-entry").nth(5).wait_for()
    return opened.page


def kept(lab):
    path = lab.folder / "progress" / "progress.json"
    return json.loads(path.read_text())["predictions"] if path.exists() else {}


def test_predictions_are_made_kept_and_shown_beside_the_result(page, lab, artefacts):
    where, much, curve, back_where, back_much, back_curve = page.locator(".rlhf-entry").all()

    where.get_by_label("there", exact=True).focus()
    page.keyboard.press("Space")
    back_where.get_by_text("You predicted: there").wait_for()
    assert back_where.get_by_text("It is: there").count() == 0  # not before it is asked for
    back_where.get_by_role("button", name="Show the result").focus()
    page.keyboard.press("Enter")
    back_where.get_by_text("As you said. It is: there. It is far.").wait_for()

    much.get_by_role("spinbutton").fill("1.000,9")
    much.get_by_role("spinbutton").press("Enter")
    much.get_by_role("alert").get_by_text('0.3 or 1e-3, got "1.000,9"').wait_for()
    much.get_by_role("spinbutton").fill("0,9")
    much.get_by_role("spinbutton").press("Enter")
    back_much.get_by_text("You predicted: 0.9").wait_for()
    back_much.get_by_role("button", name="Show the result").click()
    back_much.get_by_text("Another than you said. It is 0.5 nats. Half of it.").wait_for()

    # A sketch, by mouse from left to right, then its right end by keys.
    board = curve.get_by_role("application")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    page.mouse.move(box["x"] + 52, box["y"] + 170)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 90, steps=8)
    page.mouse.move(box["x"] + 440, box["y"] + 40, steps=8)
    page.mouse.up()
    back_curve.get_by_text("The dashed line is your sketch.").wait_for()
    drawn = curve.locator("path.mine").get_attribute("d")
    assert drawn.count("L") == 3
    board.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "([node, before]) => node.getAttribute('d') !== before",
        arg=[curve.locator("path.mine").element_handle(), drawn],
    )
    back_curve.get_by_role("button", name="Show the result").click()
    back_curve.get_by_text("The solid line is the result. A parabola.").wait_for()
    assert back_curve.locator("path.truth").get_attribute("d").count("L") == 3
    assert back_curve.locator("path.mine").get_attribute("d") == (
        curve.locator("path.mine").get_attribute("d")
    )

    found = kept(lab)
    assert found["03.a"] == "there" and found["03.b"] == 0.9
    sketch = found["03.c"]
    assert len(sketch) == 4 and sketch[0] < sketch[1] < sketch[2]
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate(
            "t => jupyterapp.commands.execute('apputils:change-theme', {theme: t})", theme
        )
        page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light",
            arg=str(theme.endswith("Light")).lower(),
        )
        assert grave_violations(page, ".rlhf-entry") == []
        for i, name in enumerate(("choice", "number", "curve")):
            page.locator(".rlhf-entry").nth(3 + i).screenshot(
                path=artefacts / f"entry-{name}-{theme[-5:].strip()}.png"
            )

    # Texts of a figure are no markup, nor is what the pointer finds (`open_notebook` looks whether
    # anything was asked of another host).
    figure = page.locator(".js-plotly-plot")
    figure.scroll_into_view_if_needed()
    figure.locator(".gtitle").wait_for()
    box = figure.locator(".nsewdrag").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4, steps=4)
    figure.locator(".hoverlayer .hovertext").wait_for()
    for place in (".gtitle", ".ytick", ".hoverlayer"):
        seen = "".join(figure.locator(place).all_text_contents()).replace("\xa0", " ")
        assert MARKUP in seen, place
    assert "&lt;" in figure.locator(".ytick").all_text_contents()
    assert figure.locator("a, img, [style*=url]").count() == 0


@pytest.mark.slow
def test_an_entry_is_there_again_after_the_kernel_has_gone(page, lab, chromium):
    page.locator(".rlhf-entry").first.get_by_label("here", exact=True).check()
    page.locator(".rlhf-entry").nth(3).get_by_text("You predicted: here").wait_for()
    lab.end_kernels()
    context = chromium.new_context()
    try:
        later = Notebook(lab, context.new_page(), "predictions.ipynb")
        later.run_all()
        box = later.page.locator(".rlhf-entry").first.get_by_label("here", exact=True)
        box.wait_for()
        assert box.is_checked()
    finally:
        context.close()
