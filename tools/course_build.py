"""The learners' notebooks, their navigation and README's list, made and written."""

import os
from pathlib import Path

import nbformat

from tools.course_map import place_generated_cells, with_readme_table, written
from tools.exercise_cells import learner
from tools.glossary_page import PAGE, link_terms, page

ROOT = Path(__file__).resolve().parents[1]
SOLUTIONS = ROOT / "notebooks" / "solutions"


def made_from(source_path):
    """`(source with its generated cells, learner's notebook)` of a source, as they should be."""
    source_path = Path(source_path)
    source = nbformat.read(source_path, as_version=4)
    place_generated_cells(source, source_path.stem[:2], written(source_path.parent))
    try:
        made = learner(source)
    except ValueError as error:
        raise ValueError(f"{source_path.name}: {error}") from None
    made.metadata.pop("course", None)
    link_terms(made)
    return source, made


def build(source_path):
    """Writes the generated cells of a source and its learner's notebook; returns what changed.

    Outputs of code that stayed as it was are kept. Raises ValueError for wrong markers.
    """
    source_path = Path(source_path)
    target = source_path.parents[1] / source_path.name
    source, made = made_from(source_path)
    if target.exists():
        keep_outputs(nbformat.read(target, as_version=4), made)
    return [
        path for notebook, path in ((source, source_path), (made, target)) if save(notebook, path)
    ]


def build_readme():
    """Writes README's list of notebooks; returns what changed."""
    path = ROOT / "README.md"
    return _written(path, with_readme_table(path.read_text(encoding="utf-8"), written(SOLUTIONS)))


def build_glossary():
    """Writes the page of terms; returns what changed."""
    return _written(SOLUTIONS.parent / PAGE, page())


def _written(path, text):
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return []
    path.write_text(text, encoding="utf-8")
    return [path]


def keep_outputs(old, new):
    """Copies, in place, outputs from one version of a notebook to the cells that did not change."""
    before = {cell.id: cell for cell in old.cells if cell.cell_type == "code"}
    for cell in new.cells:
        former = before.get(cell.id)
        if cell.cell_type == "code" and former is not None and former.source == cell.source:
            cell.outputs, cell.execution_count = former.outputs, former.execution_count
    if "course" in old.metadata:
        new.metadata["course"] = old.metadata["course"]


def share_outputs(target):
    """Gives a learner's notebook the outputs of its source for the code that both have.

    So the one form that the tests execute speaks for the other: a difference of rounding between
    two executions is none between the two files.
    """
    target = Path(target)
    source_path = target.parent / "solutions" / target.name
    if not source_path.is_file():
        return
    made = nbformat.read(target, as_version=4)
    before = shared(nbformat.read(source_path, as_version=4), made)
    for cell in made.cells:
        if cell.id in before:
            cell.outputs = before[cell.id]
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = cell.execution_count
    save(made, target)


def shared(source, made):
    """Id of each code cell that both notebooks have alike -> its outputs in the source."""
    both = {cell.id: cell.source for cell in made.cells if cell.cell_type == "code"}
    return {
        cell.id: cell.outputs
        for cell in source.cells
        if cell.cell_type == "code" and both.get(cell.id) == cell.source
    }


def plain(notebook):
    """What a notebook is without outputs and without what its execution left behind."""
    metadata = {key: value for key, value in notebook.metadata.items() if key != "course"}
    return metadata, [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in notebook.cells]


def save(notebook, path):
    """Writes a notebook in one go, if it differs from the file; returns whether it did."""
    path = Path(path)
    nbformat.validate(notebook)
    text = nbformat.writes(notebook, version=4) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    # Beside it and then in its place, for somebody may be reading the folder.
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return True
