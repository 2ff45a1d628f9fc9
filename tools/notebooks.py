"""Build, execute and check the notebooks of the course.

    python tools/notebooks.py build [NOTEBOOK ...]      the learners' notebooks, navigation, map
    python tools/notebooks.py execute [NOTEBOOK ...]    run, tidy and save
    python tools/notebooks.py check [NOTEBOOK ...]      say what is wrong with the saved state
    python tools/notebooks.py totext 04 [FILE]          the source as text, to edit or to read
    python tools/notebooks.py fromtext 04 FILE          the source from such a text

A NOTEBOOK is a number such as 04, which stands for the source with its solutions and the
learner's notebook, or a path; without one: all of notebooks/. The source of each notebook is
`notebooks/solutions/NN_slug.ipynb`; docs/writing_notebooks.md tells how one is written. A cell
tagged `skip-execution` (and `nbval-skip`, which nbval needs to skip it too) is not executed.
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

# Run as a script, it finds its neighbours as the tests do.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlhf_course.series import BY_NUMBER
from tools import claims, course_build, course_faults, notebook_text
from tools.notebook_state import execute, faults, tidy
from tools.number_claims import unheld
from tools.page_rules import page_faults

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"


def paths_of(names):
    """The named notebooks, or all of notebooks/ (without JupyterLab's own copies).

    Raises SystemExit for a number that no notebook has, and for one without a file.
    """
    if not names:
        return sorted(
            path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
        )
    paths = []
    for name in names:
        if name.isdigit():
            both = [folder / f"{_row(name).name}.ipynb" for folder in (SOLUTIONS, NOTEBOOKS)]
            paths += [path for path in both if path.is_file()] or both[:1]
        else:
            paths.append(Path(name))
    for path in paths:
        if not path.is_file():
            raise SystemExit(f"there is no notebook {path}")
    return paths


def _row(number):
    if number not in BY_NUMBER:
        raise SystemExit(f"no notebook has the number {number}; there are {', '.join(BY_NUMBER)}")
    return BY_NUMBER[number]


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["build", "execute", "check", "totext", "fromtext"])
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    options = parser.parse_args(arguments)
    # What is saved must come from what is embedded, as in the tests.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.command in ("totext", "fromtext"):
        return _convert(options.command, *options.notebooks)
    if options.command == "build":
        return _build(options.notebooks)
    failed = False
    for path in paths_of(options.notebooks):
        label = path.relative_to(NOTEBOOKS) if path.is_relative_to(NOTEBOOKS) else path
        if options.command == "execute":
            print(f"{label}: ", end="", flush=True)
            try:
                print(f"{execute(path):.1f} s")
            except CellExecutionError as error:
                print(f"failed, not saved\n{error}")
                failed = True
                continue
            if path.parent != SOLUTIONS and course_faults.belongs(path):
                course_build.share_outputs(path)
        found = faults(path)
        if course_faults.belongs(path):
            found += course_faults.course_faults(path)
        if path.resolve().parent == SOLUTIONS:
            notebook = nbformat.read(path, as_version=4)
            found += page_faults(notebook) + unheld(notebook, claims.of_notebook(path))
        for fault in found:
            print(f"{label}: {fault}")
            failed = True
    return int(failed)


def _build(names):
    """The named notebooks alone, or all of them and README."""
    sources = [path for path in paths_of(names) if path.resolve().parent == SOLUTIONS]
    try:
        changed = [path for source in sources for path in course_build.build(source)]
        if not names:
            changed += course_build.build_readme() + course_build.build_glossary()
    except ValueError as error:
        print(error)
        return 1
    for path in changed:
        print(f"written: {path.relative_to(ROOT)}")
    return 0


def _convert(command, number="", file=None):
    path = SOLUTIONS / f"{_row(number).name}.ipynb"
    if command == "totext":
        text = notebook_text.to_text(nbformat.read(path, as_version=4))
        Path(file).write_text(text, encoding="utf-8") if file else print(text, end="")
        return 0
    if file is None:
        raise SystemExit("fromtext needs a number and a file")
    old = nbformat.read(path, as_version=4) if path.is_file() else None
    path.parent.mkdir(exist_ok=True)
    try:
        notebook = notebook_text.from_text(Path(file).read_text(encoding="utf-8"), old)
    except ValueError as error:
        raise SystemExit(f"{file}: {error}") from None
    course_build.save(tidy(notebook), path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
