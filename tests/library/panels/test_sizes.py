"""The figure of sizes: falling order, and exact zeros apart from small numbers."""

from types import SimpleNamespace as Record

import pytest
import torch

from rlhf_lib.panels.sizes import Sizes


def drawn(figure, name):
    (found,) = [t for t in figure.widget.data if t["name"] == name]
    return list(zip(found["x"], found["y"], strict=True))


def test_exact_zeros_stand_apart_from_small_numbers():
    figure = Sizes(lambda r: r.theta, floor=1e-8)
    first, last = torch.ones(5), [0.0, -2.0, 1e-300, 0.5, float("inf")]
    figure.draw([Record(theta=first), Record(theta=last)], {})
    assert drawn(figure, "not zero") == [(2, 2), (3, 0.5), (4, pytest.approx(2e-8))]
    assert drawn(figure, "exactly zero") == [(5, 1e-8)]


def test_a_former_run_leaves_a_ghost():
    figure = Sizes(lambda r: r.theta)
    figure.draw([Record(theta=torch.tensor([1.0, 0.0]))], {})
    figure.begin("λ = 0.1")
    assert drawn(figure, "not zero") == drawn(figure, "exactly zero") == []
    ghosts = [t for t in figure.widget.data if t["name"] == "λ = 0.1"]
    assert [t["x"] for t in ghosts] == [[1], [2]]


def test_the_floor_has_to_be_positive():
    with pytest.raises(ValueError, match="floor"):
        Sizes(lambda r: r.theta, floor=0)
