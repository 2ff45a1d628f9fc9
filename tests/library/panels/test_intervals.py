"""Intervals: a row for each name, dots, mean and interval; names on the axis."""

from types import SimpleNamespace as Record

import pytest

from rlhf_lib.panels.intervals import Intervals


def figure():
    return Intervals(lambda r: r.rows, 3, x_range=[0, 5], title="Losses")


def test_rows_go_from_the_top_down_with_their_names():
    shown = figure()
    rows = {"one": ((1.0, 3.0), 0.5, 3.5), "two": ((2.0,), 2.0, 2.0)}
    shown.draw([Record(rows={}), Record(rows=rows)], {})
    dots, means = shown.widget.data
    assert list(zip(dots["x"], dots["y"], strict=True)) == [(1.0, 0), (3.0, 0), (2.0, -1)]
    assert list(zip(means["x"], means["y"], strict=True)) == [(2.0, 0), (2.0, -1)]
    assert means["error_x"]["array"] == pytest.approx([1.5, 0])
    assert means["error_x"]["arrayminus"] == pytest.approx([1.5, 0])
    axis = shown.widget.axes["yaxis"]
    assert axis["ticktext"] == ["one", "two"] and axis["tickvals"] == [0, -1]


def test_a_new_run_is_empty():
    shown = figure()
    shown.draw([Record(rows={"one": ((1.0, 3.0), 0.5, 3.5)})], {})
    shown.begin(None)
    assert all(list(trace["x"]) == [] for trace in shown.widget.data)
    assert shown.widget.axes["yaxis"]["ticktext"] == []
