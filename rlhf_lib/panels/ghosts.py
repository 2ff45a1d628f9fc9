"""What former runs leave in a figure: its traces of those runs, dimmed, each run with a name."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_lib.panels.theme import run_colours
from rlhf_lib.panels.trace import Trace

SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"]
PLACES = ["middle right", "bottom right", "top right", "middle left", "bottom left"]


class Ghosts:
    """The traces of former runs, the oldest run first.

    A symbol at the end of its lines tells each run from the others, also where colours cannot; bars
    get one symbol each. Its name stands at the right end of one curve where the figure names
    curves there, and else at its last point.
    """

    def __init__(self) -> None:
        self._runs: list[list[Trace]] = []

    @property
    def labels(self) -> list[str]:
        """The names of the runs."""
        return [run[0]["name"] for run in self._runs]

    def add(self, label: str, traces: Sequence[Trace], keep: int) -> None:
        """Keep what these traces leave under a name, and of all runs the last `keep`."""
        left = [trace for trace in traces if trace.ghost is not None]
        if not left or keep < 1:
            return
        used = [run[0]["legendgroup"] for run in self._runs[-keep + 1 :]] * (keep > 1)
        number = next((i for i, s in enumerate(SYMBOLS) if s not in used), 0)
        run = [_ghost(trace, label, SYMBOLS[number], i == 0) for i, trace in enumerate(left)]
        if any(trace.named for trace in traces):
            carrier = max((i for i, trace in enumerate(left) if trace.named), default=0)
            run[carrier].named = True
        else:
            run[0] |= {
                "mode": f"{run[0]['mode']}+text",
                "text": [""] * (len(run[0]["x"]) - 1) + [label],
                "textposition": PLACES[number % len(PLACES)],
                "textfont": {"size": 11},
            }
        self._runs = [*self._runs, run][-keep:]
        self._colour()

    def forget(self, label: str | None = None) -> None:
        """Take away the runs of this name, or all of them."""
        self._runs = [run for run in self._runs if label not in (None, run[0]["name"])]
        self._colour()

    def besides(self, now: Sequence[Trace]) -> list[Trace]:
        """All but the runs that what is drawn now lies on: their names would hide its own."""
        places = [(t.get("x"), t.get("y")) for t in now if t.ghost is not None]
        shown = [run for run in self._runs if [(t["x"], t["y"]) for t in run] != places]
        return [trace for run in shown for trace in run]

    def _colour(self) -> None:
        # As new traces: the page is sent what is no longer the same.
        colours = run_colours(self.labels)
        self._runs = [
            [_coloured(trace, colour) for trace in run]
            for run, colour in zip(self._runs, colours, strict=True)
        ]


def _ghost(trace: Trace, label: str, symbol: str, first: bool) -> Trace:
    look = dict(trace.ghost or {})
    xs, ys = trace.get("x") or [], trace.get("y") or []
    size = [0] * (len(xs) - 1) + [8] if "lines" in look["mode"] else 9
    return Trace(
        look
        | {"name": label, "legendgroup": symbol, "showlegend": first, "x": xs, "y": ys}
        | {"marker": look.get("marker", {}) | {"symbol": symbol, "size": size}}
        | {"opacity": 0.85, "meta": {"former": True}}
    )


def _coloured(trace: Trace, colour: str) -> Trace:
    both = {name: trace.get(name, {}) | {"color": colour} for name in ("marker", "textfont")}
    if "line" in trace or "lines" in trace["mode"]:
        both["line"] = trace.get("line", {}) | {"color": colour}
    return trace.at(trace["x"], trace["y"], **both)
