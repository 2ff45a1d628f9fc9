"""Predictions: kept, never a lock, shown beside the result."""

import json

import pytest

from rlhf_course import look_back, predict
from rlhf_course.checking import predictions as module
from rlhf_course.checking.predictions import choice, curve, find, number, predictions_of
from rlhf_course.checking.progress import data_file, note, predictions
from rlhf_course.series import SERIES

EVERY = [name for notebook in SERIES for name in predictions_of(notebook.number)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RLHF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(module, "_PREDICTIONS", dict(module._PREDICTIONS))
    monkeypatch.setattr(module, "_LOOKS", {})
    return tmp_path / "data"


def three_kinds():
    choice("03.a", "Where?", ["here", "there"], truth=1, why="It is far.")
    number("03.b", "How much?", truth=0.5, within=0.1, unit="nats", why="Half.")
    curve(
        "03.c",
        "How?",
        truth=[0, 1, 4],
        why="A parabola.",
        axes={"x_range": [0, 2], "y_range": [0, 4], "x_title": "x", "y_title": "y"},
    )


def test_an_entry_is_kept_beside_the_progress():
    three_kinds()
    note("00.same_rest")
    shown = predict("03.a")
    shown.widget.value = "here"
    predict("03.b").widget.value = 0.45
    predict("03.c").widget.value = [0, 2, 4]
    kept = json.loads(data_file().read_text())
    assert kept["predictions"] == {"03.a": "here", "03.b": 0.45, "03.c": [0, 2, 4]}
    assert "00.same_rest" in kept["solved"] and shown.widget.status == "Kept."
    note("00.at_rest")
    assert predictions()["03.a"] == "here"
    assert predict("03.a").widget.value == "here"  # and is there the next time


def test_a_look_back_shows_the_entry_and_holds_the_result_until_it_is_asked_for():
    three_kinds()
    back = look_back("03.a")
    assert back.widget.locked and "not predicted" in back.widget.mine
    assert back.widget.said == "It is: there. It is far."
    predict("03.a").widget.value = "here"
    assert back.widget.mine == "You predicted: here"
    assert back.widget.said.startswith("Another than you said.")
    predict("03.a").widget.value = "there"
    assert back.widget.said.startswith("As you said.")
    assert "there" not in repr(back) and "0.5" not in repr(look_back("03.b"))


def test_a_number_counts_within_its_tolerance_and_a_sketch_is_drawn_over():
    three_kinds()
    assert find("03.b").said(0.58).startswith("As you said. It is 0.5 nats.")
    assert find("03.b").said(0.7).startswith("Another")
    assert look_back("03.c").widget.truth == [0, 1, 4]
    assert predict("03.c").widget.truth is None
    assert predict("03.c").widget.axes["points"] == 3


def test_where_nothing_can_be_kept_an_entry_works_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RLHF_DATA_DIR", str(tmp_path / "file"))
    three_kinds()
    shown = predict("03.a")
    shown.widget.value = "here"
    assert "could not be kept" in shown.widget.status


def test_a_damaged_file_of_predictions_is_no_error(folder):
    folder.mkdir()
    (folder / "progress.json").write_text('{"solved": {}, "predictions": 3}')
    assert predictions() == {}


def test_unknown_names_and_bad_curves_are_refused():
    with pytest.raises(
        ValueError, match=r"expected a prediction out of .*03\.undamped.*, got '03.z'"
    ):
        predict("03.z")
    with pytest.raises(ValueError, match="begins with the number of a notebook, got '99"):
        choice("99.a", "?", ["a"], truth=0, why="")
    with pytest.raises(ValueError, match="x_title, y_range, y_title"):
        curve("03.d", "?", truth=[0, 1], axes={"x_range": [0, 1]}, why="")


@pytest.mark.parametrize("name", EVERY)
def test_every_prediction_of_the_course_can_be_answered_rightly(name):
    prediction = find(name)
    assert len(prediction.question) > 10
    assert prediction.why.endswith(".")
    if prediction.kind == "choice":
        assert len(prediction.options) >= 2 and prediction.truth in prediction.options
        assert prediction.said(prediction.truth).startswith("As you said.")
        assert all(
            prediction.said(option).startswith("Another")
            for option in prediction.options
            if option != prediction.truth
        )
    if prediction.kind == "number":
        assert prediction.within >= 0
    bundle = predict(name)._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Predict: ")
    assert prediction.why not in repr(predict(name)) + repr(look_back(name))


def test_every_notebook_has_a_prediction():
    missing = [row.number for row in SERIES if not predictions_of(row.number)]
    assert missing == []
