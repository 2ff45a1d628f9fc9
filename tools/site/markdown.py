"""Markdown of a notebook as HTML: nbconvert's parser, with formulas, code and links of a page."""

import re
from collections import Counter
from html import escape

import bs4
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from tools.site.formulas import formula
from tools.site.glossary import without_terms

INLINE = re.compile(r"(?<![$\\])\$([^$]+)\$")


def python(code):
    """Python as HTML, its words in classes of their kind."""
    made = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="python scroll"><code>{made.rstrip()}</code></pre>\n'


def plain(html):
    """The text of a piece of HTML."""
    return bs4.BeautifulSoup(html, "html.parser").get_text()


class Renderer(IPythonRenderer):
    """Writes the HTML of one page, with its contents as `headings`: (level, id, HTML).

    `anchor(heading's text)` is its id, `link(address)` the address in the site, `glossary` what is
    explained in the text.
    """

    def __init__(self, anchor, link, glossary):
        super().__init__(escape=False)
        self._anchor, self._link, self._glossary = anchor, link, glossary
        self.headings = []
        self._names = Counter()

    def text(self, text):
        return self._glossary.mark(text)

    def block_text(self, text):
        return text

    def inline_math(self, body):
        return formula(body)

    def block_math(self, body):
        return formula(body, display=True)

    def paragraph(self, text):
        # A formula of its own is no part of a paragraph.
        parts = re.split(r'(<div class="equation">.*?</div>\n)', text, flags=re.DOTALL)
        return "".join(
            part if part.startswith("<div") else f"<p>{part.strip()}</p>\n"
            for part in parts
            if part.strip()
        )

    def heading(self, text, level, **attrs):
        text = without_terms(text)
        name = self._anchor(plain(text))
        self._names[name] += 1
        if self._names[name] > 1:  # as a second "Predict" on a page
            name = f"{name}-{self._names[name]}"
        self.headings.append((level, name, text))
        return (
            f'<h{level} id="{escape(name)}">{text}'
            f'<a class="here" href="#{escape(name)}" aria-label="Link to this place">#</a>'
            f"</h{level}>\n"
        )

    def link(self, text, url, title=None):
        text = without_terms(text)
        if term := self._glossary.term_of(url):
            return self._glossary.link(term, text)
        return super().link(text, self._link(url), title)

    def block_code(self, code, info=None):
        if (info or "").strip() in {"python", "py"}:
            return python(code)
        return f'<pre class="scroll"><code>{escape(code.rstrip())}</code></pre>\n'

    def block_html(self, html):
        return _with_formulas(html) + "\n"

    def inline_html(self, html):
        return _with_formulas(html)


def _with_formulas(html):
    """HTML that a writer wrote: its formulas as everywhere."""
    return INLINE.sub(lambda found: formula(found[1].replace("&lt;", "<")), html)


def render(source, renderer):
    """HTML of Markdown."""
    html = MarkdownWithMath(renderer=renderer).render(source)
    html = re.sub(r"</math>(?=[,.;:?!)])", "</math>&#8288;", html)  # no line begins with a comma
    html = html.replace("<table>", '<div class="table scroll"><table>')
    return html.replace("</table>", "</table></div>")
