"""Contours: what they know of the function, and the path, the marks and the outlines over them."""

from types import SimpleNamespace as Record

import numpy as np
import pytest
import torch

from rlhf_lib.panels import figures


def trace(figure, name):
    (found,) = [t for t in figure.widget.data if t["name"] == name]
    return found


def contours(**options):
    return figures.ContourPath(lambda x, y: x**2 - y**2, (-2, 2), (-1, 1), **options)


def test_contour_knows_the_function():
    figure = contours(resolution=5, levels=[-1, 0, 4])
    shown = trace(figure, "function")
    assert shown["customdata"][0] == [3, 0, -1, 0, 3]  # y = -1
    assert shown["z"][0] == pytest.approx([1.75, 1, 0, 1, 1.75])  # as index of the level


def test_path_has_start_and_current_point():
    figure = contours(marks={"saddle": (0, 0)})
    path = [Record(theta=torch.tensor([1.0, float(i)])) for i in range(3)]
    figure.draw(path, {})
    assert trace(figure, "path")["y"] == [0, 1, 2]
    assert trace(figure, "start")["y"] == [0] and trace(figure, "now")["y"] == [2]
    assert trace(figure, "saddle")["x"] == [0]
    figure.begin("μ = 0")
    assert trace(figure, "μ = 0")["y"] == [0, 1, 2]
    assert trace(figure, "path")["y"] == trace(figure, "now")["y"] == []


def test_a_path_that_leaves_again_and_again_is_drawn_up_to_its_third_leave():
    xs = [0, 3, 0, 3, 0, 3, 0, 3]
    path = [Record(theta=torch.tensor([float(x), 0.0])) for x in xs]
    drawn = {t["name"]: t["x"] for t in contours().traces(path, {})}
    assert drawn["path"] == xs[:6] and drawn["now"] == [3]


def test_the_name_of_an_outline_stands_at_its_rightmost_place_inside():
    def line(records, values):
        return [-1.0, 0.5, 1.99, 5.0, np.nan], [0.0, 0.1, 0.0, 0.0, 0.0]

    figure = contours(outlines={"model": line})
    drawn = {t["name"]: (t["x"], t["y"]) for t in figure.traces([Record(theta=(0, 0))], {})}
    assert drawn["model"][0] == [-1.0, 0.5, 1.99, 5.0, None]
    assert drawn["model, its name"] == ([0.5], [0.1])
    assert figure.traces([], {})[-1]["x"] == []
