"""Figures: what they draw, what they keep of former runs, and how they are told apart."""

from types import SimpleNamespace as Record

import numpy as np
import pytest
import torch

from rlhf_lib.panels import figures
from rlhf_lib.panels.figure import PALETTE
from rlhf_lib.panels.labels import LETTER

LOSSES = {"training loss": "train", "validation loss": lambda r: r.val}


def curves(**options):
    return figures.Curves(LOSSES, x_range=(0, 10), y_range=(0.01, 2), **options)


def records(n=4, val=lambda i: (i - 2) ** 2):
    return [Record(step=i, train=1 / (i + 1), val=val(i)) for i in range(n)]


def trace(figure, name):
    (found,) = [t for t in figure.widget.data if t["name"] == name]
    return found


def test_curves_follow_the_records():
    figure = curves()
    figure.begin(None)
    figure.draw(records(3), {})
    assert trace(figure, "training loss")["x"] == [0, 1, 2]
    assert trace(figure, "validation loss")["y"] == [4, 1, 0]
    figure.draw(records(4), {})
    assert len(trace(figure, "training loss")["y"]) == 4


def test_values_that_cannot_be_drawn_are_left_out():
    figure = curves()
    bad = [None, float("nan"), float("inf"), torch.tensor(3.0)]
    figure.draw(records(4, val=lambda i: bad[i]), {})
    shown = trace(figure, "validation loss")
    assert (shown["x"], shown["y"]) == ([3], [3])
    assert len(trace(figure, "training loss")["y"]) == 4


def test_least_value_gets_a_star():
    figure = curves(marker_at_min="validation loss")
    figure.draw(records(5), {})
    star = trace(figure, "least validation loss")
    assert (star["x"], star["y"]) == ([2], [0])
    figure.begin(None)
    assert trace(figure, "least validation loss")["x"] == []
    with pytest.raises(ValueError, match="test loss"):
        curves(marker_at_min="test loss")


def test_reference_stays_when_runs_come_and_go():
    figure = curves(reference={"AdamW, tuned": ([0, 10], np.array([0.7, 0.5]))})
    figure.draw(records(), {})
    figure.begin("λ = 1")
    figure.clear()
    assert trace(figure, "AdamW, tuned")["y"] == [0.7, 0.5]
    assert trace(figure, "AdamW, tuned")["mode"] == "lines"


def test_a_reference_may_follow_the_controls():
    figure = curves(reference={"AdamW": lambda values: ([0, 1], [values["noise"], 0.5])})
    figure.begin(None)
    assert trace(figure, "AdamW").get("y", []) == []
    figure.draw(records(), {"noise": 0.2})
    assert trace(figure, "AdamW")["y"] == [0.2, 0.5]
    figure.begin("noise = 0.2")
    figure.draw(records(), {"noise": 0.4})
    assert trace(figure, "AdamW")["y"] == [0.4, 0.5]
    assert "noise = 0.2" in figure.ghosts


def test_ghosts_keep_the_latest_runs_and_their_data():
    figure = curves()
    figure.keep = 2
    for i in range(4):
        figure.begin(f"λ = {i}" if i else None)
        figure.draw(records(i + 2), {})
    assert figure.ghosts == ["λ = 2", "λ = 3"]
    ghosts = {t["name"]: t for t in figure.widget.data if t["name"] in figure.ghosts}
    assert [len(ghosts[name]["x"]) for name in figure.ghosts] == [3, 4]
    assert all(g["opacity"] < 1 for g in ghosts.values())
    assert len({g["marker"]["symbol"] for g in ghosts.values()}) == 2
    assert len(trace(figure, "training loss")["x"]) == 5
    figure.clear()
    assert figure.ghosts == []
    assert {t["name"] for t in figure.widget.data} == set(LOSSES)


def test_a_ghost_has_one_name_in_the_legend():
    figure = curves()
    figure.draw(records(), {})
    figure.begin("λ = 1")
    ghosts = [t for t in figure.widget.data if t["name"] == "λ = 1"]
    assert [t["showlegend"] for t in ghosts] == [True, False]


def test_no_ghosts_when_none_are_kept():
    figure = curves()
    figure.keep = 0
    figure.draw(records(), {})
    figure.begin("λ = 1")
    assert figure.ghosts == [] and len(figure.widget.data) == 2


def test_series_differ_by_colour_and_by_dash():
    figure = figures.Curves({str(i): "y" for i in range(5)})
    figure.begin(None)
    lines = [t["line"] for t in figure.widget.data]
    assert len({line["color"] for line in lines}) == len({line["dash"] for line in lines}) == 5
    assert {line["color"] for line in lines} <= set(PALETTE)


def test_axes_are_fixed_and_titled():
    figure = curves(x_title="step", y_title="loss (nats)", y_log=True)
    before = figure.widget.axes
    figure.draw(records(val=lambda i: 1e6), {})
    assert figure.widget.axes is before
    assert before["yaxis"]["range"] == pytest.approx([-2, np.log10(2)])
    assert before["yaxis"]["title"]["text"] == "loss (nats)"


def test_negative_bars_look_different():
    figure = figures.Bars(["small", "large"], lambda r: r.eigenvalues)
    figure.draw([Record(eigenvalues=[9, 9]), Record(eigenvalues=torch.tensor([-0.5, 2.0]))], {})
    positive, negative = trace(figure, "positive"), trace(figure, "negative")
    assert (positive["y"], negative["y"]) == ([0, 2], [-0.5, 0])
    assert positive["marker"]["color"] != negative["marker"]["color"]
    assert negative["marker"]["pattern"]["shape"] == "/"
    figure.begin("μ = 0")
    assert trace(figure, "μ = 0")["y"] == [-0.5, 2]


def test_bars_of_another_baseline_start_there():
    figure = figures.Bars(["ratio"], lambda r: [r.ratio], baseline=1.0)
    figure.draw([Record(ratio=0.75)], {})
    assert trace(figure, "below")["y"] == [-0.25] and trace(figure, "below")["base"] == 1


def test_bars_need_one_value_each():
    figure = figures.Bars(["a", "b"], lambda r: [1])
    with pytest.raises(ValueError, match="expected 2 numbers"):
        figure.draw([Record()], {})


def test_plotly_is_sent_once():
    contours = figures.ContourPath(lambda x, y: x + y, (-1, 1), (-1, 1))
    assert curves().widget.library is contours.widget.library
    assert "Plotly" in curves().widget.library.code


def test_names_of_former_runs_fit_into_the_room_there_is():
    figure = figures.Curves({"loss": "train"}, x_range=(0, 10), y_range=(0.01, 2))
    figure.draw(records(), {})
    figure.begin("λ = 0.03, μ = 0.5, proximal Newton")
    figure.draw(records(5), {})
    room = figure.margin["r"] - 14
    lines = [line for note in figure.widget.notes for line in note["text"].split("\n")]
    assert len(lines) > 3 and "λ = 0.03," in lines
    assert all(LETTER * len(line) <= room + 1 for line in lines), lines
