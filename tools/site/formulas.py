"""Formulas of LaTeX as MathML, which every browser of today lays out itself.

`latex2mathml` translates; what it leaves to a browser's guess is put right here: which bars open
and which close, names of functions and the space beside them, signs, and limits under `min`.
"""

import re
import unicodedata
import xml.etree.ElementTree as ET
from html import escape

from latex2mathml.converter import convert

TAG = re.compile(r"\\tag\{([^}]*)\}")
ROOM = re.compile(r"\\\\\[[^]]*\]")  # between two lines
BARS = {"|", "‖", "∣", "∥"}
OPENING, CLOSING = set("([{⟨⌈⌊"), set(")]}⟩⌉⌋")
SIGNS = {"−", "+", "±", "∓"}
LETTERS = set("′∇∂∞ℓ…⋯%°")  # what is no operator, though no letter of an alphabet
UNDER = {"min", "max", "sup", "inf", "lim"}
PRIMES = set("′″‴")
PARTS = {"mfrac": 2, "msup": 2, "msub": 2, "mover": 2, "munder": 2, "msubsup": 3, "munderover": 3}
TALL = {"mfrac", "munder", "munderover", "mtable"}
THIN = {"width": "0.167em"}


def formula(latex, display=False):
    """HTML of a formula; with `display` on lines of its own, its \\tag at the right.

    Raises ValueError for a command that the translation does not know.
    """
    if not display:
        return _mathml(latex, "inline")
    tag = TAG.search(latex)
    # What stands beside each other stands below each other where there is no room.
    made = "".join(_mathml(part, "block") for part in _apart(TAG.sub("", latex)))
    number = f'<span class="tag">({escape(tag[1])})</span>' if tag else ""
    return f'<div class="equation"><div class="scroll">{made}</div>{number}</div>\n'


def _apart(latex):
    """The pieces between \\qquad outside of all braces and environments."""
    pieces, depth = [""], 0
    for token in re.split(r"(\\qquad\b|\\begin\b|\\end\b|(?<!\\)[{}])", latex):
        depth += {"{": 1, "\\begin": 1, "}": -1, "\\end": -1}.get(token, 0)
        if token == "\\qquad" and not depth:
            pieces.append("")
        else:
            pieces[-1] += token
    return [piece for piece in pieces if piece.strip()]


def _mathml(latex, display):
    latex = ROOM.sub(r"\\\\", latex.replace(r"\arg", r"\operatorname{arg}").strip())
    try:
        made = convert(latex, display=display)
    except Exception as error:
        raise ValueError(f"expected a formula in LaTeX, got {latex!r}: {error!r}") from error
    root = ET.fromstring(made.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))
    if any(len(node) != PARTS.get(node.tag, len(node)) for node in root.iter()):
        raise ValueError(f"expected a whole formula, got {latex!r}")
    _correct(root, display == "block")
    text = ET.tostring(root, encoding="unicode")
    if unknown := re.findall(r"\\\w+", text):
        raise ValueError(f"expected known commands of LaTeX, got {', '.join(unknown)} in {latex!r}")
    return text


def _correct(root, display):
    bars = 0
    for node in root.iter():
        if node.tag == "mo":
            node.text = {r"\|": "‖"}.get(node.text, (node.text or "").lstrip("\\"))
            if node.text in BARS and "form" not in node.attrib:
                single = node.text == "∣" or (node.text == "|" and "minsize" in node.attrib)
                if not single:
                    node.attrib = {"stretchy": "false"}
                    node.set("form", "postfix" if bars % 2 else "prefix")
                    bars += 1
            elif node.text == "∞" or len(node.text) > 1:
                node.tag = "mi"
        elif node.tag == "mi" and _is_operator(node.text):
            node.tag = "mo"
    for node in list(root.iter()):
        _correct_children(node, display)


def _correct_children(node, display):
    children = list(node)
    if node.tag == "mrow" and len(children) > 1 and all(map(_upright, children)):
        node.tag, node.text = "mi", "".join(child.text for child in children)
        node.attrib = {"mathvariant": "normal"} if len(node.text) == 1 else {}
        node[:] = []
        return
    if node.tag == "mrow" and len(children) == 1 and children[0].tag == "mo":
        children[0].attrib |= {"lspace": "0", "rspace": "0"}  # {,} is no comma of a list
    if node.tag == "msup" and set("".join(children[1].itertext())) <= PRIMES:
        node.tag = "mrow"  # the sign of a prime is raised as it is
    if node.tag == "msqrt" and not any(child.tag in TALL for child in node.iter()):
        node.set("class", "line")
    if display and node.tag == "msub" and children[0].text in UNDER:
        node.tag = "munder"
    if node.tag not in {"math", "mrow", "mstyle", "mtd"}:
        return
    spaced = []
    for i, child in enumerate(children):
        before = children[i - 1] if i else None
        after = children[i + 1] if i + 1 < len(children) else None
        if child.text in SIGNS and before is not None and _ends_nothing(before):
            child.set("form", "prefix")
        if _is_name(child):
            if before is not None and not (before.tag in {"mo", "mspace"} or _is_name(before)):
                spaced.append(ET.Element("mspace", THIN))
            spaced.append(child)
            if after is not None and after.text not in OPENING | CLOSING and after.tag != "mspace":
                spaced.append(ET.Element("mspace", THIN))
        else:
            spaced.append(child)
    node[:] = spaced


def _is_operator(text):
    """Whether what came as a letter is a sign, such as a colon or a relation."""
    return len(text or "") == 1 and text not in LETTERS and unicodedata.category(text)[0] in "SP"


def _upright(node):
    return node.tag == "mi" and node.get("mathvariant") == "normal" and len(node.text) == 1


def _is_name(node):
    """Whether this is a function's name, with or without an index."""
    if node.tag in {"msub", "munder", "msup"}:
        node = node[0]
    return node.tag == "mi" and len(node.text or "") > 1 and node.text.isalpha()


def _ends_nothing(node):
    return node.tag == "mo" and node.text not in CLOSING and node.get("form") != "postfix"
