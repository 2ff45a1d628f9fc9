"""What is made from the table of notebooks: navigation, the map in notebook 00, README's list.

The table is `rlhf_course/series.py`. A notebook that has no file yet is named as planned and
not linked.
"""

import re
from pathlib import Path

import nbformat
from nbformat import v4

from rlhf_course.series import BY_NUMBER, SERIES

MAP = "00_start_here.ipynb#Map-of-the-course"
README_BLOCK = re.compile(r"(?<=<!-- course -->\n).*?(?=<!-- /course -->)", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)")


def written(folder):
    """Numbers of the notebooks that have a file in this folder."""
    return {row.number for row in SERIES if (Path(folder) / f"{row.name}.ipynb").is_file()}


def named(row, there, prefix=""):
    """A link to the notebook of this row, or its name as planned."""
    label = f"{row.number} {row.title}"
    if row.number not in there:
        return f"{label} (planned)"
    return f"[{label}]({prefix}{row.name}.ipynb)"


def navigation(number, there):
    """One line of Markdown: previous, next, map. Past a planned one the next that is there."""
    rows = list(SERIES)
    at = rows.index(BY_NUMBER[number])
    steps = []
    for word, others in (("Previous", rows[:at][::-1]), ("Next", rows[at + 1 :])):
        if others:
            step = f"{word}: {named(others[0], there)}"
            ready = next((row for row in others if row.number in there), None)
            if ready not in (None, others[0]):
                step += f", ready now: {named(ready, there)}"
            steps.append(step)
    return " · ".join([*steps, f"[Map of the course]({MAP})"])


def course_map(there):
    """The table of all notebooks for notebook 00."""
    lines = ["| part | notebook | you will be able to | read | Run All |", "|---|---|---|---|---|"]
    part = None
    for row in SERIES:
        shown, part = ("" if row.part == part else row.part), row.part
        lines.append(
            f"| {shown} | {named(row, there)} | {row.able} | {_minutes(row, there)} | "
            f"{_seconds(row, there)} |"
        )
    return "\n".join(lines)


def readme_table(there):
    """The list of notebooks for README, planned ones in one line below."""
    lines = ["| notebook | you will be able to | read | Run All |", "|---|---|---|---|"]
    lines += [
        f"| {named(row, there, 'notebooks/')} | {row.able} | {_minutes(row, there)} | "
        f"{_seconds(row, there)} |"
        for row in SERIES
        if row.number in there
    ]
    planned = [f"{row.number} {row.title}" for row in SERIES if row.number not in there]
    if planned:
        lines += ["", f"Planned: {', '.join(planned)}."]
    return "\n".join(lines) + "\n"


def with_readme_table(text, there):
    """README's text with its list of notebooks made anew. Raises ValueError without the marks."""
    if not README_BLOCK.search(text):
        raise ValueError("README.md has no lines <!-- course --> and <!-- /course -->")
    return README_BLOCK.sub(lambda _: readme_table(there), text)


def place_generated_cells(notebook, number, there):
    """Puts, in place, the navigation last and the map into the cell tagged `map`."""
    cells = [cell for cell in notebook.cells if "navigation" not in cell.metadata.get("tags", [])]
    for cell in cells:
        if "map" in cell.metadata.get("tags", []):
            cell.source = course_map(there)
    last = v4.new_markdown_cell(
        f"---\n{navigation(number, there)}", id="navigation", metadata={"tags": ["navigation"]}
    )
    notebook.cells = [*cells, last]


def broken_links(texts, folder):
    """Relative links in Markdown that lead nowhere, one sentence each.

    `texts` are the Markdown pieces of one file that lies in `folder`.
    """
    broken = []
    for target in (target for text in texts for target in LINK.findall(text)):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = Path(folder) / name
        if name and not path.exists():
            broken.append(f"the link {target} leads nowhere")
        elif anchor and name.endswith(".ipynb") and not _has_heading(path, anchor):
            broken.append(f"the link {target} names no heading of {name}")
    return broken


def _has_heading(path, anchor):
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    # JupyterLab's anchor of a heading: its text with hyphens for blanks.
    return anchor in {h.replace(" ", "-") for h in re.findall("^#+ (.*)", text, re.MULTILINE)}


def _minutes(row, there):
    return f"{row.read} min" if row.number in there and row.read else ""


def _seconds(row, there):
    return f"{row.run} s" if row.number in there and row.run else ""
