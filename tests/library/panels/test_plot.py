"""What a plot sends to the page."""

import math
import struct

from rlhf_lib.panels.controls import NumberSlider
from rlhf_lib.panels.entry import Entry
from rlhf_lib.panels.frame import Head, LiveText, Progress
from rlhf_lib.panels.page import page
from rlhf_lib.panels.player import Player
from rlhf_lib.panels.plot import Plot, _packed
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
