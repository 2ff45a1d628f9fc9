"""Notebook 12's record, read by method: the chosen values, pairs, and edges of grids."""

import pytest

from rlhf_course.experiments.nb12_record import RegularizerRecord
from rlhf_course.studies import nb12_regularizers as study


def run(method, data, value, seed, loss, best=None):
    end = {"test_loss": loss}
    return {
        "settings": {"method": method, "data": data, "value": value, "seed": seed},
        "result": {"end": end, "best": {"test_loss": loss if best is None else best}},
    }


@pytest.fixture
def record(monkeypatch):
    chosen = {"sst2": {"rlhf l1": 1e-4, "rlhf none": 0.1, "rlhf stopped": 0.3}}
    monkeypatch.setattr(study, "CHOSEN", chosen)
    runs = [run("rlhf l1", "sst2", 1e-4, s, 0.5 + 0.01 * s) for s in study.SEEDS]
    runs += [run("rlhf none", "sst2", 0.1, s, 0.7 + 0.02 * s) for s in study.SEEDS]
    runs += [run("rlhf none", "sst2", 0.3, s, 0.9, best=0.4) for s in study.SEEDS]
    return RegularizerRecord({"runs": runs})


def test_measures_are_of_the_chosen_value_and_moment(record):
    assert record.measure("sst2", "rlhf l1", "test_loss") == (0.5, 0.51, 0.52, 0.53, 0.54)
    assert record.measure("sst2", "rlhf stopped", "test_loss") == (0.4,) * 5
    assert record.mean("sst2", "rlhf none", "test_loss") == pytest.approx(0.74)


def test_gains_are_paired_and_positive_where_the_loss_is_lower(record):
    gain = record.gain("sst2", "rlhf l1", "rlhf none")
    assert gain.benefits == pytest.approx((0.2, 0.21, 0.22, 0.23, 0.24)) and gain.says == "for"
    assert record.gain("sst2", "rlhf none", "rlhf l1").says == "against"


def test_edges_of_the_grid(record, monkeypatch):
    grid = study.GRID["rlhf l1"]
    assert record.at_edge("sst2", "rlhf l1") == (1e-4 in (grid[0], grid[-1]))
    monkeypatch.setitem(study.CHOSEN["sst2"], "rlhf l1", grid[-1])
    assert record.at_edge("sst2", "rlhf l1")
    monkeypatch.setitem(study.CHOSEN["sst2"], "adamw freezing", "encoder")
    assert not record.at_edge("sst2", "adamw freezing")
