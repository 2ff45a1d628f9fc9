"""What the search looks in: the text of every section, as a script that a page can load."""

import json
import re
import unicodedata

import bs4

GREEK = range(0x3B1, 0x3CA)


def entries(page, address):
    """A section of a page each: address, title of the page, heading, text and code."""
    soup = bs4.BeautifulSoup(page.html, "html.parser")
    for anchor in soup.find_all("a", class_="here"):
        anchor.decompose()
    for formula in soup.find_all("math"):
        formula.replace_with(formula.get_text())
    for folded in soup.find_all("details"):  # an answer is no result of a search
        if folded.summary.get_text() in {"Solution", "Show the result"}:
            folded.decompose()
    for section in soup.find_all("section"):
        heading = section.find(["h1", "h2"]).extract()
        code = " ".join(block.extract().get_text(" ") for block in section.find_all("pre"))
        yield {
            "page": page.title,
            "to": f"{address}#{heading['id']}" if heading.name == "h2" else address,
            "head": heading.get_text() if heading.name == "h2" else "",
            "text": _words(section.get_text(" ")),
            "code": _words(code),
        }


def script(pages, links):
    """JavaScript with the entries of all pages, and the names of the Greek letters."""
    found = [e for page in pages for e in entries(page, links.page(page.row.number))]
    greek = {unicodedata.name(chr(c)).split()[-1].lower(): chr(c) for c in GREEK}
    told = {"entries": found, "greek": greek | {"lambda": "λ"}}
    return f"window.searchIndex = {json.dumps(told, ensure_ascii=False)};\n"


def _words(text):
    return re.sub(r"\s+", " ", text).strip()
