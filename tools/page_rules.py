"""What keeps a notebook's page from being its reader's: plumbing, long cells, printed booleans."""

import ast
import re

from tools.exercise_cells import has_solution, split

MAX_LINES = 28  # "about 25": a cell that is a line or two longer is not cut in two
MAX_PRINTED = 8  # lines of a printed text; longer ones are tables or plots
BOOLEAN = re.compile(r"(?<![\w.(=])(?:True|False)(?![\w(])")
PLUMBING = re.compile(r"\b(?:Panel|slider|log_slider|ContourPath|Curves|go\.[A-Z]\w+)\(")


def page_faults(notebook):
    """What is wrong with the cells of a source notebook, one sentence each."""
    found, asserts = [], 0
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            if re.search(r"^## ", cell.source, re.MULTILINE):
                asserts = 0
            continue
        forms = split(cell.source) if has_solution(cell) else (cell.source,)
        lines = max(len(form.strip().split("\n")) for form in forms)
        if lines > MAX_LINES:
            found.append(f"cell {i} ({cell.id}) has {lines} lines; {MAX_LINES} are the most")
        if name := PLUMBING.search(forms[-1]):
            found.append(
                f"cell {i} ({cell.id}) builds {name[0]}...): that belongs into rlhf_course/panels"
            )
        asserts += _asserts(forms[-1])
        if asserts > 1:
            found.append(
                f"cell {i} ({cell.id}) has an assert beside another one of its section: "
                "let a claim hold it"
            )
            asserts = 1
        for output in cell.outputs:
            printed = output.get("text", "")
            shown = printed + output.get("data", {}).get("text/plain", "")
            if BOOLEAN.search(shown):
                found.append(f"cell {i} ({cell.id}) prints True or False: show the number")
            if len(printed.strip().split("\n")) > MAX_PRINTED:
                found.append(
                    f"cell {i} ({cell.id}) prints {len(printed.strip().splitlines())} "
                    "lines: make a plot or a Table of them"
                )
    return found


def _asserts(source):
    try:
        return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))
    except SyntaxError:
        return 0
