"""A notebook that its reader saves keeps pictures of its panels, and opens without dead widgets."""

import base64
import json
from functools import partial

import pytest
from lab import Notebook

pytestmark = pytest.mark.browser
TITLE = "Newton's method on a landscape with a saddle"
VIEW = "application/vnd.jupyter.widget-view+json"


def saved(lab, name):
    """The outputs of the panel in the saved file, and all outputs."""
    cells = json.loads((lab.folder / "root" / "notebooks" / name).read_text())["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    (panel,) = [
        data
        for data in outputs
        if "".join(data.get("text/plain", "")).startswith(f"Panel: {TITLE}")
    ]
    return panel, outputs


@pytest.mark.slow
def test_pictures_are_saved_and_a_notebook_without_kernel_shows_them(
    lab, chromium, open_notebook, artefacts
):
    name = "03_saddles_and_damping.ipynb"
    notebook = open_notebook(name)
    notebook.run_all()
    panel = notebook.panel(TITLE)

    def picture_after_saving():
        notebook.command("docmanager:save")
        return saved(lab, name)[0].get("image/png")

    panel.until(picture_after_saving)
    first = picture_after_saving()
    panel.after(partial(panel.type, "damping μ", 0.54))
    panel.until(lambda: picture_after_saving() != first)
    shown, outputs = saved(lab, name)
    png = base64.b64decode("".join(shown["image/png"]))
    (artefacts / "03_saddles-saved.png").write_bytes(png)
    assert png.startswith(b"\x89PNG") and len(png) < 60_000
    assert sum("image/png" in data for data in outputs) >= 3

    # As somebody finds it who opens it later: another page, no kernel of it alive.
    lab.end_kernels()
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        page.add_init_script("window.rlhfLater = true")
        later = Notebook(lab, page, name)
        page.wait_for_function("() => document.querySelectorAll('.jp-OutputArea img').length > 0")
        text = page.locator("body").inner_text()
        assert "Error displaying widget" not in text and "Loading widget" not in text
        data = page.evaluate(
            "() => jupyterapp.shell.currentWidget.content.widgets.flatMap(w =>"
            "  (w.model.outputs?.toJSON() ?? []).map(o => Object.keys(o.data ?? {})))"
        )
        assert not any(VIEW in kinds for kinds in data)
        assert later.noise == []
        page.screenshot(path=artefacts / "03_saddles-later.png")
    finally:
        context.close()
