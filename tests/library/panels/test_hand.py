"""A panel under a hand: values that come while a control is dragged, and its release."""

import threading
import time
from types import SimpleNamespace as Record

import pytest
from test_panel import LONG, Gate, Recorder, count, lambda_slider, until

from rlhf_lib.panels import Panel, figures, slider
from rlhf_lib.panels.panel import FOLLOWS, PRESSES, PREVIEWS, RELEASES


class Hand:
    """The page's side of a slider: sends values one at a time and hears the answers."""

    def __init__(self, panel, monkeypatch, name="lam"):
        self.panel, self.widget = panel, panel._controls[name].widget
        self.sent, self.answers = 0, []
        monkeypatch.setattr(self.widget, "send", lambda content: self.answers.append(content["n"]))

    def drag(self, value, wait=True):
        self.sent += 1
        content = {"drag": value, "by": 1, "n": self.sent, "rest": self.widget.rest}
        self.widget._handle_custom_msg(content, [])
        if wait:
            until(lambda: self.sent in self.answers)
            assert self.panel.wait(LONG)

    def release(self, value):
        with self.widget.hold_trait_notifications():
            self.widget.value, self.widget.rest = value, self.widget.rest + 1
        assert self.panel.wait(LONG)


@pytest.fixture
def hand(monkeypatch):
    def of(generate, **options):
        figure = options.pop("figure", None) or Recorder()
        return Hand(Panel(generate, [lambda_slider()], [figure], **options), monkeypatch)

    return of


def test_each_value_is_drawn_and_one_ghost_is_kept_of_the_state_before(hand):
    figure = figures.Curves({"y": "y"})
    it = hand(count, figure=figure, follow=True)
    it.panel.run()
    runs = it.panel._progress.runs
    for lam in (1.0, 2.0, 3.0):
        it.drag(lam)
        assert figure.widget.moving[0]["y"][-1] == 4 * lam
        assert figure.ghosts == ["λ = 0.3"] and it.panel._progress.runs == runs
    it.release(3.0)
    assert figure.ghosts == ["λ = 0.3"] and it.panel._progress.runs == runs + 1
    assert it.panel.status.startswith("Finished: 5 records")
    it.drag(5.0)
    it.release(5.0)
    assert figure.ghosts == ["λ = 0.3", "λ = 3"]


def test_a_ghost_that_lies_under_the_curve_is_not_shown(hand):
    figure = figures.Curves({"y": "y"})
    it = hand(count, figure=figure, follow=True)
    it.panel.run()
    it.drag(1.0)
    assert [ghost["name"] for ghost in figure.widget.ghosts] == ["λ = 0.3"]
    it.drag(0.3)
    assert figure.widget.ghosts == []
    it.release(0.3)
    assert figure.widget.ghosts == [] and it.panel._progress.runs == 2


def test_a_value_that_is_let_go_before_it_is_drawn_is_run_in_the_end(hand):
    it = hand(count, follow=True)
    it.drag(1.0)
    it.release(2.0)
    assert it.panel.records[-1].y == 8.0 and it.panel._progress.values == {"lam": 2.0}
    assert [call for call in it.panel.figures[0].calls if call[0] == "begin"] == [("begin", None)]


def test_values_in_between_are_skipped_and_answered(hand):
    gate = Gate()
    it = hand(gate, follow=True)
    it.drag(1.0, wait=False)
    until(lambda: 1.0 in gate.gates)
    it.drag(2.0, wait=False)
    it.drag(3.0, wait=False)
    assert it.answers == [2]
    time.sleep(0.06)
    gate.open(1.0, 1)  # late: it makes way after its next record
    gate.open(3.0, 100)
    until(lambda: sorted(it.answers) == [1, 2, 3])
    assert it.panel.wait(LONG) and 2.0 not in gate.gates
    assert len(it.panel.records) == 100 and gate.closed == [1.0, 3.0]


def test_a_run_that_takes_long_is_drawn_as_far_as_it_is(hand):
    gate = Gate()
    it = hand(gate, follow=True)
    it.drag(1.0, wait=False)
    until(lambda: 1.0 in gate.gates)
    time.sleep(0.06)
    gate.open(1.0, 2)
    until(lambda: it.answers == [1])
    assert not it.panel.wait(0) and len(it.panel.records) >= 1
    gate.open(1.0, 98)
    assert it.panel.wait(LONG) and len(it.panel.records) == 100


def test_a_preview_is_drawn_while_it_is_dragged_and_the_run_over_it(hand):
    figure, asked = figures.Curves({"y": "y"}), []

    def preview(values):
        asked.append(values["lam"])
        return [Record(step=0, y=-values["lam"])]

    it = hand(count, figure=figure, preview=preview, preview_name="linear")
    it.panel.run()
    it.drag(1.0)
    it.drag(2.0)
    assert asked == [1.0, 2.0] and figure.widget.moving[0]["y"] == [-2.0]
    assert figure.ghosts == ["λ = 0.3"] and it.panel.status == "A preview…"
    it.release(2.0)
    assert figure.widget.moving[0]["y"][-1] == 8.0 and figure.ghosts == ["λ = 0.3", "linear"]
    it.drag(3.0)
    assert figure.ghosts == ["λ = 0.3", "λ = 2"]


