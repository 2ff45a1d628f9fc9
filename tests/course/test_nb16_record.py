"""Notebook 16's map from a made-up record: what wins is what was made to win."""

import math

import pytest

from rlhf_course.experiments.nb16_record import LEVEL, OPEN, MapRecord
from rlhf_course.recorded import key
from rlhf_course.studies import nb16_map as study


def made_up(end):
    """A record of the whole study in which `end(settings)` is log10 of a run's last error."""
    runs: dict[str, dict] = {}
    while True:
        document = {"runs": list(runs.values())}
        asked = study.STUDY.tuning(document)
        new = [s for s in asked if key(s) not in runs]
        if not new:
            break
        for settings in new:
            runs[key(settings)] = made(settings, end)
    for settings in study.STUDY.judging(document):
        runs[key(settings)] = made(settings, end)
    sizes = {"runs": [{"settings": {"problem": p}, "result": {"spread": 2.0}} for p in BENEFITS]}
    return MapRecord({"runs": list(runs.values())}, sizes)


def made(settings, end):
    last = end(settings)
    curve = [last + 0.1 * (len(study.SHARES) - k) for k in range(1, len(study.SHARES) + 1)]
    axes = {a: curve for a in (study.GRADIENTS, study.SECONDS) if settings["budget"] in (a, "both")}
    return {"settings": settings, "result": axes | {"start": 0.5, "spent": [1, 1]}}


# By how much RLHF, tuned, is ahead of Adam and of L-BFGS; all others lie far behind, or level.
BENEFITS = {
    "poisson1": (0.8, 0.5),
    "poisson2": (0.8, -0.5),
    "burgers": (0.0, 0.0),
    "regression": (0.8, 0.0),
    "autoencoder": (-0.3, -0.9),
    "addition": (math.nan, 0.5),
    "noisy": (0.8, 0.5),
}


@pytest.fixture(scope="module")
def record():
    def end(settings):
        # Another for each method, so that no two differences are quite the same.
        jitter = 1e-3 * (5 + len(settings["method"])) * (-1) ** settings["seed"]
        best = {"rate": 0.03, "damping": 0.1, "max_iter": 30}
        off = sum(abs(math.log10(v / best[k])) for k, v in settings.items() if k in best)
        adam, lbfgs = BENEFITS[settings["problem"]]
        ahead = {study.ADAM: adam, study.LBFGS: lbfgs, study.TUNED: 0.0}
        rest = 0.0 if settings["problem"] == "burgers" else 2.0
        return -1 + ahead.get(settings["method"], rest) + off + jitter * (settings["seed"] + 1)

    return made_up(end)


def test_the_values_that_were_best_in_tuning_judge(record):
    rate = record.settings("poisson1", study.ADAM, study.SECONDS)["rate"]
    assert 0.02 < rate < 0.05  # between worse neighbours
    untuned = record.settings("poisson1", study.LBFGS, study.GRADIENTS)
    assert untuned == record.settings("poisson1", study.LBFGS, study.SECONDS)


@pytest.mark.parametrize(
    "problem, winner, nearest",
    [
        ("poisson1", "RLHF", study.LBFGS),
        ("poisson2", study.LBFGS, study.LBFGS),
        ("regression", OPEN, study.LBFGS),  # level with one, ahead of all others
        ("autoencoder", study.LBFGS, study.LBFGS),
        ("addition", "RLHF", study.LBFGS),  # Adam diverged, and is left where it began
        ("noisy", "RLHF", study.LBFGS),
        ("burgers", LEVEL, study.ADAM),
    ],
)
def test_the_winner_is_who_was_made_to_win(record, problem, winner, nearest):
    place = record.place(problem, study.GRADIENTS)
    if problem == "regression":
        assert place.against[nearest].says == "no difference"
    assert (place.winner, place.nearest) == (winner, nearest)
    if problem == "poisson1":
        off = place.gain.mean - 0.5  # RLHF's damping may lie a little beside the best
        assert -0.4 < off <= 0 and place.gain.unit == "decades"
    if problem == "noisy":
        assert place.gain.unit == "nats"


def test_a_curve_ends_where_the_runs_end(record):
    spent, errors = record.curve("poisson1", study.LBFGS, study.SECONDS)
    assert spent[-1] == study.BUDGETS["poisson1"].seconds
    assert errors[-1] == pytest.approx(record.error("poisson1", study.LBFGS, study.SECONDS))
