"""The list of cells that leave their tolerance under other numeric paths."""

import nbformat
import pytest
from nbformat import v4

from tools import portable

pytestmark = pytest.mark.long


@pytest.fixture
def notebook(tmp_path):
    """A cell that gives the same everywhere, and one that depends on the path."""
    cells = [
        v4.new_code_cell(
            "print(2)", execution_count=1, outputs=[v4.new_output("stream", text="2\n")]
        ),
        v4.new_code_cell(
            "import os\nprint(os.environ.get('ATEN_CPU_CAPABILITY', 'none'))",
            execution_count=2,
            outputs=[v4.new_output("stream", text="none\n")],
        ),
    ]
    path = tmp_path / "made_up.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.slow
def test_a_cell_that_leaves_its_tolerance_is_named_with_its_path(notebook, capsys):
    names = [name for name in ("native", "ATen default") if name in portable.offered()[0]]
    assert portable.main([str(notebook), "--paths", ",".join(names), "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "native (as it is): 2 cells and claims passed, 0 failed" in said
    assert "ATen default (ATEN_CPU_CAPABILITY=default): 1 cells and claims passed, 1 failed" in said
    assert "Cell 1" in said and "none" in said


def test_what_a_processor_does_not_offer_is_said(monkeypatch, capsys):
    monkeypatch.setattr(portable.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(portable.os, "cpu_count", lambda: 1)
    there, missing = portable.offered()
    assert there == ["native", "ATen default"]
    assert missing["MKL AVX2"] == "the processor is arm64" and "two threads" in missing
    monkeypatch.setattr(portable, "run_path", lambda *_: (3, [], 1.0))
    assert portable.main([]) == 0
    said = capsys.readouterr().out
    assert "MKL AVX2: left out, the processor is arm64" in said and "native" in said


def test_a_notebook_is_a_number_or_a_path(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(portable, "run_path", lambda _, which, jobs: (seen.append(which), [], 1.0))
    own = tmp_path / "own.ipynb"
    own.touch()
    portable.main(["10", str(own), "--paths", "native"])
    (which,) = seen
    assert which == [str(portable.SOLUTIONS / "10_bert.ipynb"), str(own)]
    for name, message in (("99", "no notebook has the number 99"), ("x", "there is no notebook x")):
        with pytest.raises(SystemExit, match=message):
            portable.main([name, "--paths", "native"])


def test_an_unknown_path_is_refused():
    with pytest.raises(SystemExit, match=r"expected paths among native, .*, got fast"):
        portable.main(["--paths", "fast"])
