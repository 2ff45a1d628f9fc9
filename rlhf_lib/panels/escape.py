"""Texts of users, shown as they are: plotly takes `<b>`, `<a href>` and `&lt;` in them for markup.

A line break is written "\\n".
"""

from __future__ import annotations

from typing import Any

_TEMPLATES = ("hovertemplate", "texttemplate")
_NO_NAME = "<extra></extra>"  # at a template's end: plotly's own word for no second box


def as_text(value: Any) -> Any:
    """plotly's JSON, whatever is in it, with every text such that plotly shows it letter by letter.

    A page gets nothing from a kernel that has not come through here.
    """
    if isinstance(value, str):
        return value.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")
    if isinstance(value, dict):
        return {k: _template(v) if k in _TEMPLATES else as_text(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [v if type(v) in (float, int) else as_text(v) for v in value]
    return value


def _template(text: Any) -> Any:
    if isinstance(text, str) and text.endswith(_NO_NAME):
        return as_text(text.removesuffix(_NO_NAME)) + _NO_NAME
    return as_text(text)
