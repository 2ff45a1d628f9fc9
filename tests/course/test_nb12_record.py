"""Notebook 12's record, read by method: the chosen values, pairs, and edges of grids."""

import pytest

from rlhf_course.experiments.nb12_record import RegularizerRecord
from rlhf_course.recorded import NotRecorded
from rlhf_course.studies import nb12_regularizers as study

BEST = {"rlhf l1": 1e-4, "rlhf none": 0.1, "adamw freezing": "encoder"}
STOPPED = 0.3  # where RLHF without a penalty has its least loss on the way


def tuning(settings):
    """A run that tunes: the loss is least at BEST at the end, at STOPPED on the way."""
    method, value = settings["method"], settings["value"]
    end = 0.4 if value == BEST.get(method) else 0.6
    best = 0.2 if (method, value) == ("rlhf none", STOPPED) else 0.3
    result = {"end": {"val_loss": end}, "best": {"val_loss": best}}
    return {"settings": settings, "result": result}


def judging(method, value, loss, best=None):
    return [
        {
            "settings": {"method": method, "data": "sst2", "value": value, "seed": seed},
            "result": {
                "end": {"test_loss": loss(seed)},
                "best": {"test_loss": loss(seed) if best is None else best},
            },
        }
        for seed in study.SEEDS
    ]


def document():
    runs = [tuning(settings) for settings in study.runs()]
    runs += judging("rlhf l1", 1e-4, lambda seed: 0.5 + 0.01 * seed)
    runs += judging("rlhf none", 0.1, lambda seed: 0.7 + 0.02 * seed)
    runs += judging("rlhf none", STOPPED, lambda seed: 0.9, best=0.4)
    return {"runs": runs}


@pytest.fixture
def record():
    return RegularizerRecord(document())


def test_values_are_chosen_by_the_runs_that_tune_alone(record):
    assert record.value("sst2", "rlhf l1") == 1e-4
    assert record.value("sst2", "rlhf none") == 0.1
    assert record.value("sst2", "rlhf stopped") == STOPPED  # by the least on the way
    fewer = [run for run in document()["runs"] if run["settings"]["seed"] == study.TUNING_SEED]
    assert RegularizerRecord({"runs": fewer}).chosen == record.chosen
    with pytest.raises(NotRecorded, match="no run of"):
        RegularizerRecord({"runs": fewer[1:]})


def test_measures_are_of_the_chosen_value_and_moment(record):
    assert record.measure("sst2", "rlhf l1", "test_loss") == (0.5, 0.51, 0.52, 0.53, 0.54)
    assert record.measure("sst2", "rlhf stopped", "test_loss") == (0.4,) * 5
    assert record.mean("sst2", "rlhf none", "test_loss") == pytest.approx(0.74)


def test_gains_are_paired_and_positive_where_the_loss_is_lower(record):
    gain = record.gain("sst2", "rlhf l1", "rlhf none")
    assert gain.benefits == pytest.approx((0.2, 0.21, 0.22, 0.23, 0.24)) and gain.says == "for"
    assert record.gain("sst2", "rlhf none", "rlhf l1").says == "against"


@pytest.mark.parametrize("value, edge", [(1e-6, True), (1e-4, False), (1e-3, True)])
def test_edges_of_the_grid(monkeypatch, value, edge):
    monkeypatch.setitem(BEST, "rlhf l1", value)
    record = RegularizerRecord(document())
    assert record.at_edge("sst2", "rlhf l1") == edge
    assert not record.at_edge("sst2", "adamw freezing")  # "encoder" is first, and no number
