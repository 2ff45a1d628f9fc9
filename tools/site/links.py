"""Addresses of the site: of pages of their own, or of the one page that is printed."""

import re
import tomllib
from pathlib import Path
from posixpath import normpath

from rlhf_course.series import BY_NUMBER
from tools.glossary_page import PAGE
from tools.release import PLACEHOLDER

ROOT = Path(__file__).resolve().parents[2]


def project_urls():
    """The project's addresses in pyproject.toml; {} as long as they are placeholders."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        urls = tomllib.load(file)["project"].get("urls", {})
    return {name: url for name, url in urls.items() if PLACEHOLDER not in url}


class Links:
    """Ids of headings, and addresses of what a notebook links to.

    `book`: all notebooks are in one page, so ids begin with the notebook's number.
    """

    def __init__(self, book=False):
        self.book = book

    def anchor(self, number, heading):
        """The id of a heading: JupyterLab's, its text with hyphens for blanks."""
        name = re.sub(r"\s+", "-", heading.strip())
        return f"n{number}-{name}" if self.book else name

    def page(self, number, anchor=""):
        """The address of a notebook's page, or of a heading in it."""
        if self.book:
            return f"#n{number}-{anchor}" if anchor else f"#n{number}"
        return f"{BY_NUMBER[number].name}.html" + (f"#{anchor}" if anchor else "")

    def address(self, number, target):
        """Where a link in the notebook of this number leads to in the site.

        Raises ValueError for a notebook that is not in the table. What lies elsewhere in the
        repository is linked where it is published, and to nowhere before that.
        """
        if re.match(r"[a-z]+:", target):
            return target
        path, _, anchor = target.partition("#")
        if not path:
            return self.page(number, anchor) if self.book else target
        name = Path(path).name
        if path == PAGE:
            return "#glossary" if self.book else "glossary.html"
        if name.endswith(".ipynb"):
            row = BY_NUMBER.get(name[:2])
            if row is None or name != f"{row.name}.ipynb":
                raise ValueError(f"expected a link to a notebook of the course, got {target!r}")
            return self.page(row.number, anchor)
        source = project_urls().get("Source")
        inside = normpath(f"notebooks/{target}")
        return f"{source}/blob/main/{inside}" if source else "index.html#run"
