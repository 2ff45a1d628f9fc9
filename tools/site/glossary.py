"""Terms and symbols that the pages explain: marked in the text, told on hover and focus."""

import json
import re
from html import escape
from importlib import import_module
from importlib.util import find_spec

from mistune.util import safe_entity

MODULE = "rlhf_course.glossary"
MARKED = re.compile(r'<a class="term"[^>]*data-term="([^"]*)">(.*?)</a>', re.DOTALL)


def course_glossary():
    """The terms of the course: `GLOSSARY` of rlhf_course/glossary.py."""
    return import_module(MODULE).GLOSSARY if find_spec(MODULE) else ()


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


def slug(term):
    """The id of a term on the page of the glossary."""
    return "term-" + re.sub(r"\W+", "-", term.name.lower()).strip("-")


class Glossary:
    """Terms, each with `name`, `symbol` (or ""), `meaning` and `notebook`, the number of its home.

    A page marks the first use of each in its text: by its name in any case, singular or plural, and
    by its symbol if that is no letter of a plain alphabet. Formulas are left to the page's script.
    """

    def __init__(self, terms, book=False):
        self.terms = sorted(terms, key=lambda term: term.name.lower())
        self._book = book
        self._by_word = {}
        for term in self.terms:
            self._by_word[term.name.lower()] = term
            if term.symbol and not term.symbol.isascii():
                self._by_word[term.symbol] = term
        words = sorted(self._by_word, key=len, reverse=True)
        names = "|".join(re.escape(word) for word in words)
        self._pattern = re.compile(rf"(?<![\w-])({names})(?:e?s)?(?![\w-])", re.IGNORECASE)

    def mark(self, text):
        """HTML of a piece of text, every use of a term a link."""
        if not self._by_word:
            return safe_entity(text)
        parts, at = [], 0
        for found in self._pattern.finditer(text):
            term = self._by_word.get(found[1]) or self._by_word.get(found[1].lower())
            if term is None:  # Λ is no λ
                continue
            parts += [safe_entity(text[at : found.start()]), self._link(term, found[0])]
            at = found.end()
        return "".join([*parts, safe_entity(text[at:])])

    def _link(self, term, text):
        name = slug(term)
        where = "" if self._book else "glossary.html"
        return f'<a class="term" href="{where}#{name}" data-term="{name}">{escape(text)}</a>'

    def script(self, links):
        """JavaScript that hands the terms to the page's script."""
        told = {
            slug(term): {
                "name": term.name,
                "symbol": term.symbol,
                "meaning": term.meaning,
                "page": links.page(term.notebook),
                "notebook": term.notebook,
            }
            for term in self.terms
        }
        return f"window.glossary = {json.dumps(told, ensure_ascii=False)};\n"
