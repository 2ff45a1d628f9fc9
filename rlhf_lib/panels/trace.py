"""A trace that changes with each redraw, as plain data.

plotly's own objects check and copy on each change: of a frame under a hand that would be half.
"""

from __future__ import annotations

from typing import Any


class Trace(dict):
    """A trace as plotly's JSON, whose entries are attributes as well; what is not there is None.

    `Trace(go.Scatter(...).to_plotly_json())` has been checked by plotly once.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.get(name, {} if name in ("line", "marker") else None)
        return Trace(value) if isinstance(value, dict) else value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, **changes: Any) -> Trace:  # pyrefly: ignore[bad-override] by name alone
        """Set entries; those that are dicts are merged, and `marker_size=8` sets the one inside."""
        for name, value in changes.items():
            outer, _, inner = name.partition("_")
            if inner and outer in ("line", "marker"):
                name, value = outer, {inner: value}
            merged = isinstance(value, dict) and isinstance(self.get(name), dict)
            self[name] = {**self[name], **value} if merged else value
        return self