def test_nothing_is_announced_and_no_goal_judged_before_the_hand_rests(hand):
    it = hand(
        count, follow=True, readout=lambda rs, vs: f"y is {rs[-1].y:g}", reached=lambda rs, vs: True
    )
    it.drag(1.0)
    assert it.panel.text == "y is 4" and it.panel._text.busy and it.panel._progress.busy
    assert not it.panel._head.reached
    it.release(1.0)
    assert not it.panel._text.busy and not it.panel._progress.busy and it.panel._head.reached


def test_an_error_under_the_hand_is_shown_and_answered(hand):
    def fails(lam):
        raise ZeroDivisionError("no curvature")
        yield

    it = hand(fails, follow=True)
    it.drag(1.0)
    assert it.panel.status == "Error after 0 records: ZeroDivisionError: no curvature"


def test_what_comes_after_the_release_is_only_answered(hand):
    it = hand(count, follow=True)
    it.drag(1.0)
    it.release(2.0)
    it.widget._handle_custom_msg({"drag": 9.0, "by": 1, "n": 7, "rest": 0}, [])
    assert it.answers[-1] == 7 and it.panel.wait(LONG) and it.panel.records[-1].y == 8.0


def test_it_measures_whether_it_follows(hand):
    def slow(lam):
        time.sleep(0.1)
        yield Record(step=0, y=lam)

    quick = hand(count)
    assert quick.panel.manner == RELEASES and not quick.widget.alive
    quick.panel.run()
    assert quick.panel.manner == FOLLOWS == quick.panel._manner.value and quick.widget.alive
    it = hand(slow)
    it.panel.run()
    assert it.panel.manner == RELEASES and not it.widget.alive
    it.drag(1.0)
    assert it.panel._progress.runs == 1 and it.answers == [1]
    assert hand(count, on_release=False).panel.manner == PRESSES
    assert hand(count, preview=lambda values: []).panel.manner == PREVIEWS


def test_a_hand_does_not_end_the_run_that_a_cell_waits_for(hand):
    gate = Gate()
    it = hand(gate, follow=True)
    found = []
    cell = threading.Thread(target=lambda: found.append(it.panel.run(lam=1.0)))
    cell.start()
    gate.open(1.0)
    until(lambda: it.panel.records)
    it.drag(2.0, wait=False)
    it.widget.value = 2.0
    assert it.answers == [1]
    gate.open(1.0, 99)
    gate.open(2.0, 100)
    cell.join(LONG)
    assert len(found[0]) == 100 and it.panel.wait(LONG)
    assert {record.y for record in it.panel.records} == {2.0}


def test_the_start_is_dragged_in_the_plot_and_the_sliders_go_along(monkeypatch):
    def walk(x, y):
        for step in range(3):
            yield Record(step=step, theta=(x / 2**step, y / 2**step))

    controls = [slider(name, name, low=-2.0, high=2.0, step=0.1, value=1.0) for name in ("x", "y")]
    contours = figures.ContourPath(
        lambda x, y: x**2 + y**2, (-2, 2), (-2, 2), start_by=("x", "y"), resolution=5
    )
    panel = Panel(walk, controls, [contours], follow=True)
    plot, answers = contours.widget, []
    monkeypatch.setattr(plot, "send", lambda content: answers.append(content["n"]))
    panel.run()
    assert plot.grip
    plot._handle_custom_msg({"drag": [0.52, -1.28], "by": 1, "n": 1, "rest": 0}, [])
    until(lambda: answers == [1])
    assert panel.wait(LONG) and panel.values == {"x": 0.5, "y": -1.3}
    assert panel._progress.runs == 1 and contours.widget.moving[1]["x"] == [0.5]
    plot.rest = [1, 0.81, -1.28]
    assert panel.wait(LONG) and panel.values == {"x": 0.8, "y": -1.3}
    assert panel._progress.runs == 2 and contours.ghosts == ["x = 1, y = 1"]


def test_a_run_is_gone_through_once_more_and_its_ghost_is_whole():
    figure = figures.Curves({"y": "y"})
    panel = Panel(count, [lambda_slider()], [figure], lambda rs, vs: f"{len(rs)}", play=True)
    panel.run()
    assert panel._player.count == 5
    panel._player._handle_custom_msg({"drag": 2, "by": 1, "n": 1}, [])
    assert len(figure.widget.moving[0]["y"]) == 3 and panel.text == "3"
    assert len(panel.records) == 5
    panel.run(lam=1.0)
    assert len(figure.widget.ghosts[0]["y"]) == 5


def test_a_step_can_be_pointed_at_where_each_record_has_its_point():
    figure = figures.Curves({"y": "y"})
    for ys, there in (([1.0, 2.0], {"steps": True}), ([1.0, None], None)):
        figure.draw([Record(step=i, y=y) for i, y in enumerate(ys)], {})
        assert figure.widget.moving[0].get("meta") == there
