"""Notebook 12's records, read by method: the chosen values, pairs, and edges of grids."""

import base64

import pytest
import torch

from rlhf_course.experiments.nb12_cures import Cures, apart, losses_of
from rlhf_course.experiments.nb12_record import CuresRecord, RegularizerRecord
from rlhf_course.recorded import NotRecorded, key
from rlhf_course.studies import nb12_regularizers as study
from rlhf_lib import text

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


CURES = Cures("toy", 0.0, 4, tuple, ("rlhf none", "probe none"))
JUDGED_BY = CURES.study(("rlhf none", "probe none"))
BEHIND = {"rlhf none": 0.0, "probe none": 0.25}


def packed(losses):
    return base64.b64encode(torch.tensor(losses).half().numpy().tobytes()).decode()


def cured(settings):
    """The loss of tuning is least at a damping of 100 and a lambda of 0.1."""
    tuned = settings.get("damping", 1.0), settings.get("lambda_reg", 0.1)
    end = {"val_loss": abs(tuned[0] - 100) + abs(tuned[1] - 0.1)}
    if settings["seed"] < 100:
        losses = [BEHIND[settings["method"]] + 0.5 * k + 0.25 * settings["seed"] for k in range(3)]
        end |= {"test_loss": sum(losses) / 3, "losses": packed(losses)}
    return {"settings": settings, "result": {"end": end}}


def cures_document():
    runs = {}
    while new := [s for s in JUDGED_BY.tuning({"runs": list(runs.values())}) if key(s) not in runs]:
        runs |= {key(s): cured(s) for s in new}
    tuning = list(runs.values())
    with pytest.raises(NotRecorded, match="the first 5 seeds"):
        CuresRecord(CURES, JUDGED_BY, {"runs": tuning})
    return {"runs": tuning + [cured(s) for s in JUDGED_BY.judging({"runs": tuning})]}


def test_gains_at_one_price_have_seeds_and_sentences():
    record = CuresRecord(CURES, JUDGED_BY, cures_document())
    assert record.chosen["rlhf none"] == {"method": "rlhf none", "damping": 100.0}
    assert record.mean("rlhf none", "test_loss") == pytest.approx(1.0)
    gain = record.gain("rlhf none", "probe none")
    assert gain.benefits == pytest.approx([0.25] * 5) and gain.by_item == (0.25,) * 3
    assert gain.looks == JUDGED_BY.looks and gain.says == "for"


def test_losses_of_sentences_are_kept_to_three_digits():
    losses = [0.0123, 0.6931, 11.7]
    assert losses_of({"losses": packed(losses)}).tolist() == pytest.approx(losses, rel=5e-4)


def test_what_is_set_apart_shares_no_text():
    reviews = text.load_dataset("course-reviews").validation
    some, others = apart(reviews, 100, 0)
    assert len(some) == 100 and not set(some.texts) & set(others.texts)
    assert set(some.texts) | set(others.texts) == set(reviews.texts)
