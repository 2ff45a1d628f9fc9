"""The histogram of weights: every entry is counted once, zeros stand apart."""

from types import SimpleNamespace as Record

import torch

from rlhf_lib.panels.histogram import Histogram, size_counts


def drawn(figure, name):
    (found,) = [t for t in figure.widget.data if t["name"] == name]
    return {round(x, 6): y for x, y in zip(found["x"], found["y"], strict=True) if y is not None}


def test_counts_are_those_of_a_loop_over_the_entries():
    torch.manual_seed(0)
    tensors = [10.0 ** (4 * torch.randn(3, 200)), torch.zeros(7), -torch.ones(2) / 3]
    expected = [0] * 30
    for entry in torch.cat([t.flatten() for t in tensors]).double().tolist():
        if entry:
            place = torch.tensor(abs(entry)).double().log10().item()
            expected[min(max(int((place + 9) * 3 // 1), 0), 29)] += 1
    zeros, *counts = size_counts(tensors)
    assert zeros == 7 and sum(counts) == 602 and counts == expected
    assert counts[0] > 0 and counts[-1] > 0  # both ends took in what lies outside


def test_outlines_have_gaps_and_a_marker_for_the_zeros():
    before, now = size_counts([torch.tensor([0.5, 2.0])]), size_counts([torch.tensor([0, 0, 0.5])])
    figure = Histogram({"before": lambda r: r.before, "now": lambda r: r.now})
    figure.draw([Record(before=None, now=None), Record(before=before, now=now)], {})
    assert drawn(figure, "before") == {-0.166667: 1, 0.166667: 1}
    assert drawn(figure, "before: exactly 0") == {}
    assert drawn(figure, "now") == {-0.166667: 1}
    assert drawn(figure, "now: exactly 0") == {-10: 2}
    figure.begin("λ = 1")
    assert drawn(figure, "now") == drawn(figure, "now: exactly 0") == {}


def test_a_record_without_counts_empties_the_outline():
    figure = Histogram({"change": lambda r: r.counts})
    figure.draw([Record(counts=size_counts([torch.ones(3)]))], {})
    figure.draw([Record(counts=None)], {})
    assert drawn(figure, "change") == {}
