"""The tables of panels in pages: what is written is what the panel's own Python draws."""

import ast
import math
import random
from types import SimpleNamespace as Record

import pytest

from rlhf_lib.panels import Panel, choice, figures, log_slider, slider
from tools.site import panel_cells
from tools.site.alive import library
from tools.site.panel_cells import SOLUTIONS
from tools.site.stops import STOPS
from tools.site.tables import BEYOND, _written, chosen_stops, encode, quantized, scale_of, table


def decoded(data, order):
    """The rows that `encode` has written, read as page/table.js reads them."""
    codes, number, place = [], 0, 0
    for byte in data:
        number |= (byte & 127) << place
        place += 7
        if byte < 128:
            codes.append(number)
            number = place = 0
    rows, former, codes = [], [], iter(codes)
    for length in codes:
        row, last, slope = [], 0, 0
        for i in range(length):
            code = next(codes) - 1
            if code < 0:
                row.append(None)
                continue
            above = former[i] if order == 0 and i < len(former) else None
            guess = above if above is not None else last + slope * (order == 2)
            row.append(guess + (code // 2 if code % 2 == 0 else -(code + 1) // 2))
            slope, last = row[-1] - last, row[-1]
        rows.append(row)
        former = row
    return rows


def curve(seed):
    """A row as a figure may have it: smooth, with gaps, of any length."""
    draw = random.Random(seed)
    rate, size = draw.uniform(-2, 2), draw.choice([0, 1, 2, 90])
    return [None if draw.random() < 0.1 else math.exp(rate * i / 20) for i in range(size)]


@pytest.mark.parametrize("axis", [{"range": [0, 4]}, {"type": "log", "range": [-3, 2]}, {}])
def test_rows_come_back_within_half_of_what_an_eye_can_tell(axis):
    rows = [curve(seed) for seed in range(25)] + [[1e300, -1e300, math.inf, math.nan, 0.0]]
    scale = quantum, log = scale_of(axis, rows)
    whole = [quantized(row, scale) for row in rows]
    order, data = encode(whole)
    assert decoded(data, order) == whole
    for row, found in zip(rows, whole, strict=True):
        for v, q in zip(row, found, strict=True):
            if v is None or not math.isfinite(v) or (log and v <= 0):
                assert q is None
            elif abs(q) < BEYOND:
                assert abs(q * quantum - (math.log10(v) if log else v)) <= quantum * 0.5001


@pytest.mark.parametrize("order", [0, 1, 2])
def test_each_order_is_read_back(order):
    rows = [[5, 5, None, -300], [5, 6], [], [10**6, 0, -(10**6)]]
    assert decoded(_written(rows, order), order) == rows


def test_a_table_has_what_the_panel_shows_at_each_of_its_stops():
    def run(lam, kind):
        sign = -1 if kind == "falls" else 1
        yield from (Record(step=i, y=sign * lam * i) for i in range(4))

    panel = Panel(
        run,
        [
            log_slider("lam", "λ", low=0.1, high=1, value=0.3),
            choice("kind", "y", ["rises", "falls"]),
        ],
        [figures.Curves({"y": "y"}, y_range=[-3, 3], x_range=[0, 3])],
        readout=lambda records, values: f"{records[-1].y:.3f} at {values['lam']:g}",
        reached=lambda records, values: records[-1].y > 2,
    )
    stops = {name: chosen_stops(c, 3) for name, c in panel._controls.items()}
    assert stops == {"lam": [0.1, 0.3, 1.0], "kind": ["rises", "falls"]}
    head, data = table(panel, stops)
    start, length, order, quantum, _ = head["slots"]["0.0.y"]
    rows = decoded(data[start : start + length], order)
    states = iter(zip(head["states"], head["reached"], strict=True))
    for lam in stops["lam"]:
        for kind in stops["kind"]:
            (text, [[_, (_, _, y)]]), reached = next(states)
            records = panel.run(lam=lam, kind=kind)
            assert head["texts"][text] == panel.text and reached == (records[-1].y > 2)
            found = [q * quantum for q in rows[y]]
            assert found == pytest.approx([r.y for r in records], abs=quantum / 2)


def test_stops_are_among_those_of_the_control_and_the_start_is_one():
    control = slider("x", "x", low=0, high=10, step=1, value=7)
    assert chosen_stops(control, None) == [7]
    assert chosen_stops(control, 3) == [0, 7, 10] and chosen_stops(control, 99) == [*range(11)]
    assert chosen_stops(control, [2, 4]) == [2, 4]
    with pytest.raises(ValueError, match="between 0 and 10"):
        chosen_stops(control, [11])


def test_a_panel_rests_on_the_statements_that_bind_what_it_reads(tmp_path):
    import nbformat.v4 as v4

    cells = [
        "import torch\nx = 1\nunused = 2",
        "torch.manual_seed(0)\nprint(x)\nd = {}\nd['k'] = x",
        "def f():\n    return d\nf()",
    ]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(text, id=text[0]) for text in cells])
    path = tmp_path / "n.ipynb"
    path.write_text(v4.writes(notebook))
    found = [ast.unparse(part) for part, shows in panel_cells.program(path, ["d"])]
    assert found == [
        "import torch",
        "x = 1",
        "torch.manual_seed(0)",
        "d = {}",
        "d['k'] = x",
        "def f():\n    return d",
        "f()",
    ]
    with pytest.raises(ValueError, match=r"expected a panel, got \{'k': 1\}"):
        panel_cells.make_panels(path, ["d"])


def test_each_table_is_of_a_panel_that_its_notebook_has():
    for number, panels in STOPS.items():
        cells = panel_cells.panel_cells(next(SOLUTIONS.glob(f"{number}_*.ipynb")))
        assert set(panels) <= set(range(1, len(cells) + 1)), number


def test_the_script_of_the_pages_asks_for_nothing_and_exports_nothing():
    script = library()
    assert (
        "export default" not in script
        and "import(" not in script
        and "http" not in script.replace("http://www.w3.org/2000/svg", "")
    )
