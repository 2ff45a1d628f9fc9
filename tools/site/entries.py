"""Predictions in a page: the notebook's own entry, with what the kernel would answer beside it."""

import json
from html import escape

from rlhf_course.checking.predictions import find
from rlhf_lib.panels.page import page


def entry(name, back):
    """The place of a prediction, or with `back` of the look back at it, with its text for print."""
    p = find(name)
    data = {
        "name": name,
        "kind": p.kind,
        "question": p.question,
        "options": list(p.options),
        "unit": p.unit,
        "axes": dict(p.axes),
        "locked": back,
    }
    if back:
        data |= {"truth": p.truth, "within": p.within, "answers": _answers(p)}
        data["nothing"] = p.entered(None)
    inside = f'<p class="question">{escape(p.question)}</p>'
    if back:
        said = escape(p.said(None))
        inside += f"<details><summary>Show the result</summary><p>{said}</p></details>"
    elif p.options:
        inside += f"<ul>{''.join(f'<li>{escape(option)}</li>' for option in p.options)}</ul>"
    return f'<div class="entry" data-entry="{escape(json.dumps(data))}">{inside}</div>\n'


def _answers(p):
    """What is said to no entry, to one that is right, and to one that is not."""
    if p.kind == "choice":
        wrong = next(option for option in p.options if option != p.truth)
        right = p.truth
    elif p.kind == "number":
        right, wrong = p.truth, p.truth + 2 * p.within + 1
    else:
        right = wrong = p.truth
    return {"none": p.said(None), "right": p.said(right), "wrong": p.said(wrong)}


def script():
    """JavaScript of the entries as the notebook has them, as `renderEntry({model, el})`."""
    code = page("number.js") + page("entry.js")
    return "const renderEntry = (() => {\n" + code.replace(
        "export default { render };", "return render;\n})();\n"
    )
