"""A notebook as plain text that can be written by hand: cells under lines that begin with %%.

    %% markdown
    # 05 · Hessian-vector products
    %% code tags=nbval-ignore-output id=seconds
    print(1)

An id is only needed to keep a cell's outputs when it moves; without one it is its place.
"""

import re

from nbformat import v4

HEAD = re.compile(r"%% (markdown|code)((?: (?:id|tags)=\S+)*)\s*")


def to_text(notebook):
    """The cells, without outputs; `from_text` makes the same cells of it.

    Raises ValueError for a cell with a line that begins with %%, as cell magics do.
    """
    pieces = []
    for cell in notebook.cells:
        if "navigation" in cell.metadata.get("tags", []):
            continue
        if re.search("^%%", cell.source, re.MULTILINE):
            raise ValueError(f"a line of the cell {cell.id} begins with %%")
        tags = cell.metadata.get("tags", [])
        head = f"%% {cell.cell_type} id={cell.id}" + (f" tags={','.join(tags)}" if tags else "")
        pieces.append(f"{head}\n{cell.source}\n")
    return "\n".join(pieces)


def from_text(text, old=None):
    """A notebook of this text; cells that `old` has alike keep their outputs.

    Raises ValueError for text before the first head, for a line with %% that is no head, and for a
    head that is not on a line of its own.
    """
    from tools.course_build import keep_outputs

    cells, lines = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.startswith("%%"):
            if re.search("%% (markdown|code)", line):
                raise ValueError(f"line {number}: a new line should begin before {line[-40:]!r}")
            if not cells and line.strip():
                raise ValueError(f"line {number}: the text should begin with '%% markdown'")
            lines.append(line)
            continue
        head = HEAD.fullmatch(line)
        if head is None:
            raise ValueError(f"line {number}: expected '%% markdown' or '%% code', got {line!r}")
        _fill(cells, lines)
        lines = []
        options = dict(option.split("=", 1) for option in head[2].split())
        metadata = {"tags": options["tags"].split(",")} if "tags" in options else {}
        make = v4.new_markdown_cell if head[1] == "markdown" else v4.new_code_cell
        cells.append(make("", metadata=metadata, id=options.get("id", f"c{len(cells):02}")))
    _fill(cells, lines)
    ids = [cell.id for cell in cells]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise ValueError(f"two cells have the id {', '.join(sorted(twice))}")
    notebook = v4.new_notebook(cells=cells)
    if old is not None:
        keep_outputs(old, notebook)
    return notebook


def _fill(cells, lines):
    if cells:
        cells[-1].source = "\n".join(lines).strip("\n")
