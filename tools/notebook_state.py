"""A notebook as it is saved: executed from top to bottom, tidy, and fit to be committed."""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from rlhf_course.lab import leave_out_widgets
from rlhf_lib.timing import Stopwatch
from tools.course_build import save
from tools.exercise_cells import tags
from tools.pictures import MAX_BYTES as MAX_PICTURE
from tools.pictures import put_pictures

MAX_BYTES = 500_000
CELL_SECONDS = 600
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.~:/-])/(?:home|Users|root|tmp|work|opt|usr|var|mnt|private)/\S|\b[A-Z]:\\\w"
)


def tidy(notebook):
    """Removes, in place, what differs from run to run or from machine to machine."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
        | {key: notebook.metadata[key] for key in ["course"] if key in notebook.metadata}
    )
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        if "skip-execution" in tags(cell):
            cell.execution_count, cell.outputs = None, []
    leave_out_widgets(notebook)
    return notebook


def fingerprint(notebook):
    """A short hash of all code: outputs with another one are those of other code."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def execute(path):
    """Runs a notebook in its own folder and saves it; returns the seconds it took.

    What it solves is not noted as the user's progress. Raises CellExecutionError, RuntimeError
    where pictures cannot be drawn, ValueError for one that is too large, and then leaves the file
    as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(Path(path).resolve().parent)}},
    )
    with tempfile.TemporaryDirectory() as folder:
        watch = Stopwatch()
        client.execute(
            env=os.environ | {"RLHF_DATA_DIR": folder, "RLHF_PICTURES": "1", "RLHF_SEED": "0"}
        )
        seconds = watch.seconds.wall
    put_pictures(notebook)
    notebook.metadata["course"] = {"executed": fingerprint(notebook)}
    save(tidy(notebook), path)
    return seconds


def texts(output):
    """What an output shows as text, one string per kind."""
    shown = [output.get("text", ""), *output.get("traceback", []), output.get("evalue", "")]
    return shown + [
        value
        for mime, value in output.get("data", {}).items()
        if isinstance(value, str) and not mime.startswith("image/")
    ]


def faults(path):
    """What keeps a saved notebook from being committed, one sentence each."""
    notebook = nbformat.read(path, as_version=4)
    found = []
    size = Path(path).stat().st_size
    if size >= MAX_BYTES:
        found.append(f"the file has {size:,} bytes; it must stay below {MAX_BYTES:,}")
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        found.append(f"the kernel is {kernel!r}; it must be 'python3'")
    if "widgets" in notebook.metadata:
        found.append("widget state is stored")

    if notebook.metadata.get("course", {}).get("executed") != fingerprint(notebook):
        found.append("the outputs are not those of this code: tools/notebooks.py execute")
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    counts = [cell.execution_count for _, cell in code if cell.execution_count is not None]
    if counts != list(range(1, len(counts) + 1)):
        found.append(
            f"the execution counts are {counts}; a fresh run from top to bottom counts 1, 2, 3, ..."
        )
    for i, cell in code:
        skips = {"skip-execution", "nbval-skip"}.intersection(tags(cell))
        if skips == {"skip-execution"}:
            found.append(
                f"cell {i} has the tag skip-execution without nbval-skip, so that the "
                "tests would run it"
            )
        if cell.execution_count is None and not skips:
            found.append(f"cell {i} was never executed")
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                found.append(f"cell {i} ends with {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"cell {i} writes to stderr: {output.text.strip()[:80]}")
            if any(ABSOLUTE_PATH.search(text) for text in texts(output)):
                found.append(f"cell {i} shows an absolute path")
            picture = output.get("data", {}).get("image/png", "")
            if len(picture) * 3 / 4 > MAX_PICTURE:
                found.append(
                    f"cell {i} has a picture of {len(picture) * 3 // 4:,} bytes; "
                    f"{MAX_PICTURE:,} are the most"
                )
            if output.get("data", {}).get("text/plain", "").startswith("Panel: ") and not picture:
                found.append(f"cell {i} shows a panel without a picture")
    return found
