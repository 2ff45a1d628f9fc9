"""Searches that tune, rows that must not meet, and runs that diverge."""

import math

import pytest

from rlhf_course.recorded import NotRecorded, key
from rlhf_course.studies import Study, end_or_start, overlaps
from rlhf_course.studies.tuning import Axis, Search, Tuned

SEEDS = (7, 8)


def searched(loss, axes, tries=12):
    """A search of one method run to its end: (it, its record)."""
    search = Search({"it": Tuned({}, axes, lambda result: result["loss"])}, SEEDS, tries)
    runs = {}
    for _ in range(100):
        new = [s for s in search.asked({"runs": list(runs.values())}) if key(s) not in runs]
        for settings in new:
            runs[key(settings)] = {"settings": settings, "result": {"loss": loss(settings)}}
        if not new:
            return search, {"runs": list(runs.values())}
        if len(new) > 1:  # one seed of the last values is not there: nothing is chosen yet
            early = {"runs": list(runs.values())[:-1]}
            with pytest.raises(NotRecorded, match="tuning of it has not ended"):
                search.chosen(early)
    raise AssertionError("no end")


def bowl(settings):
    return (math.log(settings["rate"] / 0.7)) ** 2 + (math.log(settings["batch"] / 40)) ** 2


RATE, BATCH = Axis(0.01, 3.0), Axis(100, 2.0, low=8, high=1000, whole=True)


def test_the_chosen_values_lie_between_worse_ones_that_were_tried():
    search, document = searched(bowl, {"rate": RATE, "batch": BATCH}, tries=24)
    chosen = search.chosen(document)["it"]
    assert 0.7 / 1.8 < chosen["rate"] < 0.7 * 1.8 and 40 / 1.5 < chosen["batch"] < 40 * 1.5
    for name in ("rate", "batch"):
        tried = [run["settings"][name] for run in document["runs"]]
        assert min(tried) < chosen[name] < max(tried)
    assert len(document["runs"]) == len(SEEDS) * search.effort(document)["it"]
    # A search that need not move tries just as many.
    near = {"rate": Axis(0.7, 3.0), "batch": Axis(40, 2.0, whole=True)}
    assert searched(bowl, near, tries=24)[0].tries == 24
    search, document = searched(bowl, near, tries=11)
    assert search.effort(document)["it"] == 11


def test_a_bound_is_no_edge_and_where_there_is_no_end_it_is_said():
    search, document = searched(lambda s: s["batch"], {"batch": BATCH}, tries=5)
    assert search.chosen(document)["it"]["batch"] == 8
    with pytest.raises(ValueError, match="still moving"):
        searched(lambda s: s["rate"], {"rate": Axis(1.0)}, tries=5)
    with pytest.raises(ValueError, match="all 3 values diverged"):
        searched(lambda s: None, {"rate": RATE}, tries=5)
    with pytest.raises(ValueError, match="positive start between low and high"):
        Axis(3.0, high=2.0)


def test_a_value_with_one_diverged_seed_is_not_chosen():
    def loss(s):
        return None if s["rate"] > 0.5 and s["seed"] == 8 else -s["rate"]

    search, document = searched(loss, {"rate": RATE}, tries=8)
    assert 0.27 <= search.chosen(document)["it"]["rate"] <= 0.5


def test_a_run_that_serves_two_quantities_is_asked_for_once():
    both = {name: Tuned({}, {"rate": RATE}, lambda r: r) for name in ("gradients", "seconds")}
    assert len(Search(both, SEEDS, 3).asked({"runs": []})) == len(SEEDS)


@pytest.mark.parametrize(
    ("rows", "shared", "word"),
    [
        (lambda s: {"train": [s["seed"]], "test": ["t", s["seed"] + 10]}, (), "'t' tunes and"),
        (lambda s: {"train": ["t"], "test": [s["seed"]]}, (), "'t' tunes and"),
        (lambda s: {"train": ["t"], "test": [s["seed"]]}, ("train",), None),
        (lambda s: {"train": [s["seed"]], "test": [s["seed"]]}, ("train",), "in train and in test"),
        (lambda s: {"train": [s["seed"]], "test": [-s["seed"]]}, (), None),
    ],
)
def test_rows_that_meet_are_named(rows, shared, word):
    study = Study(
        about="Rows.",
        run=dict,
        runs=lambda: [{"seed": 1}],
        choose=len,
        judge=lambda chosen: [{"seed": 2}, {"seed": 3}],
        rows=rows,
        shared=shared,
    )
    document = {"runs": [{"settings": {"seed": 1}, "result": {}}]}
    found = list(overlaps(study, document))
    assert word in found[0] if word else not found


def test_a_run_that_diverged_leaves_what_it_began_with():
    assert end_or_start([2.0, 1.0]) == 1.0
    assert [end_or_start([2.0, 1.0, end]) for end in (None, math.nan, math.inf, 1e30)] == [2.0] * 4
    with pytest.raises(ValueError, match="begins with a finite loss"):
        end_or_start([math.nan, 1.0])
