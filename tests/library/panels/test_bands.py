"""Bands: line and band of the last record, marks, gaps where there is no number."""

from types import SimpleNamespace as Record

import pytest

from rlhf_lib.panels.bands import Bands

NAN = float("nan")


def figure(**options):
    return Bands(
        {"score": lambda r: (r.x, r.y, r.low, r.high)},
        marks={"best": lambda r: r.best},
        title="Scores",
        **options,
    )


def record(x=(1, 2, 3), y=(5, 4, 6), low=(4, 3, 5), high=(6, 5, 7), best=(2, 4)):
    return Record(x=x, y=y, low=low, high=high, best=best)


def traces(shown):
    return {trace["name"]: (trace["x"], trace["y"]) for trace in shown.widget.data}


def test_line_band_and_mark_are_those_of_the_last_record():
    shown = figure()
    shown.draw([record(y=(0, 0, 0)), record()], {})
    found = traces(shown)
    assert found["score"] == ([1, 2, 3], [5, 4, 6])
    assert found["score, band"] == ([1, 2, 3, 3, 2, 1, 1], [4, 3, 5, 7, 5, 6, 4])
    assert found["best"] == ([2], [4])


def test_what_is_no_number_leaves_a_gap_or_a_band_without_width():
    shown = figure()
    shown.draw([record(y=(5, NAN, 6), low=(NAN, 3, 5), best=None)], {})
    found = traces(shown)
    assert found["score"] == ([1, 3], [5, 6])
    assert found["score, band"] == ([1, 3, 3, 1, 1], [5, 5, 7, 6, 5])
    assert found["best"] == ([], [])


def test_a_kept_run_leaves_its_line_alone():
    shown = figure()
    shown.draw([record()], {})
    shown.begin("former")
    found = traces(shown)
    assert found["former"] == ([1, 2, 3], [5, 4, 6]) and found["score"] == ([], [])
    assert found["score, band"] == ([], []) and shown.ghosts == ["former"]


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError):
        figure().draw([record(low=(1, 2))], {})
