"""The race on a BERT's top layer: one objective for all, nothing spent beyond the budget."""

import pytest
import torch

from rlhf_course.experiments import nb17_reviews_race as made
from rlhf_course.experiments.race import GRADIENTS, Purse
from rlhf_lib.optimizer import RLHFOptimizer

LAMBDA = 0.5


@pytest.fixture(scope="module")
def few():
    """The race with a sixteenth of its reviews."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "SENTENCES", 8)
        patch.setattr(made.ReviewsRace, "samples", 8)
        made._task.cache_clear()
        yield lambda: made.ReviewsRace(1000, True, LAMBDA)
    made._task.cache_clear()


def test_the_penalty_is_the_optimizers(few):
    race = few()
    optimizer = RLHFOptimizer(race.named, **race.penalized())
    assert float(race.penalty().detach()) == 0.0 == optimizer.penalty()
    with torch.no_grad():
        for p in race.params:
            p += 0.01
    assert float(race.penalty().detach()) == pytest.approx(optimizer.penalty(), rel=1e-4)
    held = sum(p.numel() for p, _ in race.held)
    assert float(race.penalty().detach()) == pytest.approx(LAMBDA / 2 * held * 1e-4, rel=1e-3)
    few()


def test_every_method_starts_at_the_probe_and_keeps_to_its_budget(few):
    starts, ends = [], []
    for run in (
        lambda race, purse: race.first_order("gradient descent", 0.01, 8, purse),
        lambda race, purse: race.first_order("Adam with decay", 1e-4, 4, purse),
        lambda race, purse: race.lbfgs(5, purse),
        lambda race, purse: race.rlhf(0.3, 2, 4, purse),
    ):
        race, purse = few(), Purse(GRADIENTS, 6.0)
        starts.append(race.measured()["objective"])
        run(race, purse)
        assert 2 < purse.used <= 6
        ends.append(race.measured()["objective"])
    assert len(set(starts)) == 1 and max(ends) < starts[0]


def test_what_tunes_and_what_judges_share_no_review():
    tunes, judges = (made.drawn(seed, seed > 9).texts for seed in (1000, 0))
    assert len(tunes) == len(judges) > 0 and not {*tunes} & {*judges}
