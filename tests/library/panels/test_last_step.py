"""The figure of what one step did: the last record that has numbers, and the one before."""

from types import SimpleNamespace as Record

from rlhf_lib.panels.last_step import LastStep


def drawn(figure):
    return {t["name"]: list(zip(t["x"], t["y"], strict=True)) for t in figure.widget.data}


def figure(**options):
    return LastStep(lambda r: r.residuals, **options)


def test_the_last_two_steps_that_have_numbers_are_drawn():
    shown = figure()
    records = [Record(residuals=row) for row in ((), (1.0, 0.5), (1.0, 0.25, 0.1))]
    shown.draw(records[:1], {})
    assert drawn(shown) == {"the step before": [], "last step": []}
    shown.draw(records[:2], {})
    assert drawn(shown) == {"the step before": [], "last step": [(0, 1), (1, 0.5)]}
    shown.draw(records, {})
    assert drawn(shown) == {
        "the step before": [(0, 1), (1, 0.5)],
        "last step": [(0, 1), (1, 0.25), (2, 0.1)],
    }


def test_what_has_no_logarithm_is_left_out_and_the_next_run_begins_empty():
    shown = figure(y_log=True, y_range=(1e-4, 10))
    shown.draw([Record(residuals=(1.0, 0.0, float("nan"), 0.5))], {})
    assert drawn(shown)["last step"] == [(0, 1), (3, 0.5)]
    shown.begin("λ = 1")
    assert drawn(shown) == {"the step before": [], "last step": []}
