"""Pictures for stored outputs, and notebooks as `make lab` saves and opens them."""

import asyncio
import base64
import io

import nbformat
import pytest
from nbformat import v4

from rlhf_course.doctor import find_chromium
from rlhf_course.lab import WIDGET_VIEW, Contents, leave_out_widgets, put_pictures
from rlhf_lib.panels import charts
from rlhf_lib.panels.saving import keep_pictures, side_by_side
from rlhf_lib.panels.show import FIGURES_MIME
from tools import pictures

Image = pytest.importorskip("PIL.Image")


def png(colour="red", size=(40, 30)):
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return held.getvalue()


def line(**options):
    return charts.chart({"a": ([0, 1], [0, 1])}, title="A line", **options)


def test_pictures_stand_in_rows_of_two():
    whole = Image.open(io.BytesIO(side_by_side([png(), png("blue", (50, 20)), png()])))
    assert whole.size == (40 + 8 + 50, 30 + 30)
    colours = whole.convert("RGB")
    assert colours.getpixel((5, 5)) == (255, 0, 0) and colours.getpixel((60, 5)) == (0, 0, 255)
    assert colours.getpixel((60, 40)) == (255, 255, 255)


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium")
def test_figures_of_outputs_become_small_pictures(monkeypatch):
    monkeypatch.setenv("RLHF_PICTURES", "1")
    bundle = line(readout="It rises.")._repr_mimebundle_()
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("text"),
            v4.new_code_cell("f", outputs=[v4.new_output("display_data", bundle)]),
        ]
    )
    assert pictures.put_pictures(notebook) == 1
    data = notebook.cells[1].outputs[0].data
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.size == (625, 375) and len(data["image/png"]) < 60_000
    assert len(image.convert("RGB").getcolors()) > 5  # something is drawn
    assert FIGURES_MIME not in data and data["text/plain"] == "A line\nIt rises."
    nbformat.validate(notebook)


def test_without_a_chromium_nothing_is_drawn_and_it_is_said(monkeypatch):
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell("f", outputs=[v4.new_output("display_data", {FIGURES_MIME: []})])]
    )
    monkeypatch.setattr(pictures, "find_chromium", lambda: None)
    with pytest.raises(RuntimeError, match="drawn by a Chromium"):
        pictures.put_pictures(notebook)
    assert pictures.put_pictures(v4.new_notebook()) == 0


# -- what a page sends is kept, and put into what is saved


def sent(picture=None):
    return "data:image/png;base64," + base64.b64encode(picture or png()).decode()


def test_the_page_is_asked_and_what_it_sends_is_kept(tmp_path, monkeypatch):
    figures = [line(), line()]
    widget = figures[0].widget
    keep_pictures(widget, figures)
    assert widget.wanted == 0  # nobody keeps pictures
    monkeypatch.setenv("RLHF_PICTURES_DIR", str(tmp_path))
    keep_pictures(widget, figures)
    assert [figure.widget.wanted for figure in figures] == [1, 1]
    figures[0].widget.picture = sent()
    assert list(tmp_path.iterdir()) == []  # half of it
    figures[1].widget.picture = sent(png("blue"))
    (path,) = tmp_path.iterdir()
    assert path.name == f"{widget.model_id}.png" and path.read_bytes().startswith(b"\x89PNG")


def outputs(model_id="abc"):
    view = {WIDGET_VIEW: {"model_id": model_id}}
    return v4.new_notebook(
        cells=[
            v4.new_code_cell(
                "p",
                outputs=[
                    v4.new_output("display_data", view | {"text/plain": "Panel: P"}),
                    v4.new_output("display_data", dict(view)),
                    v4.new_output("stream", text="x"),
                ],
            )
        ]
    )


def test_a_saved_notebook_gets_the_pictures_of_its_widgets(tmp_path):
    (tmp_path / "abc.png").write_bytes(png())
    notebook = outputs()
    put_pictures(notebook, tmp_path)
    panel, bare, _ = notebook.cells[0].outputs
    assert base64.b64decode(panel.data["image/png"]) == png() and WIDGET_VIEW in panel.data
    assert list(bare.data) == [WIDGET_VIEW]
    leave_out_widgets(notebook)
    assert set(panel.data) == {"text/plain", "image/png"} and list(bare.data) == [WIDGET_VIEW]


@pytest.mark.parametrize("name", ["../abc", "", "nothing"])
def test_a_name_that_no_widget_has_brings_no_file(tmp_path, name):
    (tmp_path / "abc.png").write_bytes(png())
    folder = tmp_path / "folder"
    folder.mkdir()
    notebook = outputs(name)
    put_pictures(notebook, folder)
    assert "image/png" not in notebook.cells[0].outputs[0].data


def test_the_server_s_contents_put_pictures_in_and_leave_dead_widgets_out(tmp_path, monkeypatch):
    monkeypatch.setenv("RLHF_PICTURES_DIR", "")
    contents = Contents(root_dir=str(tmp_path))
    (tmp_path / "a.txt").write_text("text")

    async def through():
        from pathlib import Path

        (Path(contents._pictures.name) / "abc.png").write_bytes(png())
        await contents.save({"type": "notebook", "format": "json", "content": outputs()}, "a.ipynb")
        opened = await contents.get("a.ipynb")
        contents._has_kernel = answer(True)
        alive = await contents.get("a.ipynb")
        assert (await contents.get("a.txt"))["content"] == "text"
        assert (await contents.get("a.ipynb", content=False))["content"] is None
        return opened, alive

    def answer(value):
        async def has_kernel(path):
            return value

        return has_kernel

    opened, alive = asyncio.run(through())
    stored = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs[0].data
    assert set(stored) == {WIDGET_VIEW, "text/plain", "image/png"}
    assert set(opened["content"]["cells"][0]["outputs"][0]["data"]) == {"text/plain", "image/png"}
    assert WIDGET_VIEW in alive["content"]["cells"][0]["outputs"][0]["data"]
