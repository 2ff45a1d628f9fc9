"""Terms and symbols that the pages explain on hover and focus.

The learners' notebooks link the first use of each term to the glossary (`tools/glossary_page.py`);
here the first λ, μ and the like in a page's prose join them. The page's script tells what a term
means, and does so for the symbols in formulas.
"""

import json
import re

from mistune.util import safe_entity

from tools.glossary_page import PAGE, anchor

MARKED = re.compile(r'<a class="term"[^>]*data-term="([^"]*)">(.*?)</a>', re.DOTALL)


def first_uses(html):
    """HTML of a page in which only the first use of each term is still a link."""
    seen = set()

    def keep(found):
        first = found[1] not in seen
        seen.add(found[1])
        return found[0] if first else found[2]

    return MARKED.sub(keep, html)


def without_terms(html):
    """HTML without links of terms, for headings and for what is a link already."""
    return MARKED.sub(r"\2", html)


class Glossary:
    """Terms as in rlhf_course/glossary.py, for pages of their own or for one `book`."""

    def __init__(self, terms, book=False):
        self.terms = sorted(terms, key=lambda term: term.name.lower())
        self._where = "" if book else "glossary.html"
        # A letter of a plain alphabet is a word more often than a symbol.
        self._symbols = {t.symbol: t for t in terms if len(t.symbol) == 1 and t.symbol > "\x7f"}
        self._pattern = re.compile(rf"(?<!\w)[{''.join(self._symbols) or ' '}](?!\w)")

    def mark(self, text):
        """HTML of a piece of text, each symbol a link."""
        parts, at = [], 0
        for found in self._pattern.finditer(text) if self._symbols else ():
            term = self._symbols[found[0]]
            parts += [safe_entity(text[at : found.start()]), self.link(anchor(term), found[0])]
            at = found.end()
        return "".join([*parts, safe_entity(text[at:])])

    def link(self, name, html):
        """A link to the term of this anchor."""
        return f'<a class="term" href="{self._where}#term-{name}" data-term="{name}">{html}</a>'

    def term_of(self, address):
        """The anchor of a term that a notebook's link to the glossary names; None for others."""
        page, _, name = address.partition("#")
        return name if page == PAGE and name else None

    def script(self, links):
        """JavaScript that hands the terms to the page's script."""
        told = {
            anchor(term): {
                "name": term.name,
                "symbol": term.symbol,
                "meaning": term.meaning,
                "page": links.page(term.notebook),
                "notebook": term.notebook,
            }
            for term in self.terms
        }
        return f"window.glossary = {json.dumps(told, ensure_ascii=False)};\n"
