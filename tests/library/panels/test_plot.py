"""What a plot sends to the page."""

import math
import struct

from rlhf_lib.panels.plot import _packed


def test_long_rows_of_numbers_go_as_bytes_and_short_ones_as_they_are():
    ys = [0.1 * i for i in range(99)] + [None]
    sent, short = _packed([{"name": "a", "x": ["one"] * 99, "y": ys}, {"x": [1], "y": [2]}], None)
    numbers = struct.unpack("<100d", bytes(sent["y"]["f64"]))
    assert list(numbers[:-1]) == ys[:-1] and math.isnan(numbers[-1])
    assert sent["x"] == ["one"] * 99 and short == {"x": [1], "y": [2]}
