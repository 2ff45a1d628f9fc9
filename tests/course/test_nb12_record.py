"""Comparisons at equal gradients, read by method: what was chosen, measures and pairs."""

import base64

import pytest
import torch

from rlhf_course.experiments.nb12_cures import Cures, apart, losses_of
from rlhf_course.experiments.nb12_record import CuresRecord
from rlhf_course.recorded import NotRecorded, key
from rlhf_lib import text

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
