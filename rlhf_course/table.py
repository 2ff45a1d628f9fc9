"""A table as a cell shows it: a pandas frame with a caption, its numbers written alike."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any


class Table:
    """Rows of numbers and words: `rows` is a list of mappings from column to value, or a frame.

    `formats` maps a column to a format such as ".3f"; `caption` says what is shown. Column names
    carry the units. It is shown as HTML without anything that differs from run to run.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]] | Any,
        *,
        caption: str = "",
        formats: Mapping[str, str] | None = None,
    ):
        import pandas

        self.frame = rows if isinstance(rows, pandas.DataFrame) else pandas.DataFrame(list(rows))
        self.caption, self._formats = caption, dict(formats or {})
        if unknown := set(self._formats) - set(self.frame.columns):
            raise ValueError(
                f"formats: expected columns out of {', '.join(map(str, self.frame.columns))}, got "
                f"{', '.join(map(str, unknown))}"
            )

    def _written(self) -> Any:
        frame = self.frame.copy().astype(object)
        for column in frame.columns:
            how = self._formats.get(column)
            frame[column] = [_text(value, how) for value in self.frame[column]]
        return frame

    def __repr__(self) -> str:
        text = self._written().to_string(index=False)
        return f"{self.caption}\n{text}" if self.caption else text

    def _repr_html_(self) -> str:
        style = self._written().style.hide(axis="index").set_uuid("table").format(escape="html")
        style = style.format_index(escape="html", axis="columns")
        numbers = [
            c for c in self.frame.columns if all(not isinstance(v, str) for v in self.frame[c])
        ]
        style = style.set_properties(subset=numbers, **{"text-align": "right"})
        words = [c for c in self.frame.columns if c not in numbers]
        style = style.set_properties(subset=words, **{"text-align": "left"})
        if self.caption:
            style = style.set_caption(html.escape(self.caption, quote=False))
        return style.to_html()


def _text(value: Any, how: str | None) -> str:
    if value is None or value != value:
        return "–"
    if how is not None and not isinstance(value, str):
        return format(value, how)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
