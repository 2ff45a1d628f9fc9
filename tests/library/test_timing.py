"""The one timer, against clocks that are moved by hand."""

from types import SimpleNamespace

import pytest

from rlhf_lib import timing
from rlhf_lib.timing import Rounds, Seconds, Stopwatch, rounds, timed


@pytest.fixture
def work(monkeypatch):
    """`work(wall, cpu)` lets that much time go by."""
    now = {"wall": 100.0, "cpu": 50.0}
    clocks = SimpleNamespace(perf_counter=lambda: now["wall"], process_time=lambda: now["cpu"])
    monkeypatch.setattr(timing, "time", clocks)

    def advance(wall, cpu):
        now["wall"] += wall
        now["cpu"] += cpu

    return advance


def test_a_stopwatch_leaves_out_what_it_is_told_to(work):
    watch = Stopwatch()
    work(2.0, 1.0)
    with pytest.raises(ZeroDivisionError), watch.left_out():
        work(10.0, 20.0)
        raise ZeroDivisionError
    assert watch.seconds == Seconds(2.0, 1.0)
    work(0.5, 0.25)
    assert watch.seconds == Seconds(2.5, 1.25)


def test_a_call_gives_its_seconds_and_its_result(work):
    def call():
        work(3.0, 4.0)
        return "done"

    assert timed(call) == (Seconds(3.0, 4.0), "done")


def test_calls_are_taken_in_turn_after_rounds_that_do_not_count(work):
    order = []

    def call(name, times):
        times = iter(times)

        def one():
            order.append(name)
            work(*next(times))

        return one

    first = call("first", [(9, 9), (1, 5), (4, 3), (2, 7)])
    second = call("second", [(9, 9), (8, 1), (8, 2), (5, 6)])
    taken = rounds({"first": first, "second": second}, 3, warmup=1)
    assert order == ["first", "second"] * 4
    assert taken["first"] == Rounds(wall=(1, 4, 2), cpu=(5, 3, 7))
    assert taken["first"].median == Seconds(2, 5) and taken["first"].least == Seconds(1, 3)
    assert taken["second"].median == Seconds(8, 2) and taken["second"].least == Seconds(5, 1)


def test_a_sleeper_burns_nothing():
    import time

    seconds, _ = timed(lambda: time.sleep(0.05))
    assert seconds.cpu < seconds.wall >= 0.05


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"repeats": 1, "warmup": -1}])
def test_rounds_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected repeats >= 1 and warmup >= 0, got"):
        rounds({"": lambda: None}, **wrong)
