"""The tolerance of notebook comparisons: rounding passes, nothing that a reader would see does."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]

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
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Name of the case -> whether nbval passed its cell, from one run of pytest."""
    folder = tmp_path_factory.mktemp("tolerance")
    shutil.copy(ROOT / "conftest.py", folder)
    notebook = nbformat.v4.new_notebook()
    for count, (printed, stored, _) in enumerate(CASES.values(), start=1):
        output = nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")
        notebook.cells.append(nbformat.v4.new_code_cell(
            f"print({printed!r})", execution_count=count, outputs=[output]))
    nbformat.write(notebook, folder / "cases.ipynb")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--junitxml=report.xml",
         "--rootdir=.", "-p", "no:cacheprovider", "cases.ipynb"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert run.returncode == 1, run.stdout + run.stderr
    cells = ET.parse(folder / "report.xml").getroot().iter("testcase")
    return dict(zip(CASES, [cell.find("failure") is None for cell in cells], strict=True))


@pytest.mark.parametrize("case", CASES)
def test_numbers_agree_only_within_the_tolerance(outcomes, case):
    assert outcomes[case] == CASES[case][2]
