"""The heat map: colours by the logarithm, numbers in the cells, gaps for what has no logarithm."""

import math
from types import SimpleNamespace as Record

import pytest
import torch

from rlhf_lib.panels.heatmap import HeatMap


def heatmap(**options):
    return HeatMap(["a", "b"], lambda r: r.matrix, low=1e-3, high=1.0, title="Blocks", **options)


def cells(figure):
    (found,) = [t for t in figure.widget.data if t["type"] == "heatmap"]
    return found


def test_it_shows_the_last_record():
    figure = heatmap()
    first, last = torch.ones(2, 2), torch.tensor([[1.0, 0.01], [0.123, 10.0]])
    figure.draw([Record(matrix=first), Record(matrix=last)], {})
    shown = cells(figure)
    assert shown["z"] == [pytest.approx([0, -2]), pytest.approx([math.log10(0.123), 1])]
    assert shown["text"] == [["1", ".01"], [".12", "10"]]
    assert shown["x"] == shown["y"] == ["a", "b"]
    assert figure.widget.axes["yaxis"]["autorange"] == "reversed"  # the first row is on top
    assert figure.widget.axes["title"]["text"] == "Blocks"


def test_cells_without_a_logarithm_stay_empty():
    figure = heatmap()
    figure.draw([Record(matrix=[[0.0, float("nan")], [None, -1.0]])], {})
    assert cells(figure)["z"] == [[None, None], [None, None]]
    assert cells(figure)["text"] == [["", ""], ["", ""]]


def test_colours_are_fixed_and_a_new_run_begins_empty():
    figure = heatmap(unit="norm")
    figure.draw([Record(matrix=torch.full((2, 2), 100.0))], {})
    scale = cells(figure)["zmin"], cells(figure)["zmax"]
    assert scale == (pytest.approx(-3), 0)
    assert cells(figure)["colorbar"]["ticktext"] == ["0.001", "0.01", "0.1", "1"]
    figure.begin("former")
    assert cells(figure)["z"] == [] and figure.ghosts == []
    assert (cells(figure)["zmin"], cells(figure)["zmax"]) == scale


def test_what_it_cannot_draw_is_refused():
    with pytest.raises(ValueError, match="2 rows of 2"):
        heatmap().draw([Record(matrix=torch.ones(2, 3))], {})
    with pytest.raises(ValueError, match="low < high"):
        HeatMap(["a"], lambda r: r, low=0, high=1)
