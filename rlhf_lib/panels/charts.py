"""Figures that do not move: what a cell shows instead of a printed table.

Each function returns a `Figure`, which a cell shows as its last line, with the same colours,
dashes, labels and themes as the panels. `readout` is one sentence that says what is to be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.arguments import flag, listed, mapping, one_of, real, text_of, whole
from rlhf_lib.panels.figure import Draw, Figure
from rlhf_lib.panels.finite import finite, pair
from rlhf_lib.panels.layout import merged
from rlhf_lib.panels.theme import DASHES, GREY, INK, PALETTE, SYMBOLS, pale
from rlhf_lib.panels.trace import Trace, fixed

KINDS = ("lines", "markers", "lines+markers", "steps", "bars")
TINTS = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#6b6b6b"]

Values = Sequence[float] | Any


def still(traces: Iterable[Any]) -> Draw:
    """The function of a figure whose traces never change."""
    drawn = [fixed(trace) for trace in traces]
    return lambda records, values: drawn


def chart(
    series: Mapping[str, tuple[Values, Values]],
    *,
    kind: str | Mapping[str, str] = "lines",
    bands: Mapping[str, tuple[Values, Values]] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    lines: Mapping[str, float] | None = None,
    legend: bool | None = None,
    **axes: Any,
) -> Figure:
    """Curves, points or bars: `series` maps a name to (xs, ys) of one length.

    `kind` is "lines", "markers", "lines+markers", "steps" or "bars", for all or by name; `bands`
    maps a name to (lows, highs) along its xs; `labels` maps a name to a text for each point;
    `lines` maps a name to a level, drawn across. Names stand at the right ends of curves, or
    with `legend=True` in a row under the title (the default where there are only points or bars).
    The axes are those of `Figure`. Raises ValueError for lengths that differ and unknown kinds.
    """
    series, lines = mapping("series", series), levels(lines)
    kind = dict.fromkeys(series, kind) if isinstance(kind, str) else mapping("kind", kind)
    kinds = {name: one_of("kind", kind.get(name, "lines"), KINDS) for name in series}
    bands, labels = mapping("bands", bands), mapping("labels", labels)
    curves = [name for name in series if kinds[name] not in ("markers", "bars")]
    legend = not curves and len(series) > 1 if legend is None else flag("legend", legend)
    traces = []
    for i, (name, points) in enumerate(series.items()):
        xs, ys = map(_plain, pair(name, points))
        colour, look = PALETTE[i % len(PALETTE)], kinds[name]
        if name in bands:
            traces.append(_band(xs, *pair(f"bands, {name}", bands[name]), colour))
        text = listed(f"labels, {name}", labels[name]) if name in labels else None
        if text is not None and len(text) != len(xs):
            raise ValueError(f"labels, {name}: expected {len(xs)}, got {len(text)}")
        if look == "bars":
            traces.append(go.Bar(x=xs, y=ys, name=name, marker={"color": colour}, text=text))
            continue
        line = {"color": colour, "dash": DASHES[i % len(DASHES)], "width": 2.5}
        mark = {"color": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8}
        style: dict[str, Any] = {"mode": "lines" if look == "steps" else look}
        if look != "markers":
            style["line"] = line | ({"shape": "hv"} if look == "steps" else {})
        if look != "lines" and look != "steps":
            style["marker"] = mark | {"line": {"width": 1, "color": INK}}
        if text is not None:
            style |= {
                "text": text,
                "textposition": "top center",
                "textfont": {"size": 11},
                "mode": f"{style['mode']}+text",
            }
        drawn = go.Scatter(x=xs, y=ys, name=name, **style)
        traces.append(Trace(drawn, named=not legend and name in curves))
    ends = [x for name in series for x in _plain(series[name][0]) if isinstance(x, float)]
    for i, (name, level) in enumerate(lines.items()):
        across = {"color": GREY, "width": 1.5, "dash": DASHES[1 + i % (len(DASHES) - 1)]}
        span = axes.get("x_range") or ([min(ends), max(ends)] if ends else [0, 1])
        level_line = go.Scatter(
            x=list(span), y=[float(level)] * 2, name=name, mode="lines", line=across
        )
        traces.append(Trace(level_line, named=True))
    layout = {"bargap": 0.15} if "bars" in kinds.values() else {}
    axes["layout"] = merged(layout, axes.get("layout", {}))
    return Figure(still(traces), legend=legend, **axes)


def ranking(
    rows: Mapping[str, float | tuple[float, float, float]],
    *,
    lines: Mapping[str, float] | None = None,
    marked: Sequence[str] = (),
    **axes: Any,
) -> Figure:
    """Dots in a row each, the first row on top: `rows` maps a name to a value, or to
    (value, low, high) for an interval. `lines` maps a name to a level, drawn from top to bottom;
    rows named in `marked` get another colour and symbol. `height` grows with the rows.

    Raises TypeError or ValueError for rows, lines and names that do not fit."""
    rows, lines = mapping("rows", rows), levels(lines)
    names, marked = list(rows), listed("marked", marked)
    if strangers := [name for name in marked if name not in names]:
        raise ValueError(f"marked: expected names of rows, out of {names}, got {strangers}")
    known = [_value(name, row) for name, row in rows.items()]
    axes.setdefault("height", 92 + 21 * len(names) + (22 if lines else 0))
    traces = []
    for symbol, colour, some in (
        ("circle", PALETTE[0], [i for i, n in enumerate(names) if n not in marked]),
        ("diamond", PALETTE[1], [i for i, n in enumerate(names) if n in marked]),
    ):
        traces.append(
            go.Scatter(
                x=[float(known[i][0]) for i in some],
                y=some,
                mode="markers",
                showlegend=False,
                marker={"size": 9, "symbol": symbol, "color": colour},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "color": colour,
                    "thickness": 1.5,
                    "array": [float(known[i][2] - known[i][0]) for i in some],
                    "arrayminus": [float(known[i][0] - known[i][1]) for i in some],
                },
                hovertemplate="%{x:.4g}<extra></extra>",
            )
        )
    shapes, notes = [], []
    for i, (name, level) in enumerate(lines.items()):
        shapes.append(
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": level,
                "x1": level,
                "y0": 0,
                "y1": 1,
                "line": {"color": GREY, "width": 1.5, "dash": DASHES[1 + i % (len(DASHES) - 1)]},
            }
        )
        notes.append(
            {
                "text": name,
                "x": math.log10(level) if axes.get("x_log") else level,
                "xref": "x",
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "textangle": 0,
                "yshift": 13 * (i % 2),
                "font": {"size": 11, "color": GREY},
            }
        )
    longest = max(map(len, names), default=0)
    layout = {
        "margin": {"l": 14 + 7.0 * longest, "t": 56 if lines else 34},
        # Over the names, too: beside them there is little room for a title.
        "title": {"xref": "container", "x": 0.01},
        "yaxis": {"tickvals": list(range(len(names))), "ticktext": names, "ticks": ""},
        "shapes": shapes,
        "annotations": notes,
    }
    axes["layout"] = merged(layout, axes.get("layout", {}))
    return Figure(still(traces), y_range=[len(names) - 0.4, -0.6], **axes)


def cells(
    columns: Sequence[Any],
    rows: Sequence[Any],
    values: Sequence[Sequence[float]],
    *,
    log: bool = False,
    unit: str = "",
    digits: int = 3,
    **axes: Any,
) -> Figure:
    """A table as coloured cells with their numbers: `values[i][j]` of `rows[i]` and `columns[j]`,
    the first row on top; colours by the logarithm with `log=True`."""
    columns, rows = listed("columns", columns), listed("rows", rows)
    log, digits = flag("log", log), whole("digits", digits, 0)
    text_of("unit", unit)
    table = [
        [real("values", v, finite=False) for v in listed("values", row)]
        for row in listed("values", values)
    ]
    if [len(row) for row in table] != [len(columns)] * len(rows):
        got = [len(row) for row in table]
        raise ValueError(f"expected {len(rows)} rows of {len(columns)} numbers, got {got}")
    grid = go.Heatmap(
        x=[str(c) for c in columns],
        y=[str(r) for r in rows],
        z=[[_colour(v, log) for v in row] for row in table],
        colorscale="Cividis",
        text=[[f"{v:.{digits}g}" if math.isfinite(v) else "–" for v in row] for row in table],
        texttemplate="%{text}",
        textfont={"size": 12},
        xgap=2,
        ygap=2,
        showscale=False,
        hoverongaps=False,
        hovertemplate=f"%{{y}}, %{{x}}: %{{text}} {unit}<extra></extra>",
    )
    both = {"type": "category", "showgrid": False, "ticks": ""}
    longest = max((len(str(row)) for row in rows), default=0)
    layout = {
        "xaxis": both,
        "yaxis": both | {"autorange": "reversed"},
        "margin": {"l": 44 + 7.0 * longest},
    }
    axes["layout"] = merged(layout, axes.get("layout", {}))
    return Figure(still([grid]), **axes)


def regions(
    xs: Values, ys: Values, classes: Sequence[Sequence[int]], names: Sequence[str], **axes: Any
) -> Figure:
    """Which of several outcomes each point of a plane has: `classes[i][j]`, an index of `names`,
    belongs to (xs[j], ys[i]). Each outcome has a colour and a symbol in the legend."""
    names = [text_of("names", name) for name in listed("names", names)]
    n, table = len(names), [listed("classes", row) for row in listed("classes", classes)]
    if {(len(table), len(row)) for row in table} != {(len(_plain(ys)), len(_plain(xs)))}:
        raise ValueError(
            f"expected {len(_plain(ys))} rows of {len(_plain(xs))} classes, got "
            f"{[len(row) for row in table]}"
        )
    if not all(whole("classes", int(c), 0) < n for row in table for c in row):
        raise ValueError(f"classes: expected indices below {n}, the number of names, got others")
    if n > len(TINTS):
        raise ValueError(f"expected at most {len(TINTS)} outcomes, got {n}")
    scale = [pair for i in range(n) for pair in ((i / n, TINTS[i]), ((i + 1) / n, TINTS[i]))]
    ground = go.Heatmap(
        x=_plain(xs),
        y=_plain(ys),
        z=[[int(c) for c in row] for row in table],
        zmin=-0.5,
        zmax=n - 0.5,
        colorscale=scale,
        showscale=False,
        text=[[names[int(c)] for c in row] for row in table],
        hovertemplate="(%{x:.3g}, %{y:.3g}): %{text}<extra></extra>",
    )
    traces: list[Any] = [ground]
    for i, name in enumerate(names):
        # Of each outcome a few symbols, so that the map can be read without its colours.
        spots = [
            (x, y)
            for y, row in zip(_plain(ys), table, strict=True)
            for x, c in zip(_plain(xs), row, strict=True)
            if int(c) == i
        ]
        spots = spots[len(spots) // 20 :: max(len(spots) // 10, 1)]
        traces.append(
            go.Scatter(
                x=[x for x, _ in spots],
                y=[y for _, y in spots],
                mode="markers",
                name=name,
                marker={
                    "symbol": SYMBOLS[i],
                    "size": 8,
                    "color": TINTS[i],
                    "line": {"width": 1.2, "color": "#000000"},
                },
            )
        )
    return Figure(still(traces), legend=True, **axes)


def _band(xs: list, lows: Values, highs: Values, colour: str) -> Any:
    lows, highs = _plain(lows), _plain(highs)
    return go.Scatter(
        x=[*xs, *reversed(xs)],
        y=[*lows, *reversed(highs)],
        mode="lines",
        fill="toself",
        line={"width": 0},
        fillcolor=pale(colour),
        hoverinfo="skip",
        showlegend=False,
    )


def _plain(values: Values) -> list[str | float | None]:
    """Numbers as floats, what is not finite as None; texts as they are."""
    found = listed("values", values)
    try:
        return [value if isinstance(value, str) else finite(value) for value in found]
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"expected numbers or texts to draw, got {found!r:.80}") from None


def levels(lines: Mapping[str, float] | None) -> dict[str, float]:
    """Lines by name, each a number. Raises TypeError or ValueError for everything else."""
    return {name: real(name, at) for name, at in mapping("lines", lines).items()}


def _value(name: str, row: Any) -> tuple[float, float, float]:
    """(value, low, high) of a row of a ranking."""
    if not isinstance(row, tuple):
        row = (row, row, row)
    if len(row) != 3:
        raise ValueError(f"{name}: expected a value or (value, low, high), got {row!r}")
    value, low, high = (real(name, number, finite=False) for number in row)
    return value, low, high


def _colour(value: float, log: bool) -> float | None:
    if not math.isfinite(value) or (log and value <= 0):
        return None
    return math.log10(value) if log else value
