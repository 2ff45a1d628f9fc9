"""The course as pages that need nothing but a browser: python -m tools.site [FOLDER].

They are made from the committed notebooks with their outputs; no cell is executed. The folder
(default build/site) is made anew. `make pdf` prints book.html, which has all pages in one.
"""

import argparse
import shutil
import time
from itertools import groupby
from pathlib import Path

import jinja2
from pygments.formatters import HtmlFormatter

import rlhf_lib
from rlhf_course.glossary import GLOSSARY
from rlhf_course.series import SERIES
from rlhf_lib.panels.page import page as panel_file
from tools import docs
from tools.glossary_page import anchor
from tools.site import alive, search
from tools.site.entries import script as entries_script
from tools.site.glossary import Glossary
from tools.site.links import ROOT, Links, project_urls
from tools.site.notebook import read

HERE = Path(__file__).resolve().parent
TITLE = "Regularized Learning with Hessian-Free optimization"
COPIED = ("math.woff2", "root.woff2", "mark.svg", "site.js", "search.js", "glossary.js")


def build(folder, api=True, panels=True):
    """Write the site into `folder`, with the API's pages and with panels that move; the pages.

    Raises FileExistsError for a folder that is there and no site's.
    """
    whole = Path(folder)
    if whole.exists() and not (whole / "assets" / "site.css").is_file() and any(whole.iterdir()):
        raise FileExistsError(f"expected a folder for the site alone, got {whole}")
    # Beside it until it is whole: the former one stays readable, and an interruption leaves it.
    folder = whole.with_name(f".{whole.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    rows = [row for row in SERIES if _path(row).is_file()]
    glossary, links = Glossary(GLOSSARY), Links()
    shared = {
        "version": rlhf_lib.__version__,
        "urls": project_urls(),
        "terms": glossary.terms,
        "anchor": anchor,
        "links": links,
        "rows": rows,
        "first_script": (HERE / "assets" / "first.js").read_text(),
        "description": f"{TITLE}: a course.",
    }
    write = _writer(folder, shared)
    pages = [read(row, _path(row), folder, links, glossary) for row in rows]
    for i, page in enumerate(pages):
        write(
            f"{page.row.name}.html",
            "page.html",
            title=f"{page.title} · RLHF course",
            description=f"You will be able to {page.row.able}.",
            page=page,
            alive=alive.write(page.row.number, folder) if panels and page.panels else [],
            before=rows[i - 1] if i else None,
            after=rows[i + 1] if i + 1 < len(rows) else None,
        )
    parts = [(part, list(group)) for part, group in groupby(rows, lambda row: row.part)]
    write("index.html", "start.html", title=TITLE, parts=parts)
    write("glossary.html", "glossary.html", title="Glossary · RLHF course")
    book = Links(book=True)
    printed = Glossary(GLOSSARY, book=True)
    write(
        "book.html",
        "book.html",
        title=TITLE,
        links=book,
        pages=[read(row, _path(row), folder, book, printed) for row in rows],
    )
    _assets(folder, pages, glossary, links)
    shutil.rmtree(whole, ignore_errors=True)
    folder.rename(whole)
    if api:
        docs.main(whole / "api")
    return pages


def _path(row):
    return ROOT / "notebooks" / f"{row.name}.ipynb"


def _writer(folder, shared):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )

    def write(name, template, **values):
        folder.mkdir(parents=True, exist_ok=True)
        html = environment.get_template(template).render({"alive": []} | shared | values)
        (folder / name).write_text(html, encoding="utf-8")

    return write


def _assets(folder, pages, glossary, links):
    assets = folder / "assets"
    assets.mkdir(exist_ok=True)
    for name in COPIED:
        shutil.copyfile(HERE / "assets" / name, assets / name)
    light = HtmlFormatter(style="default").get_style_defs(".python")
    dark = HtmlFormatter(style="github-dark").get_style_defs('[data-theme="dark"] .python')
    style = (HERE / "assets" / "site.css").read_text()
    (assets / "site.css").write_text("\n".join([light, dark, panel_file("entry.css"), style]))
    (assets / "entries.js").write_text(
        entries_script() + (HERE / "assets" / "entries.js").read_text()
    )
    (assets / "search-index.js").write_text(search.script(pages, links))
    (assets / "terms.js").write_text(glossary.script(links))


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.site", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--no-api", action="store_true", help="without the API's pages")
    parser.add_argument("--no-panels", action="store_true", help="all panels as pictures")
    arguments = parser.parse_args()
    start = time.monotonic()
    pages = build(arguments.folder, not arguments.no_api, not arguments.no_panels)
    files = [path for path in arguments.folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    seconds = time.monotonic() - start
    print(f"{len(pages)} notebooks, {len(files)} files, {size:.1f} MB, {seconds:.0f} s")
    print(f"{(arguments.folder / 'index.html').resolve().as_uri()}")


if __name__ == "__main__":
    main()
