"""What a plot sends to the page."""

import math
import re
import struct
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

from rlhf_lib.panels import charts, figures
from rlhf_lib.panels.controls import NumberSlider
from rlhf_lib.panels.entry import Entry
from rlhf_lib.panels.frame import Head, LiveText, Progress
from rlhf_lib.panels.page import page
from rlhf_lib.panels.player import Player
from rlhf_lib.panels.plot import Plot, _packed
from rlhf_lib.panels.show import figures_json
from rlhf_lib.panels.theme import PALETTE


def test_long_rows_of_numbers_go_as_bytes_and_short_ones_as_they_are():
    ys = [0.1 * i for i in range(99)] + [None]
    sent, short = _packed([{"name": "a", "x": ["one"] * 99, "y": ys}, {"x": [1], "y": [2]}], None)
    numbers = struct.unpack("<100d", bytes(sent["y"]["f64"]))
    assert list(numbers[:-1]) == ys[:-1] and math.isnan(numbers[-1])
    assert sent["x"] == ["one"] * 99 and short == {"x": [1], "y": [2]}


def test_each_widget_s_script_comes_from_a_file_of_the_package():
    for widget in (Plot, NumberSlider, Entry, Player, Head, LiveText, Progress):
        assert "export default { render };" in str(widget._esm)
    assert page("plot.js") in str(Plot._esm) and f'"{PALETTE[0]}"' in str(Plot._esm).split("\n")[0]


MARKUP = [
    '<img src=x onerror="alert(1)">',
    '<a href="https://example.org">here</a>',
    '<b style="background:url(x)">b</b>',
    "a<br>b",
    "&lt;",
    "&amp;lt;b>",
    "H<sub>2</sub>",
    "%{x}",
    "</script>",
    "\u202eabc\u202c",
    "<extra></extra>",
    "x < y & z > w",
]


@pytest.mark.parametrize("text", MARKUP)
def test_a_text_of_a_user_is_no_markup_wherever_it_stands(text):
    def texts(value):
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            return [found for part in inner for found in texts(part)]
        return [value] if isinstance(value, str) else []

    figure = charts.cells([text, "b"], [text, "d"], [[1, 2], [3, 4]], title=text, x_title=text)
    figure.fix(go.Scatter(x=[1], y=[2], name=text, text=[text], hovertext=text))
    figure.draw([], {})
    figure.begin(text)
    curves = figures.Curves({text: "y"}, "y", goal={"y": 1, "label": text}, legend=True)
    curves.draw([SimpleNamespace(y=1.0)], {})
    curves.begin(text)
    # plotly reads entities once, after it has taken the text apart at its tags.
    expected = text.replace("&", "&amp;").replace("<", "&lt;")
    for plot in (figure.widget, curves.widget):
        state = plot.get_state(["fixed", "ghosts", "moving", "notes", "axes"])
        found = [t for t in texts(state) if "extra" not in t or "extra" in text]
        found += texts(figures_json([figure, curves]))
        assert any(expected in t for t in found)
        tags = {tag for t in found for tag in re.findall("<[^>]*>", t)}
        assert tags <= {"<br>", "<extra></extra>", "<extra>", "</extra>"}, tags
