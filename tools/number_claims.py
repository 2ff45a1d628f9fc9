"""Sentences of a notebook that hold numbers, and what stands behind each number.

A number in prose is held by a claim that quotes its sentence (`tools/claims.py`), or it stands
beside the cell that has it: the code cells right before or after the text print it, in an output
that the tests compare, or set it. The rest is listed by `python tools/notebooks.py check`.

What is no number of this kind: those of equations, sections, notebooks, exercises and years;
headings, hints and references; what stands in code, links and displayed formulas.
"""

import ast
import re

from tools.claims import plain_text

SKIPPED_TAGS = {"navigation", "map", "generated"}
NUMBER = re.compile(
    r"(?<![\w.^_{\\])(\d{1,3}(?:,\d{3})+|\d+\.\d+|\d+)(?:[eE]([-+]?\d+))?"
    r"(?![\w.]*\w?\()(?!\w)"
)
OUTPUT_NUMBER = re.compile(r"(?<![\w.])[-+−]?(\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?)")
REMOVED = [
    re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE),
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
    re.compile(r"<details>.*?</details>", re.DOTALL),
    re.compile(r"^#+ .*$", re.MULTILINE),
    re.compile(r"`[^`]*`"),
    re.compile(r"\]\([^)]*\)"),
    re.compile(r"\[\d\d\b[^\]]*\]?"),
    re.compile(r"^\s*\d+\. ", re.MULTILINE),
    re.compile(r"\b[Nn]otebooks?(?: \d\d(?:,| and| to| or)?)+"),
    re.compile(
        r"\b(?:[Ss]ections?|[Cc]hapters?|[Ee]qs?\.|[Ee]quations?|[Aa]lgorithms?|[Tt]heorems?"
        r"|[Tt]ables?|[Ff]igures?|[Ee]xercises?|[Pp]anels?|[Qq]uestions?|[Pp]arts?|pp?\.|[Hh]int|[Vv]ol\.)"
        r" ?\d[\d.]*(?:(?:,| and| to|–|-) ?\d[\d.]*)*"
    ),
    re.compile(r"\b(?:19|20)\d\d[a-z]?\b"),
    re.compile(r"\((?:\d+[a-z]?)\)"),
    re.compile(r"\\tfrac\s?\d\s?\d|\\[td]?frac\{[^{}]*\}\{[^{}]*\}|[_^]\{[^{}]*\}|[_^]\\?\w+"),
]


def sentences(text):
    """The sentences of a Markdown text that may hold numbers, as they are written."""
    kept = re.split(r"^#+ References", text, maxsplit=1, flags=re.MULTILINE)[0]
    kept = REMOVED[0].sub("", kept)
    kept = REMOVED[1].sub(" ", kept)
    kept = REMOVED[2].sub("", kept)
    kept = REMOVED[3].sub("", kept)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.) )", kept):
        block = plain_text(block)
        if block.startswith("**Before you start"):
            continue
        found += re.split(r"(?<=[.!?:;])\s+(?=[A-Z(\[$*|Σλμθ])", block)
    return [sentence for sentence in found if sentence]


def numbers(sentence):
    """`(number, half a unit of its last digit)` of each number that is a figure."""
    for pattern in REMOVED:
        sentence = pattern.sub(" ", sentence)
    found = []
    for match in NUMBER.finditer(sentence):
        whole, exponent = match.groups()
        digits = whole.replace(",", "")
        scale = 10.0 ** int(exponent or 0)
        if "." in digits:
            unit = 10.0 ** -len(digits.partition(".")[2])
        else:
            unit = 10.0 ** (len(digits) - len(digits.rstrip("0"))) if digits.strip("0") else 1.0
            # A whole number is exact, but for percents, which are rounded.
            unit = unit if unit > 1 or re.match(r" ?%", sentence[match.end() :]) else 0.0
        found.append((float(digits) * scale, 0.5 * unit * scale))
    return found


def _numbers_beside(cells):
    """All numbers that these code cells set, or show in outputs that are compared."""
    found = set()
    for cell in cells:
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                found.add(abs(float(node.value)))
        tags = set(cell.metadata.get("tags", []))
        if "nbval-ignore-output" in tags or cell.metadata.get("compare", {}).get("chaotic"):
            continue
        for output in cell.outputs:
            texts = [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
            for text in texts:
                for number in OUTPUT_NUMBER.findall(text):
                    try:
                        found.add(abs(float(number.rstrip(".,").replace(",", ""))))
                    except ValueError:
                        continue
    return found


def _beside(cells, i):
    """The code cells next to the Markdown cell i: the runs right before and right after it."""
    found = []
    for step in (-1, 1):
        k = i + step
        while (
            0 <= k < len(cells)
            and cells[k].cell_type == "markdown"
            and k != i
            and not re.search(r"^#{1,2} ", cells[k if step > 0 else k + 1].source, re.MULTILINE)
        ):
            k += step
        while 0 <= k < len(cells) and cells[k].cell_type == "code":
            found.append(cells[k])
            k += step
    return found


def _matches(number, half, there):
    return any(
        abs(other * scale - number) <= half + 1e-9 * max(1.0, number)
        for other in there
        for scale in (1.0, 100.0)
    )


def unheld(notebook, claims):
    """Sentences with numbers that neither a claim nor a cell beside them holds."""
    quotes = [plain_text(sentence) for claim in claims for sentence in claim.sentences]
    found = []
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown" or SKIPPED_TAGS & set(cell.metadata.get("tags", [])):
            continue
        there = None
        for sentence in sentences(cell.source):
            # 0 and 1 are names of things as often as figures; a question states nothing.
            figures = [(n, half) for n, half in numbers(sentence) if n not in (0.0, 1.0)]
            if sentence.rstrip("*_) ").endswith("?") or not re.search("[A-Za-z]{2}", sentence):
                continue
            if not figures or any(q in sentence or sentence in q for q in quotes):
                continue
            if there is None:
                there = _numbers_beside(_beside(notebook.cells, i))
            if not all(_matches(number, half, there) for number, half in figures):
                found.append(f"cell {i} ({cell.id}): no claim holds {sentence[:160]!r}")
        if re.search(r"^#+ References", cell.source, re.MULTILINE):
            break
    return found
