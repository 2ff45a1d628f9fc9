"""A notebook as plain text that can be written by hand: cells under lines that begin with %%.

    %% markdown
    # 04 · Hessian-vector products
    %% code id=grid compare=relative:0.02,counts:1
    print(1)
    %% code hidden=yes
    # What a cell must do, but its reader need not see: folded in JupyterLab.

An id is only needed to keep a cell's outputs when it moves; without one it is its place. `compare`
is the tolerance of the tests for this cell's numbers (`tools/nbval_hooks.py`), or `chaotic`.
"""

import re

from nbformat import v4

HEAD = re.compile(r"%% (markdown|code)((?: (?:id|tags|compare|hidden)=\S+)*)\s*")


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
        if "compare" in cell.metadata:
            head += f" compare={_compare_text(cell.metadata['compare'])}"
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            head += " hidden=yes"
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
        if "compare" in options:
            try:
                metadata["compare"] = _compare(options["compare"])
            except ValueError:
                raise ValueError(
                    f"line {number}: expected compare=chaotic or such as "
                    f"compare=relative:0.02,counts:1, got {options['compare']!r}"
                ) from None
        if "hidden" in options:
            metadata["jupyter"] = {"source_hidden": True}
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


def _compare(text):
    """{"relative": 0.02, "counts": 1} of the text relative:0.02,counts:1."""
    if text == "chaotic":
        return {"chaotic": True}
    pairs = dict(pair.split(":") for pair in text.split(","))
    if not set(pairs) <= {"relative", "absolute", "counts"}:
        raise ValueError(text)
    return {name: int(value) if name == "counts" else float(value) for name, value in pairs.items()}


def _compare_text(compare):
    if compare.get("chaotic"):
        return "chaotic"
    return ",".join(f"{name}:{value:g}" for name, value in compare.items())
