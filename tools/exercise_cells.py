"""From a notebook with solutions to the learner's: stubs for solutions, solutions folded.

In a code cell of a source notebook, three marker lines at the same indentation set the solution
apart from what the learner finds in its place, which is written as comments:

    def double(x):
        # --- solution
        return 2 * x
        # --- stub
        # return ...
        # --- end

Markdown cells tagged `solution` comment on it. Both go into one folded cell after the stub.
"""

import ast
import copy
import re
from dataclasses import dataclass, field

from nbformat import v4

MARK = re.compile(r"\s*# --- (solution|stub|end)\s*")
FOLLOWS = {"end": "solution", "solution": "stub", "stub": "end"}  # what comes after which marker
HEADING = re.compile(r"#{2,3} Exercise (\d+) \((★{1,3}), (\d+) minutes?\): \S")
HINT = re.compile(r"<details><summary>Hint (\d)</summary>")


@dataclass
class Exercise:
    """One exercise of a notebook: its cells from its heading on, and what was found in them."""

    title: str
    cells: list = field(default_factory=list)

    @property
    def checks(self):
        """Names of the checks that its cells call, in order."""
        return [name for cell in self.cells if cell.cell_type == "code" for name in checks_in(cell)]

    @property
    def hints(self):
        """Numbers of its hints, in order."""
        return [int(n) for cell in self.cells for n in HINT.findall(cell.source)]

    @property
    def solved(self):
        return any(cell.cell_type == "code" and has_solution(cell) for cell in self.cells)


def tags(cell):
    return cell.metadata.get("tags", [])


def has_solution(cell):
    return cell.cell_type == "code" and "# --- solution" in cell.source


def split(source):
    """The learner's source and the solved one, both without markers.

    Raises ValueError when the markers are not solution, stub, end, in this order, or a line of
    the stub is no comment.
    """
    stub, solved, state = [], [], "end"
    for number, line in enumerate(source.split("\n"), start=1):
        if mark := MARK.fullmatch(line):
            if mark[1] != FOLLOWS[state]:
                raise ValueError(
                    f"line {number}: '# --- {mark[1]}' where '# --- {FOLLOWS[state]}' should come"
                )
            state = mark[1]
        elif line.lstrip().startswith("# ---"):
            raise ValueError(f"line {number}: {line.strip()!r} is no marker of an exercise")
        elif state == "stub":
            code = re.fullmatch(r"(\s*)# ?(.*)", line)
            if code is None:
                raise ValueError(
                    f"line {number}: the stub is written as comments, up to '# --- end'"
                )
            stub.append((code[1] + code[2]).rstrip())
        else:
            solved.append(line)
            if state == "end":
                stub.append(line)
    if state != "end":
        raise ValueError(f"'# --- {FOLLOWS[state]}' is missing")
    return "\n".join(stub), "\n".join(solved)


def checks_in(cell):
    """Names of the exercises that a code cell checks: check("NAME", ...)."""
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        return []  # a magic; nothing of ours
    return [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "check"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]


def exercises_of(notebook):
    """The exercises of a notebook; one ends at the next heading of the first or second level.

    Raises ValueError for a heading of an exercise that is not at the start of its cell or not of
    the form `## Exercise 1 (★★, 10 minutes): its title`.
    """
    found, open_one = [], None
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            # Without fenced code, whose comments look like headings.
            text = re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE)
            for at, line in enumerate(text.split("\n")):
                if re.match(r"#+ Exercise", line):
                    if at or not HEADING.match(line):
                        raise ValueError(
                            f"cell {i}: begin a cell with '## Exercise 1 (★★, 10 minutes): its "
                            f"title', not {line!r}"
                        )
                    open_one = Exercise(line.lstrip("# "))
                    found.append(open_one)
                elif re.match(r"##? ", line):
                    open_one = None
        if open_one is not None:
            open_one.cells.append(cell)
    return found


def learner(source):
    """The learner's notebook of a source notebook, without outputs; the source stays as it is.

    Raises ValueError that names the cell whose markers are wrong.
    """
    cells, folded = [], []
    for i, cell in enumerate([*source.cells, None]):
        told = cell is not None and cell.cell_type == "markdown" and "solution" in tags(cell)
        if folded and not told and (cell is None or not has_solution(cell)):
            cells.append(_fold(folded))
            folded = []
        if cell is None:
            break
        if told:
            if not folded:
                raise ValueError(f"cell {i}: tagged solution, but no solution comes before it")
            folded.append((cell.id, cell.source.strip()))
            continue
        own = copy.deepcopy(cell)
        if cell.cell_type == "code":
            own.outputs, own.execution_count = [], None
            try:
                own.source, solved = split(cell.source)
            except ValueError as error:
                raise ValueError(f"cell {i}: {error}") from None
            if has_solution(cell):
                folded.append((cell.id, f"```python\n{_without_checks(solved)}\n```"))
        cells.append(own)
    return v4.new_notebook(cells=cells, metadata=copy.deepcopy(source.metadata))


def _without_checks(source):
    """The code without its top-level check(...) lines: the fold shows what to write."""
    lines = source.split("\n")
    for node in reversed(ast.parse(source).body):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and getattr(node.value.func, "id", "") == "check"
        ):
            del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines).strip("\n")


def _fold(parts):
    body = "\n\n".join(text for _, text in parts)
    return v4.new_markdown_cell(
        f"<details><summary>Solution</summary>\n\n{body}\n\n</details>",
        id=f"{parts[0][0]}-solution",
        metadata={"tags": ["generated"]},
    )
