"""One trace of a figure: what plotly draws, and what becomes of it when the run is a former one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Trace(dict):
    """A trace as plotly's JSON, with what only a figure knows of it as attributes.

    `look` is a plotly object, which plotly has checked, or its JSON. `ghost` is how the trace looks
    when its run is a former one (None: nothing is left of it). Of a `named` one the name stands at
    its right end. A `fixed` one never changes: it is sent to the page once. `layout` are entries of
    the figure's layout that come with it, such as the names of its rows.
    """

    def __init__(
        self,
        look: Any,
        *,
        ghost: Mapping[str, Any] | None = None,
        named: bool = False,
        fixed: bool = False,
        layout: Mapping[str, Any] | None = None,
    ):
        super().__init__(look.to_plotly_json() if hasattr(look, "to_plotly_json") else look)
        if self.get("type", "scatter") == "scatter":
            # plotly leaves out axes that no trace with data asks for.
            self["type"], self["x"], self["y"] = "scatter", self.get("x", []), self.get("y", [])
        self.ghost, self.named, self.fixed, self.layout = ghost, named, fixed, layout

    def at(self, x: Any, y: Any, **changes: Any) -> Trace:
        """The same trace in other places, with these changes. It is not checked by plotly again:
        of a frame under a hand that would be half."""
        kept = {"ghost": self.ghost, "named": self.named, "fixed": self.fixed}
        return Trace({**self, "x": x, "y": y, **changes}, **kept, layout=self.layout)


def as_trace(trace: Any) -> Trace:
    """A trace that a figure's function has returned, whether plotly's own, JSON, or ready."""
    return trace if isinstance(trace, Trace) else Trace(trace)


def fixed(trace: Any) -> Trace:
    """The same trace, which never changes and so leaves no ghost."""
    found = as_trace(trace)
    return Trace(found, named=found.named, fixed=True, layout=found.layout)
