"""A notebook as a page: what its reader reads, without what only a kernel can do."""

import re
from dataclasses import dataclass, field
from html import escape

import nbformat

from tools.exercise_cells import checks_in, tags
from tools.site.entries import entry
from tools.site.glossary import first_uses
from tools.site.markdown import Renderer, plain, python, render
from tools.site.outputs import Outputs

ENTRY = re.compile(r'(predict|look_back)\("([\w.]+)"\)')
SECTION = re.compile(r'(?=<h2 id=")')
NEEDS_PYTHON = (
    '<p class="needs-python">The check runs your code, so it needs Python: '
    '<a href="index.html#run">open the notebook</a>.</p>\n'
)


@dataclass
class Page:
    """One page of the course: `html` of its text, `contents` as (id, HTML of the heading)."""

    row: object
    title: str
    html: str
    contents: list = field(default_factory=list)
    panels: int = 0


def read(row, path, folder, links, glossary):
    """The page of the notebook of this row of the series; its pictures go into `folder`.

    `links` has the addresses (`tools/site/links.py`), `glossary` what is explained in the text.
    Raises ValueError that names the notebook and the cell for what cannot be shown.
    """
    notebook = nbformat.read(path, as_version=4)
    renderer = Renderer(
        lambda heading: links.anchor(row.number, heading),
        lambda address: links.address(row.number, address),
        glossary,
    )
    outputs = Outputs(row.number, folder)
    parts = []
    for cell in notebook.cells:
        if "navigation" in tags(cell):
            continue
        try:
            parts.append(_cell(cell, renderer, outputs))
        except ValueError as error:
            raise ValueError(f"{path.name}, cell {cell.id}: {error}") from error
    first, *others = SECTION.split(first_uses("".join(parts)))
    html = f'<section class="opening">\n{first}</section>\n' + "".join(map(_section, others))
    title = next(text for level, _, text in renderer.headings if level == 1)
    contents = [(name, text) for level, name, text in renderer.headings if level == 2]
    return Page(row, plain(title), html, contents, outputs.panels)


def _cell(cell, renderer, outputs):
    if cell.cell_type == "markdown":
        return render(cell.source, renderer)
    if cell.cell_type != "code":
        return f'<pre class="scroll">{escape(cell.source)}</pre>\n'
    if asked := ENTRY.fullmatch(cell.source.strip()):
        return entry(asked[2], back=asked[1] == "look_back")
    if cell.source.strip() == "progress()":  # of whoever executed the notebook
        return _code(cell) + NEEDS_PYTHON.replace("The check runs your code, so it", "This")
    check = bool(checks_in(cell))
    return _code(cell, open=check) + outputs.html(cell) + NEEDS_PYTHON * check


def _code(cell, open=False):
    """A cell's code, folded; that of an exercise is the task, and open."""
    lines = cell.source.strip().split("\n")
    if not lines[0]:
        return ""
    if open:
        return python(cell.source)
    count = f"{len(lines)} line{'s' * (len(lines) > 1)}"
    return (
        f'<details class="code"><summary>Code <span class="lines">{count}</span></summary>\n'
        f"{python(cell.source)}</details>\n"
    )


def _section(html):
    name, exercise = re.match(r'<h2 id="([^"]*)">(Exercise)?', html).groups()
    if html.count("<details") != html.count("</details>"):
        raise ValueError(f"expected a heading outside of what is folded, got {name}")
    kind = ' class="exercise"' if exercise else ""
    return f"<section{kind}>\n{html}</section>\n"
