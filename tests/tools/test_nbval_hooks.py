"""What the tests change in nbval: each cell's tolerance, times never, claims behind the cells."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest

from tools.nbval_hooks import tolerance_of, with_stored_numbers

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]

# (what the cell prints, what the notebook stores, whether the two are to count as equal)
CASES = {
    "same": ("loss 0.62613 after 4 steps", "loss 0.62613 after 4 steps", True),
    "rounding": ("loss 0.62613 after 4 steps", "loss 0.62608 after 4 steps", True),
    "exponent": ("residual 4.2003e-03", "residual 4.2001e-03", True),
    "near zero": ("slope -3e-09 1e-08", "slope 2e-09 0.0", True),
    "column width": ("a  9.9999\nb 10.0001", "a 10.0001\nb 10.0001", True),
    "unit": ("0.62613s of 1", "0.62608s of 1", True),
    "tampered": ("loss 0.62613 after 4 steps", "loss 0.61613 after 4 steps", False),
    "tampered beside rounding": ("0.62613 0.5000", "0.62608 0.4900", False),
    "integer": ("loss 0.62613 after 4000 steps", "loss 0.62613 after 4001 steps", False),
    "integer for float": ("1.0 step", "1 step", False),
    "sign": ("-0.62613", "0.62613", False),
    "word": ("loss 0.62613 rises", "loss 0.62613 falls", False),
    "missing number": ("0.62613 0.5", "0.62613", False),
    "version": ("torch 2.13.0", "torch 2.13.1", False),
    "nan": ("nan", "0.5", False),
    "thousands": ("1,923,074 weights", "1,923,074 weights", True),
    "other thousands": ("1,923,074 weights", "1,923,075 weights", False),
    "seconds": ("took 0.62 s, loss 0.5", "took 12 s, loss 0.5", True),
    "seconds beside a tampered number": ("took 0.62 s, loss 0.5", "took 12 s, loss 0.6", False),
    "memory": ("692.3 MiB at most", "700 MiB at most", True),
    "date": ("made on 2026-11-30", "made on 2025-01-02", True),
    "steps are no seconds": ("after 12 steps", "after 13 steps", False),
}

# The same with a tolerance that the cell states.
STATED = {
    "relative": ({"relative": 0.05}, "0.62 0.5", "0.60 0.5", True),
    "beyond relative": ({"relative": 0.05}, "0.62 0.5", "0.50 0.5", False),
    "absolute": ({"absolute": 0.5}, "0.1 -0.1", "-0.2 0.2", True),
    "counts": ({"counts": 1}, "6 products", "5 products", True),
    "beyond counts": ({"counts": 1}, "6 products", "4 products", False),
    "counts are no floats": ({"counts": 1}, "0.62 0.5", "1.5 0.5", False),
    "words still count": ({"relative": 9.0, "counts": 9}, "CG 6", "PCG 6", False),
    "chaotic": ({"chaotic": True}, "anything 1", "else 2", True),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Name of the case -> whether nbval passed its cell, from one run of pytest."""
    folder = tmp_path_factory.mktemp("tolerance")
    shutil.copy(ROOT / "conftest.py", folder)
    notebook = nbformat.v4.new_notebook()
    for count, (printed, stored, _) in enumerate(CASES.values(), start=1):
        output = nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")
        notebook.cells.append(
            nbformat.v4.new_code_cell(
                f"print({printed!r})", execution_count=count, outputs=[output]
            )
        )
    for compare, printed, stored, _ in STATED.values():
        count += 1
        output = nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")
        notebook.cells.append(
            nbformat.v4.new_code_cell(
                f"print({printed!r})",
                execution_count=count,
                outputs=[output],
                metadata={"compare": compare},
            )
        )
    nbformat.write(notebook, folder / "cases.ipynb")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval",
            "--nbval-current-env",
            "--junitxml=report.xml",
            "--rootdir=.",
            "-p",
            "no:cacheprovider",
            "cases.ipynb",
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    cells = ET.parse(folder / "report.xml").getroot().iter("testcase")
    passed = [cell.find("failure") is None for cell in cells]
    return dict(zip([*CASES, *STATED], passed, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_numbers_agree_only_within_the_tolerance(outcomes, case):
    assert outcomes[case] == CASES[case][2]


@pytest.mark.parametrize("case", STATED)
def test_a_cell_states_its_own_tolerance(outcomes, case):
    assert outcomes[case] == STATED[case][3]


def test_an_unknown_word_of_a_tolerance_is_named():
    with pytest.raises(ValueError, match="absolute, counts or chaotic, got rtol"):
        tolerance_of({"metadata": {"compare": {"rtol": 1.0}}})


def test_a_table_of_numbers_keeps_the_stored_ones():
    stored = '<td id="T_table_row0_col0" class="data">0.6200</td><td>3</td>'
    new = '<td id="T_table_row0_col0" class="data">0.6201</td><td>3</td>'
    assert with_stored_numbers(stored, new) == stored
    assert with_stored_numbers(stored, new.replace("<td>3", "<td>4")) != stored


def test_claims_run_behind_the_cells_in_their_kernel(tmp_path):
    """One execution: a claim that holds, one that does not, one whose sentence is gone."""
    for folder in ("notebooks/solutions", "tests/notebooks", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("claims.py", "nbval_hooks.py"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    cells = [
        nbformat.v4.new_markdown_cell("Twice two\nis **four**. Three is odd."),
        nbformat.v4.new_code_cell("x = 2\ncount = []", execution_count=1),
        nbformat.v4.new_code_cell("count.append(x)", execution_count=2),
    ]
    path = tmp_path / "notebooks" / "solutions" / "98_made_up.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "tests" / "notebooks" / "claims_98.py").write_text(
        "from tools.claims import claim, near\n\n"
        "@claim('Twice two is **four**')\ndef holds(x, count):\n"
        "    assert near(2 * x, 4) and count == [2]\n\n"
        "@claim('Three is odd')\ndef fails(x):\n    near(x, 3)\n\n"
        "@claim('Three is even')\ndef gone(x):\n    pass\n\n"
        "@claim('Three is odd')\ndef lost(nothing):\n    pass\n"
    )
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval",
            "--nbval-current-env",
            "--rootdir=.",
            "-rA",
            "-p",
            "no:cacheprovider",
            "--junitxml=report.xml",
            str(path),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    said = {
        case.get("name"): "".join(case.find("failure").itertext())
        if case.find("failure") is not None
        else ""
        for case in ET.parse(tmp_path / "report.xml").getroot().iter("testcase")
    }
    assert said.pop("Cell 0") == said.pop("Cell 1") == said.pop("claim holds") == "", run.stdout
    assert "expected 3 within 0.001 relative" in said.pop("claim fails")
    assert "no longer says: 'Three is even'" in said.pop("claim gone")
    assert "the notebook has no nothing" in said.pop("claim lost")
    assert said == {}


def test_only_the_form_with_solutions_is_executed_unless_another_is_named():
    learner = "notebooks/03_saddles_and_damping.ipynb"
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval",
            "--nbval-current-env",
            "--collect-only",
            "-q",
            "notebooks",
            learner,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    collected = {line.split("::")[0] for line in run.stdout.splitlines() if "::" in line}
    names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert collected == {f"notebooks/solutions/{name}" for name in names} | {learner}
