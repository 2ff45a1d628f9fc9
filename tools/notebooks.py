"""Execute and check the notebooks as they are committed.

    python tools/notebooks.py execute [PATH ...]    run, tidy and save
    python tools/notebooks.py check [PATH ...]      say what is wrong with the saved state

Without a path: every notebook in notebooks/. A cell tagged `skip-execution` (and `nbval-skip`,
which nbval needs to skip it too) is left out.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 500_000
CELL_SECONDS = 600
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.~:/-])/(?:home|Users|root|tmp|work|opt|usr|var|mnt|private)/\S|\b[A-Z]:\\\w")


def paths_of(names):
    """The named notebooks, or all of notebooks/ (without JupyterLab's own copies)."""
    if names:
        return [Path(name) for name in names]
    return sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb")
                  if ".ipynb_checkpoints" not in path.parts)


def tags(cell):
    return cell.metadata.get("tags", [])


def tidy(notebook):
    """Removes, in place, what differs from run to run or from machine to machine."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        if "skip-execution" in tags(cell):
            cell.execution_count, cell.outputs = None, []
        for output in cell.outputs:
            # A view names a model of a kernel that is gone; its text stays.
            if len(output.get("data", {})) > 1:
                output.data.pop(WIDGET_VIEW, None)
    return notebook


def execute(path):
    """Runs a notebook in its own folder and saves it; returns the seconds it took.

    Raises CellExecutionError, and then leaves the file as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", store_widget_state=False,
        record_timing=False, resources={"metadata": {"path": str(Path(path).resolve().parent)}})
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    nbformat.write(tidy(notebook), path)
    return seconds


def texts(output):
    """What an output shows as text, one string per kind."""
    shown = [output.get("text", ""), *output.get("traceback", []), output.get("evalue", "")]
    return shown + [value for value in output.get("data", {}).values() if isinstance(value, str)]


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

    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    counts = [cell.execution_count for _, cell in code if cell.execution_count is not None]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"the execution counts are {counts}; a fresh run from top to bottom counts "
                     "1, 2, 3, ...")
    for i, cell in code:
        skips = {"skip-execution", "nbval-skip"}.intersection(tags(cell))
        if skips == {"skip-execution"}:
            found.append(f"cell {i} has the tag skip-execution without nbval-skip, so that the "
                         "tests would run it")
        if cell.execution_count is None and not skips:
            found.append(f"cell {i} was never executed")
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                found.append(f"cell {i} ends with {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"cell {i} writes to stderr: {output.text.strip()[:80]}")
            if any(ABSOLUTE_PATH.search(text) for text in texts(output)):
                found.append(f"cell {i} shows an absolute path")
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["execute", "check"])
    parser.add_argument("paths", nargs="*", metavar="PATH")
    options = parser.parse_args(arguments)
    # What is saved must come from what is embedded, as in the tests.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    failed = False
    for path in paths_of(options.paths):
        if options.command == "execute":
            print(f"{path.name}: ", end="", flush=True)
            try:
                print(f"{execute(path):.1f} s")
            except CellExecutionError as error:
                print(f"failed, not saved\n{error}")
                failed = True
                continue
        for fault in faults(path):
            print(f"{path.name}: {fault}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
