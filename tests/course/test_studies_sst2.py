"""Notebook 10's record: every knob tried by the same rule, the chosen ones from that alone."""

from collections import defaultdict

import pytest

from rlhf_course.recorded import key, recorded
from rlhf_course.studies import nb10_sst2 as study

DOCUMENT = recorded("nb10_sst2.json")
RUNS = {key(r["settings"]): r for r in DOCUMENT["runs"]}


def selection(run):
    """AdamW may stop at its best epoch; RLHF is judged by where it ends."""
    losses = [row["val_loss"] for row in run["result"]["steps"]]
    return min(losses) if run["settings"]["method"] == "adamw" else losses[-1]


def test_the_chosen_values_have_the_least_selection_loss_of_the_tuning_seed():
    tried = defaultdict(dict)
    for run in RUNS.values():
        if run["settings"]["seed"] == study.TUNING_SEED:
            tried[run["settings"]["method"]][run["settings"]["value"]] = selection(run)
    for method, (_, values) in study.GRID.items():
        assert set(tried[method]) == set(values)
    chosen = {m: min(losses, key=losses.get) for m, losses in tried.items()}
    assert study.STUDY.chosen(DOCUMENT) == chosen


def test_the_tuning_seed_is_used_for_nothing_else():
    assert study.TUNING_SEED not in study.SEEDS and len(set(study.SEEDS)) == len(study.SEEDS)


@pytest.mark.parametrize("settings", [*study.runs(), *study.STUDY.judging(DOCUMENT)], ids=key)
def test_every_run_is_recorded_to_its_end(settings):
    result = RUNS[key(settings)]["result"]
    assert [row["step"] for row in result["steps"]] == list(range(study.STEPS + 1))
    assert result["weights"] > 2e7
