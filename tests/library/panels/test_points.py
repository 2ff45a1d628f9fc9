"""Points: kinds with symbols of their own, areas, the newest with a ring."""

from types import SimpleNamespace as Record

import pytest

from rlhf_lib.panels.points import Points


def figure(**options):
    return Points(
        lambda r: r.points, ["whole", "pruned"], newest=lambda r: r.newest, unit=4.0, **options
    )


def record():
    whole, pruned = (90.0, 0.9, 4.0, "whole"), (60.0, 0.8, 1.0, "half")
    return Record(points={"whole": [whole], "pruned": [pruned]}, newest=pruned)


def test_points_are_those_of_the_last_record():
    shown = figure()
    shown.draw([record()], {})
    whole, pruned, ring = shown.widget.data
    assert (whole["x"], whole["y"], whole["text"]) == ([90.0], [0.9], ["whole"])
    assert (pruned["x"], pruned["y"]) == (ring["x"], ring["y"]) == ([60.0], [0.8])
    assert whole["marker"]["symbol"] != pruned["marker"]["symbol"]


def test_the_area_is_proportional_and_none_is_too_small_to_be_seen():
    shown = figure()
    shown.draw([record()], {})
    sizes = [trace["marker"]["size"] for trace in shown.widget.data[:2]]
    assert sizes == [[16.0], [8.0]]
    tiny = record()
    tiny.points["pruned"] = [(60.0, 0.8, 1e-6, "half"), (60.0, 0.8, 1e3, "half")]
    shown.draw([tiny], {})
    assert shown.widget.data[1]["marker"]["size"] == [6.0, 40.0]


def test_a_new_run_is_empty_and_a_kind_without_points_too():
    shown = figure()
    shown.draw([record()], {})
    shown.begin(None)
    assert all(list(trace["x"]) == [] for trace in shown.widget.data)
    shown.draw([Record(points={}, newest=None)], {})
    assert all(list(trace["x"]) == [] for trace in shown.widget.data)


def test_a_logarithmic_axis_takes_its_range_in_data_units():
    shown = figure(x_log=True, x_range=[10, 100])
    axis = shown.widget.axes["xaxis"]
    assert axis["type"] == "log" and axis["range"] == pytest.approx([1, 2])
