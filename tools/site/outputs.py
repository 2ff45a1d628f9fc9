"""Outputs of executed cells as HTML: text, tables, pictures, and the places of the panels."""

import base64
import io
from html import escape
from pathlib import Path

import bs4
from PIL import Image

from rlhf_lib.panels.saving import GAP
from tools.pictures import SCALE, WIDTH

PANEL = "Panel: "
COLUMN = round(WIDTH * SCALE)  # pixels of a figure in a picture of two columns
NOT_RUN = "… Not attempted yet"  # what a check says of a stub


class Outputs:
    """Writes the outputs of one notebook; its pictures go into `folder`/figures.

    `panels` counts the panels that it has written.
    """

    def __init__(self, number, folder):
        self._number, self._folder = number, Path(folder)
        self.panels = 0

    def html(self, cell):
        """HTML of all outputs of a cell. Raises ValueError for one of an unknown kind."""
        printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        parts = [_text(printed)] if printed.strip() else []
        for output in cell.outputs:
            if output.output_type == "error":
                parts.append(_text(f"{output.ename}: {output.evalue}"))
            elif output.output_type != "stream":
                parts.append(self._shown(cell.id, output.data))
        return "".join(parts)

    def _shown(self, name, data):
        text = data.get("text/plain", "")
        if "image/png" in data:
            return self._figure(name, data["image/png"], text)
        if "text/html" in data:
            return table(data["text/html"])
        if text.startswith(NOT_RUN):
            return ""
        if "text/plain" not in data:
            raise ValueError(
                f"{self._number}, cell {name}: expected an output with a picture, HTML or text, "
                f"got {', '.join(data)}"
            )
        return _text(text)

    def _figure(self, name, encoded, text):
        title, _, said = text.partition("\n")
        images = "".join(self._pictures(name, base64.b64decode(encoded), said or title))
        caption = f"<figcaption>{escape(said)}</figcaption>" if said else ""
        if not title.startswith(PANEL):
            return f'<figure><div class="pictures">{images}</div>{caption}</figure>\n'
        self.panels += 1
        title = escape(title.removeprefix(PANEL))
        number, k = self._number, self.panels
        return (
            f'<div class="panel" id="panel-{number}-{k}" data-notebook="{number}" '
            f'data-panel="{k}" data-title="{title}">\n'
            f'<figure class="panel-still"><p class="panel-title">{title}</p>'
            f'<div class="pictures">{images}</div>{caption}'
            '<p class="panel-how">A picture of the first state. In the '
            '<a href="index.html#run">notebook</a> it moves.</p></figure>\n</div>\n'
        )

    def _pictures(self, name, png, words):
        """An image element for each column of a picture, so that on a phone they stand below one
        another."""
        picture = Image.open(io.BytesIO(png))
        two = picture.width == 2 * COLUMN + GAP
        lefts = [0, COLUMN + GAP] if two else [0]
        for letter, left in zip("ab", lefts, strict=False):
            right = left + COLUMN if two else picture.width
            path = self._folder / "figures" / f"{self._number}-{name}-{letter}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            part = picture.crop((left, 0, right, picture.height)) if two else None
            held = io.BytesIO()
            part.save(held, "PNG", optimize=True) if two else held.write(png)
            path.write_bytes(held.getvalue())
            # One reading of the sentence is enough.
            alt = escape(words if letter == "a" else "")
            yield (
                f'<img src="figures/{path.name}" width="{(right - left) / SCALE:.0f}" '
                f'height="{picture.height / SCALE:.0f}" alt="{alt}" loading="lazy">'
            )


def _text(text):
    return f'<pre class="output scroll">{escape(text.rstrip())}</pre>\n'


def table(html):
    """A table of a cell's output in the page's own style: no ids, no styles but numbers at right.

    Raises ValueError for HTML that holds no table.
    """
    soup = bs4.BeautifulSoup(html, "html.parser")
    styles = " ".join(style.get_text() for style in soup.find_all("style"))
    right = {
        name
        for rule in styles.split("}")
        if "text-align: right" in rule
        for name in rule.partition("{")[0].replace("#", " ").replace(",", " ").split()
    }
    found = soup.find("table")
    if found is None:
        raise ValueError(f"expected a table in the HTML of an output, got {html[:80]!r}")
    numbers = {c["class"][-1] for c in found.find_all("td", id=True) if c["id"] in right}
    for cell in found.find_all(True):
        column = cell.get("class", [""])[-1]
        is_number = column in numbers
        cell.attrs = {k: v for k, v in cell.attrs.items() if k in {"scope", "colspan", "rowspan"}}
        if is_number:
            cell["class"] = "number"
        if cell.name == "th" and cell.find_parent("thead"):
            cell["scope"] = "col"
    found.attrs = {}
    return f'<div class="table scroll">{found}</div>\n'
