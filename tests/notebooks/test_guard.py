"""The guard: what nbval does not see in a saved notebook, and that the guard itself sees it."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from rlhf_course.lab import WIDGET_VIEW
from tools.notebook_state import KERNEL, MAX_BYTES, execute, faults, fingerprint
from tools.notebooks import NOTEBOOKS as FOLDER
from tools.notebooks import paths_of

NOTEBOOKS = paths_of([])
IDS = [str(path.relative_to(FOLDER)) for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_saved_notebook_is_fit_to_be_committed(path):
    assert faults(path) == []


def test_there_are_notebooks_to_guard():
    assert NOTEBOOKS


def stream(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def sound_notebook():
    notebook = v4.new_notebook(
        metadata={"kernelspec": KERNEL},
        cells=[
            v4.new_markdown_cell("# Title"),
            v4.new_code_cell(
                "print(1/2)",
                execution_count=1,
                outputs=[stream("0.5, </div></section>, 1/tmp/2, https://a.b/tmp/c")],
            ),
            v4.new_code_cell(
                "train(full=True)", metadata={"tags": ["skip-execution", "nbval-skip"]}
            ),
            v4.new_code_cell(
                "2",
                execution_count=2,
                outputs=[v4.new_output("execute_result", {"text/plain": "2"}, execution_count=2)],
            ),
        ],
    )
    notebook.metadata["course"] = {"executed": fingerprint(notebook)}
    return notebook


def never_executed(nb):
    nb.cells[3].execution_count = None


def wrong_order(nb):
    nb.cells[1].execution_count, nb.cells[3].execution_count = 2, 1


def executed_twice(nb):
    nb.cells[3].execution_count = 7


def stored_error(nb):
    nb.cells[1].outputs = [v4.new_output("error", ename="ValueError", evalue="no", traceback=[])]


def stored_stderr(nb):
    nb.cells[1].outputs = [stream("UserWarning: old", name="stderr")]


def widget_state(nb):
    nb.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}


def too_large(nb):
    nb.cells[1].outputs = [stream("x" * MAX_BYTES)]


def other_kernel(nb):
    nb.metadata.kernelspec.name = "my-env"


def path_in_stream(nb):
    nb.cells[1].outputs = [stream("saved in /" + "home/ada/model")]


def path_in_html(nb):
    nb.cells[3].outputs[0].data["text/html"] = "<b>/" + "tmp/x.png</b>"


def other_code(nb):
    nb.cells[1].source = "print(1/3)"


def skipped_by_one_tool_only(nb):
    nb.cells[2].metadata.tags = ["skip-execution"]


FAULTS = {
    never_executed: "never executed",
    wrong_order: "execution counts",
    executed_twice: "execution counts",
    stored_error: "ValueError: no",
    stored_stderr: "stderr",
    widget_state: "widget state",
    too_large: "bytes",
    other_kernel: "my-env",
    path_in_stream: "absolute path",
    path_in_html: "absolute path",
    other_code: "not those of this code",
    skipped_by_one_tool_only: "without nbval-skip",
}


def faults_of(notebook, folder):
    nbformat.write(notebook, folder / "made_up.ipynb")
    return faults(folder / "made_up.ipynb")


def test_a_sound_notebook_passes(tmp_path):
    assert faults_of(sound_notebook(), tmp_path) == []


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_the_guard_sees(spoil, tmp_path):
    notebook = sound_notebook()
    spoil(notebook)
    found = faults_of(notebook, tmp_path)
    assert any(FAULTS[spoil] in fault for fault in found), found


def test_an_announced_exception_passes(tmp_path):
    notebook = sound_notebook()
    stored_error(notebook)
    notebook.cells[1].metadata.tags = ["raises-exception"]
    assert faults_of(notebook, tmp_path) == []


def test_execute_saves_a_state_that_the_guard_accepts(tmp_path):
    path = tmp_path / "fresh.ipynb"
    metadata = {"widgets": {}, "kernelspec": KERNEL | {"name": "my-env"}}
    notebook = v4.new_notebook(
        metadata=metadata,
        cells=[
            v4.new_code_cell("import ipywidgets\nipywidgets.IntSlider(3)", execution_count=8),
            v4.new_code_cell(
                "raise SystemError",
                metadata={"tags": ["skip-execution", "nbval-skip"]},
                execution_count=9,
                outputs=[stream("old")],
            ),
            v4.new_code_cell("from pathlib import Path\nPath('here.txt').write_text('x')"),
        ],
    )
    nbformat.write(notebook, path)
    assert faults(path)

    assert execute(path) > 0

    saved = nbformat.read(path, as_version=4)
    assert faults(path) == []
    assert [cell.execution_count for cell in saved.cells] == [1, None, 2]
    assert list(saved.cells[0].outputs[0].data) == ["text/plain"]
    assert WIDGET_VIEW not in path.read_text()
    assert saved.cells[1].outputs == []
    assert "execution" not in saved.cells[0].metadata
    assert (tmp_path / "here.txt").exists()


def test_feedback_with_a_picture_is_saved_as_text_and_progress_is_not_the_user_s(tmp_path):
    path = tmp_path / "picture.ipynb"
    nbformat.write(
        v4.new_notebook(
            cells=[
                v4.new_code_cell(
                    "from rlhf_course import check\n"
                    "from rlhf_course.checking.feedback import almost\n"
                    "from rlhf_course.checking.picture import Curves"
                ),
                v4.new_code_cell("almost('Look.', Curves([0, 1], [0.0, 1.0], [1.0, 0.0]))"),
                v4.new_code_cell("check('00.same_rest', 'AB')"),
            ]
        ),
        path,
    )
    own = Path(os.environ["RLHF_DATA_DIR"]) / "progress.json"
    before = own.read_bytes() if own.exists() else None
    execute(path)
    assert faults(path) == []
    shown = nbformat.read(path, as_version=4).cells[1].outputs[0].data
    assert dict(shown) == {"text/plain": "✗ Not yet. Look."}
    assert (own.read_bytes() if own.exists() else None) == before
