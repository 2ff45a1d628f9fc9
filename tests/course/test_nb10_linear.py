"""Notebook 10's BERT linearized at the probe and anew, on a tiny model."""

import pytest

from rlhf_course.experiments.nb10_linear import END, PROBE, LinearReviews
from rlhf_course.experiments.nb10_review_tasks import ReviewTasks
from rlhf_course.panels.nb10_finger import LINEAR, TRUE, Grid, finger

pytestmark = pytest.mark.filterwarnings("ignore:.*are cut:UserWarning")  # this tokenizer spells


@pytest.fixture
def reviews():
    return LinearReviews(ReviewTasks(12, 8, name="tiny-random", pooling=None))


def losses(run):
    return [(r.train_loss, r.val_loss) for r in run]


def test_runs_begin_where_it_is_linearized(reviews):
    first = losses(reviews.run(0.1, steps=3))
    *_, end = reviews.true(0.1, steps=2)
    reviews.begin_at(END)
    start = reviews.run(0.1, steps=0)[0]
    assert start.train_loss == pytest.approx(end.train_loss, rel=1e-5)
    assert losses(reviews.run(0.1, steps=3)) != first
    assert next(iter(reviews.true(0.1, steps=1))).train_loss == pytest.approx(start.train_loss)

    reviews.begin_at(PROBE)
    assert losses(reviews.run(0.1, steps=3)) == first
    again = next(iter(reviews.true(0.1, steps=1)))
    assert again.train_loss == pytest.approx(first[0][0], rel=1e-5)
    with pytest.raises(ValueError, match="place: expected 'the probe' or"):
        reviews.begin_at("zero")


def test_recorded_runs_stand_beside_the_model_at_the_probe_wherever_the_reader_has_gone(reviews):
    first = losses(reviews.run(0.1, 3.0, noise=0.2))
    list(reviews.true(0.1, steps=1))
    reviews.begin_at(END)
    assert losses(Grid({"runs": []}, reviews).linearized(0.1, 3.0, 0.2)) == first


def test_labels_that_are_wrong_at_a_smaller_share_stay_wrong(reviews):
    right = reviews.labels(0.0)
    few, more = (reviews.labels(share) != right for share in (0.25, 0.5))
    assert int(few.sum()) == 3 and int(more.sum()) == 6 and bool((few <= more).all())


@pytest.mark.parametrize(("run", "word"), [(TRUE, "(true BERT)"), (LINEAR, "(linearized)")])
def test_the_read_out_says_which_model_it_reads_from_the_start_on(run, word):
    panel = finger(LinearReviews(ReviewTasks(20, 8, name="tiny-random", pooling=None)))
    records = panel.run(run=run, steps=1, sentences=20)
    assert all(word in panel._display._readout(records[:k], {}) for k in (1, 2))
