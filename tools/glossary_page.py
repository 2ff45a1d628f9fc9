"""The page of terms, and links to it from the first use of each in a learner's notebook."""

import re

from rlhf_course.glossary import GLOSSARY
from rlhf_course.series import BY_NUMBER

PAGE = "glossary.md"
# What is no prose: fenced code, formulas, code, links and pictures, HTML, headings, bare addresses.
LEFT_OUT = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`|!?\[[^\]]*\]\([^)]*\)|<details>.*?</details>"
    r"|<[^>\n]+>|^#+ .*?$|https?://\S+",
    re.DOTALL | re.MULTILINE,
)
SKIPPED = {"navigation", "map", "generated"}


def anchor(term):
    """The id of the term's heading on the page, as GitHub makes it."""
    return re.sub(r"[^\w-]", "", term.name.lower().replace(" ", "-"))


def page():
    """The Markdown of the page."""
    lines = [
        "# Terms and symbols",
        "",
        "One symbol has one meaning in all notebooks. Made by `python tools/notebooks.py build`",
        "from `rlhf_course/glossary.py`.",
        "",
        "| symbol | term |",
        "|---|---|",
    ]
    with_symbol = [term for term in GLOSSARY if term.symbol]
    lines += [f"| {t.symbol.replace('|', '¦')} | [{t.name}](#{anchor(t)}) |" for t in with_symbol]
    for term in sorted(GLOSSARY, key=lambda t: t.name.lower()):
        row = BY_NUMBER[term.notebook]
        symbol = f"{term.symbol}. " if term.symbol else ""
        also = f" Also: {', '.join(term.also)}." if term.also else ""
        home = f"[{row.number} {row.title}]({row.name}.ipynb)"
        lines += ["", f"## {term.name}", "", f"{symbol}{term.meaning}{also} First in {home}."]
    return "\n".join(lines) + "\n"


def _words():
    found = {word.lower(): term for term in GLOSSARY for word in (term.name, *term.also)}
    longest = sorted(found, key=len, reverse=True)
    pattern = rf"(?<![\w-])({'|'.join(map(re.escape, longest))})(?:e?s)?(?![\w-])"
    return found, re.compile(pattern, re.IGNORECASE)


WORDS, PATTERN = _words()


def link_terms(notebook):
    """Links, in place, the first use of each term in a notebook's prose to the page.

    The first cell stays as it is, and so do what is generated, headings, hints, formulas and code.
    """
    seen = set()

    def linked(match):
        term = WORDS[match[1].lower()]
        if term.name in seen:
            return match[0]
        seen.add(term.name)
        return f'[{match[0]}]({PAGE}#{anchor(term)} "{term.meaning}")'

    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown" and not SKIPPED & set(cell.metadata.get("tags", [])):
            prose, end, references = "", 0, cell.source.find("## References")
            text = cell.source if references < 0 else cell.source[:references]
            for out in LEFT_OUT.finditer(text):
                prose += PATTERN.sub(linked, text[end : out.start()]) + out[0]
                end = out.end()
            cell.source = prose + PATTERN.sub(linked, text[end:]) + cell.source[len(text) :]
