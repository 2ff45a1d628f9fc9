"""What a notebook of the course lacks: exercises, hints, right feedback, working links."""

import re
from pathlib import Path

import nbformat

from rlhf_course.checking.registry import exercises
from rlhf_course.series import BY_NUMBER
from tools.course_build import SOLUTIONS, made_from, plain, shared
from tools.course_map import broken_links, written
from tools.exercise_cells import checks_in, exercises_of

# How a saved answer to a check has to begin.
SAYS = {True: "✓ Correct", False: "… Not attempted yet"}
PLANNED = re.compile(r"[Nn]otebooks? ((?:\d\d(?:, | and )?)+) ?\(planned\)")


def belongs(path):
    """Whether this is a notebook of the course or its source, by its place."""
    return Path(path).resolve().parent in (SOLUTIONS, SOLUTIONS.parent)


def course_faults(path):
    """What is wrong with a notebook as part of the course, one sentence each."""
    path = Path(path)
    number = path.stem[:2]
    row = BY_NUMBER.get(number)
    if row is None or path.stem != row.name:
        return ["its name is not in the table of rlhf_course/series.py"]
    notebook = nbformat.read(path, as_version=4)
    is_source = path.resolve().parent == SOLUTIONS
    found = _out_of_step(path, notebook, is_source)
    if is_source:
        found += _first_cell(notebook, row) + _exercises(notebook, number)
        found += _called_planned(notebook)
    else:
        found += _outputs_of_the_source(path, notebook)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found += broken_links(texts, path.parent)
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for name in checks_in(cell):
            said = _shown(cell)
            if not said.startswith(SAYS[is_source]):
                found.append(f"cell {i}: {name} should say {SAYS[is_source]!r}, not {said[:90]!r}")
    return found


def _shown(cell):
    """The text of a cell's last result, which is the feedback."""
    results = [
        o.data.get("text/plain", "")
        for o in cell.outputs
        if o.output_type in ("execute_result", "display_data")
    ]
    return results[-1] if results else ""


def _out_of_step(path, notebook, is_source):
    source_path = path if is_source else SOLUTIONS / path.name
    if not source_path.is_file():
        return [f"it has no source {source_path.parent.name}/{path.name}"]
    try:
        source, made = made_from(source_path)
    except ValueError as error:
        return [str(error)]
    if plain(source if is_source else made) == plain(notebook):
        return []
    if is_source:
        return ["its navigation or map is out of date: tools/notebooks.py build"]
    return ["it is not what its source makes: change the source, then tools/notebooks.py build"]


def _outputs_of_the_source(path, notebook):
    source_path = SOLUTIONS / path.name
    if not source_path.is_file():
        return []
    there = shared(nbformat.read(source_path, as_version=4), notebook)
    return [
        f"cell {i} ({cell.id}) shows other outputs than its source: tools/notebooks.py execute"
        for i, cell in enumerate(notebook.cells)
        if cell.id in there and _shown_by(cell.outputs) != _shown_by(there[cell.id])
    ]


def _shown_by(outputs):
    return [
        {key: value for key, value in output.items() if key != "execution_count"}
        for output in outputs
    ]


def _first_cell(notebook, row):
    found, text = [], notebook.cells[0].source
    if not text.startswith(f"# {row.number} · {row.title}"):
        found.append(f"its first line should begin with '# {row.number} · {row.title}'")
    for value, unit, name in ((row.read, "minutes", "read"), (row.run, "seconds", "run")):
        if value is None:
            found.append(f"rlhf_course/series.py has no `{name}` for it")
        elif f"{value} {unit}" not in text:
            found.append(f"its first cell should name the {value} {unit} of the table")
    return found


def _exercises(notebook, number):
    try:
        parts = exercises_of(notebook)
    except ValueError as error:
        return [str(error)]
    found, known = [], exercises(number)
    if len(parts) < 2:
        found.append(f"it has {len(parts)} exercises; two are the least")
    for part in parts:
        if part.hints != [1, 2, 3]:
            found.append(f"{part.title!r} has the hints {part.hints}; 1, 2, 3 are wanted")
        if not part.solved:
            found.append(f"{part.title!r} has no '# --- solution'")
        if not part.checks:
            found.append(f"{part.title!r} calls no check")
        found += [
            f"{part.title!r} checks {name}, which is no check of this notebook"
            for name in part.checks
            if name not in known
        ]
    called = {name for part in parts for name in part.checks}
    found += [f"the check {name} is in no exercise" for name in known if name not in called]
    if not any(known[name].goal for name in called if name in known):
        found.append("no exercise is a goal of its panel (see rlhf_course/checking/goals.py)")
    return found


def _called_planned(notebook):
    there = written(SOLUTIONS)
    found = []
    for i, cell in enumerate(notebook.cells):
        if {"navigation", "map"} & set(cell.metadata.get("tags", [])):
            continue
        for phrase in PLANNED.findall(cell.source):
            found += [
                f"cell {i} calls notebook {number} planned, but it is there: link it"
                for number in re.findall(r"\d\d", phrase)
                if number in there
            ]
    return found
