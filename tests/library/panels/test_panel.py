"""A panel without a browser: runs, Stop, errors, ghosts; and in notebooks through nbval."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace as Record

import nbformat
import pytest
from ipywidgets.widgets.widget import _instances
from nbclient import NotebookClient

from rlhf_lib.interrupt import checkpoint
from rlhf_lib.panels import Panel, checkbox, choice, figures, log_slider, show, slider
from rlhf_lib.panels.frame import answer_while_busy

pytestmark = pytest.mark.long

LONG = 30  # seconds: a run that takes longer hangs


def lambda_slider(**options):
    return log_slider("lam", "λ", low=1e-3, high=10, value=0.3, zero=True, **options)


def count(lam):
    for step in range(5):
        yield Record(step=step, y=step * lam)


class Recorder:
    """A custom figure, as the protocol in figure.py asks; remembers what it was told."""

    def __init__(self):
        self.calls, self.ghosts, self.keep = [], [], 0
        self.widget = figures.Curves({"y": "y"}).widget

    def begin(self, label):
        self.calls.append(("begin", label))

    def draw(self, records, values):
        self.calls.append(("draw", values["lam"], len(records)))

    def clear(self):
        self.calls.append(("clear",))

    def forget(self, label):
        self.calls.append(("forget", label))


def panel_of(generate, controls=None, figure=None, **options):
    return Panel(generate, controls or [lambda_slider()], [figure or Recorder()], **options)


class Gate:
    """A generator function that yields one record each time the test opens the gate."""

    def __init__(self):
        self.gates = {}
        self.closed = []

    def __call__(self, lam):
        gate = self.gates.setdefault(lam, threading.Semaphore(0))
        try:
            for step in range(100):
                assert gate.acquire(timeout=LONG)
                yield Record(step=step, y=lam)
        finally:
            self.closed.append(lam)

    def open(self, lam, n=1):
        self.gates.setdefault(lam, threading.Semaphore(0)).release(n)


def until(condition):
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


# -- values ------------------------------------------------------------------------------


def test_run_sets_the_controls_and_returns_the_records():
    panel = panel_of(count, readout=lambda records, values: f"y is {records[-1].y:.1f}")
    records = panel.run(lam=0.5)
    assert [r.y for r in records] == [0, 0.5, 1, 1.5, 2]
    assert panel.values == {"lam": 0.5} and panel.records == records
    assert panel.text == "y is 2.0"
    assert panel.status.startswith("Finished: 5 records")


def test_generate_gets_plain_python_values():
    got = {}

    def generate(**values):
        got.update(values)
        yield Record(step=0)

    controls = [
        lambda_slider(),
        slider("mu", "μ", low=0, high=2, step=0.1, value=1.0),
        slider("cap", "CG cap", low=1, high=50, step=1, value=10),
        choice("method", "method", ["RLHF", "AdamW"]),
        checkbox("freeze", "freeze"),
    ]
    panel_of(generate, controls, figure=figures.Bars(["a"], lambda r: [1])).run(lam=0, mu=2)
    assert got == {"lam": 0.0, "mu": 2.0, "cap": 10, "method": "RLHF", "freeze": False}
    assert [type(v) for v in got.values()] == [float, float, int, str, bool]


def test_zero_is_exact_and_leftmost():
    control = lambda_slider()
    assert control.widget.stops[:3] == [0.0, 0.001, 0.0015]
    assert panel_of(count).run(lam=0)[-1].y == 0.0


def test_a_value_between_the_stops_is_kept_as_it_is():
    assert panel_of(count).run(lam=0.37)[1].y == 0.37


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"damping": 1.0}, "no control is named 'damping'; there are lam, method, cap"),
        ({"lam": 11}, "lam: expected a number 0 or between 0.001 and 10, got 11"),
        ({"lam": 1e-4}, "lam: expected a number 0 or between"),
        ({"lam": float("nan")}, "lam: expected a number 0 or between"),
        ({"lam": "much"}, "lam: expected a number, got 'much'"),
        ({"lam": "0,3"}, "lam: expected a number, got '0,3'"),
        ({"lam": True}, "lam: expected a number, got True"),
        ({"lam": 1.0, "method": "SGD"}, "expected method 'RLHF' or 'AdamW', got 'SGD'"),
        ({"cap": 2.5}, "cap: expected a whole number"),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_set(values, message):
    controls = [
        lambda_slider(),
        choice("method", "method", ["RLHF", "AdamW"]),
        slider("cap", "CG cap", low=1, high=50, step=1, value=10),
    ]
    panel = panel_of(lambda lam, method, cap: iter(()), controls)
    with pytest.raises(ValueError, match=message):
        panel.run(**values)
    assert panel.values == {"lam": 0.3, "method": "RLHF", "cap": 10}
    assert panel.records == []


def test_sliders_need_finite_numbers_and_few_steps():
    for low, high, step in (("a", 1, 1), (0, float("inf"), 1), (0, 1, 1e-9), (1, 0, 1)):
        with pytest.raises(ValueError, match="lam: "):
            slider("lam", "λ", low=low, high=high, step=step, value=0)
    with pytest.raises(ValueError, match="method: expected a list of different options"):
        choice("method", "method", [])


def test_controls_that_generate_does_not_take_are_found_at_once():
    with pytest.raises(TypeError, match="controls mu"):
        panel_of(count, [slider("mu", "μ", low=0, high=1, step=0.1, value=0)])


def test_values_are_read_when_the_run_starts():
    gate = Gate()
    panel = panel_of(gate, on_release=False)
    panel._start()
    gate.open(0.3)
    until(lambda: panel.records)
    panel._controls["lam"].widget.value = 5.0
    gate.open(0.3)
    until(lambda: len(panel.records) == 2)
    panel.stop()
    gate.open(0.3)
    assert panel.wait(LONG)
    assert {r.y for r in panel.records} == {0.3}


def test_releasing_a_slider_starts_a_run_unless_told_otherwise():
    for on_release in (True, False):
        panel = panel_of(count, on_release=on_release)
        panel._controls["lam"].widget.value = 2.0
        assert panel.wait(LONG)
        assert len(panel.records) == (5 if on_release else 0)
    assert "Press Run" in panel.status


# -- stop, errors, order -----------------------------------------------------------------


def test_stop_ends_the_run_and_keeps_its_records():
    closed = threading.Event()

    def slow(lam):
        try:
            for step in range(1000):
                time.sleep(0.05)
                yield Record(step=step, y=lam)
        finally:
            closed.set()

    held = []  # else its last reference would close the generator, not the panel

    def generate(lam):
        held.append(slow(lam))
        return held[-1]

    figure = Recorder()
    panel = panel_of(generate, figure=figure)
    panel._start()
    until(lambda: len(panel.records) >= 2)
    before, start = len(panel.records), time.monotonic()
    panel.stop()
    assert panel.status == "Stopping…"
    assert panel.wait(LONG)
    assert time.monotonic() - start < 5  # half a second on an idle machine
    assert closed.is_set()
    assert before <= len(panel.records) <= before + 2
    assert panel.status == f"Stopped after {len(panel.records)} records."
    assert figure.calls[-1] == ("draw", 0.3, len(panel.records))


def test_stop_reaches_into_a_long_step():
    started = threading.Event()

    def one_long_step(lam):
        yield Record(step=0)
        started.set()
        while True:
            checkpoint()
            time.sleep(0.01)

    panel = panel_of(one_long_step)
    panel._start()
    assert started.wait(LONG)
    panel.stop()
    assert panel.wait(LONG)
    assert panel.error is None and len(panel.records) == 1
    assert panel.status == "Stopped after 1 record."


def test_stop_is_heard_on_the_shell_that_the_page_asked_for():
    comm = Record(_reply_subshell_for=lambda data, asked_for: None)  # as ipykernel 7.4 does
    answer_while_busy(Record(comm=comm))
    assert comm._reply_subshell_for({}, "subshell-1") == "subshell-1"
    answer_while_busy(Record(comm=None))


def test_stop_of_nothing_says_nothing():
    panel = panel_of(count)
    panel.run()
    before = panel.status
    panel.stop()
    assert panel.status == before and panel.wait(0)


def test_an_error_is_shown_and_raised_and_the_records_stay():
    def fails(lam):
        yield from count(lam)
        raise ZeroDivisionError("the <b>curvature</b> is 0")

    figure = Recorder()
    panel = panel_of(fails, figure=figure)
    with pytest.raises(ZeroDivisionError, match="curvature"):
        panel.run()
    assert panel.status == "Error after 5 records: ZeroDivisionError: the <b>curvature</b> is 0"
    assert panel._progress.error and isinstance(panel.error, ZeroDivisionError)
    assert len(panel.records) == 5 and figure.calls[-1] == ("draw", 0.3, 5)


def test_an_error_of_the_readout_or_a_figure_is_raised_too():
    def readout(records, values):
        raise KeyError("val_loss")

    with pytest.raises(KeyError):
        panel_of(count, readout=readout).run()
    with pytest.raises(AttributeError, match="loss"):
        panel_of(count, figure=figures.Curves({"loss": "loss"})).run()


def test_a_run_after_an_error_is_clean():
    def fails_at_zero(lam):
        yield Record(step=0, y=1 / lam)

    panel = panel_of(fails_at_zero)
    with pytest.raises(ZeroDivisionError):
        panel.run(lam=0)
    panel.run(lam=1)
    assert panel.error is None and not panel._progress.error


def test_an_older_run_never_draws_over_a_newer():
    gate, figure = Gate(), Recorder()
    panel = panel_of(gate, figure=figure)
    panel._start()
    gate.open(0.3, 2)
    until(lambda: len(panel.records) == 2)
    for lam in (1.0, 2.0, 3.0):  # two that never begin, while the first is in its third step
        panel._controls["lam"].widget.value = lam
    gate.open(3.0, 2)
    assert not panel.wait(0.1) and ("draw", 3.0, 1) not in figure.calls
    gate.open(0.3)
    until(lambda: panel.records and panel.records[0].y == 3.0 and len(panel.records) == 2)
    panel.stop()
    gate.open(3.0)
    assert panel.wait(LONG)
    drawn = [call[1] for call in figure.calls if call[0] == "draw"]
    assert drawn == sorted(drawn) and set(drawn) == {0.3, 3.0}
    assert ("draw", 0.3, 3) in figure.calls  # its last record is drawn before it is a ghost
    assert [c for c in figure.calls if c[0] == "begin"] == [("begin", None), ("begin", "λ = 0.3")]
    assert gate.closed == [0.3, 3.0]


def test_redraws_are_few_and_the_last_record_is_drawn():
    def fast(lam):
        for step in range(3000):
            yield Record(step=step, y=lam)

    figure = Recorder()
    start = time.monotonic()
    panel_of(fast, figure=figure).run()
    draws = [call for call in figure.calls if call[0] == "draw"]
    assert draws[-1] == ("draw", 0.3, 3000)
    assert len(draws) <= 2 + 10 * (time.monotonic() - start)


def test_drawing_that_takes_long_leaves_time_for_the_run():
    class Slow(Recorder):
        def draw(self, records, values):
            super().draw(records, values)
            time.sleep(0.12)  # longer than the pause between two redraws

    figure = Slow()
    panel = panel_of(lambda lam: (Record(step=i) for i in range(200)), figure=figure)
    panel.run()
    drawn = [call[2] for call in figure.calls if call[0] == "draw"]
    assert drawn[-1] == 200 and len(drawn) < 10


@pytest.mark.parametrize("stops", [False, True])
def test_a_clean_up_that_raises_loses_no_record(stops):
    gate = threading.Event()

    def generate(lam):
        try:
            for step in range(3):
                yield Record(step=step)
            gate.wait(LONG)
            while stops:
                yield Record(step=3)
        finally:
            raise OSError("clean-up")

    figure = Recorder()
    panel = panel_of(generate, figure=figure)
    panel._start()
    until(lambda: len(panel.records) == 3)
    if stops:
        panel.stop()
    gate.set()
    assert panel.wait(LONG) and str(panel.error) == "clean-up"
    assert len(panel.records) == figure.calls[-1][2] >= 3
    assert panel.status == f"Error after {len(panel.records)} records: OSError: clean-up"


def test_an_error_at_the_end_of_a_run_leaves_nobody_waiting(monkeypatch):
    def broken(run):
        raise OSError("the page has gone")

    panel = panel_of(count)
    monkeypatch.setattr(panel._display, "end", broken)
    for _ in range(2):
        with pytest.raises(OSError, match="the page has gone"):
            panel.run()


def test_a_closed_panel_leaves_no_widget_and_keeps_its_records():
    panel_of(count, figure=figures.Curves({"y": "y"})).close()
    before = set(_instances)
    panel = panel_of(count, figure=figures.Curves({"y": "y"}), play=True)
    panel.run()
    assert len(set(_instances) - before) > 20
    panel.close()
    panel.close()
    assert set(_instances) == before and len(panel.records) == 5
    assert "closed" in panel._repr_mimebundle_()["text/plain"]


def test_a_cell_that_is_run_again_closes_what_it_showed(monkeypatch):
    kernel = Record(parent={})
    shell = Record(kernel=Record(get_parent=lambda: kernel.parent))
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    monkeypatch.setattr(show, "_SHOWN", {})

    def run(cell, execution, *panels):
        kernel.parent = {"metadata": {"cellId": cell}, "header": {"msg_id": execution}}
        for panel in panels:
            panel._repr_mimebundle_()

    a, b, c, d = (panel_of(count, figure=figures.Curves({"y": "y"})) for _ in range(4))
    closed = lambda: [panel.widget.comm is None for panel in (a, b, c, d)]  # noqa: E731
    run("one", "1", a, b)
    run("two", "2", a, c)
    assert closed() == [False] * 4
    run("one", "3", d)  # a is still shown by cell two
    assert closed() == [False, True, False, False]
    run("two", "4", c)  # the same panel once more
    assert closed() == [True, True, False, False]


def test_progress_counts_and_tells_the_time_left():
    gate = Gate()
    panel = panel_of(gate, total=lambda values: 4)
    panel._start()
    until(lambda: panel.status == "Running, waiting for the first record…")
    gate.open(0.3)
    until(lambda: panel.status.startswith("record 1 of 4, ") and panel.status.endswith(" left"))
    assert panel._progress.fraction == 0.25
    panel.stop()
    gate.open(0.3)
    assert panel.wait(LONG)


def test_total_need_not_be_known_or_right():
    assert panel_of(count).run() and panel_of(count, total=3).run()


# -- ghosts, reset, display --------------------------------------------------------------


def test_former_runs_stay_as_ghosts_named_by_what_changed():
    controls = [lambda_slider(), slider("mu", "μ", low=0, high=2, step=0.5, value=1.0)]
    figure = figures.Curves({"y": "y"})
    panel = panel_of(lambda lam, mu: count(lam), controls, figure, keep=2)
    panel.run()
    assert figure.ghosts == []
    panel.run(lam=1)
    assert figure.ghosts == ["λ = 0.3"]
    panel.run(lam=1, mu=2)
    panel.run(lam=0, mu=2)
    assert figure.ghosts == ["λ = 1, μ = 1", "λ = 1, μ = 2"]
    panel.clear()
    assert figure.ghosts == []
    panel.run(lam=0, mu=2)
    assert figure.ghosts == ["run 4"]


def test_one_record_of_a_stopped_run_leaves_no_ghost():
    gate, figure = Gate(), Recorder()
    panel = panel_of(gate, figure=figure)
    panel._start()
    panel.stop()
    gate.open(0.3)
    assert panel.wait(LONG)
    gate.open(1.0, 100)
    panel.run(lam=1.0)
    assert [c for c in figure.calls if c[0] == "begin"][-1] == ("begin", None)


def test_a_run_does_not_depend_on_what_was_chosen_before():
    controls = [lambda_slider(), slider("mu", "μ", low=0, high=2, step=0.5, value=1.0)]
    panel = panel_of(lambda lam, mu: count(lam * mu), controls, figures.Curves({"y": "y"}))
    panel._controls["mu"].widget.value = 2.0
    assert panel.wait(LONG)
    panel.run(lam=1)
    assert panel.values == {"lam": 1.0, "mu": 1.0}


def test_reset_shows_the_panel_as_it_was_at_first():
    figure = figures.Curves({"y": "y"})
    panel = panel_of(count, figure=figure, readout=lambda rs, vs: f"y is {rs[-1].y:g}")
    panel.show_first()
    first = figure.widget.data
    panel.run(lam=5)
    assert figure.ghosts == ["λ = 0.3"] and panel.text == "y is 20"
    panel.reset()
    assert panel.wait(LONG) and panel.values == {"lam": 0.3}
    assert figure.widget.data == first and figure.ghosts == []
    assert panel.text == "y is 1.2" and "starting values" in panel.status


def test_the_first_state_is_drawn_when_the_panel_is_shown_and_is_no_run_of_the_reader_s():
    figure = figures.Curves({"y": "y"})
    panel = panel_of(count, figure=figure, reached=lambda records, values: True, goal="y = 1")
    panel._repr_mimebundle_()
    assert len(figure.widget.data[0]["x"]) == 5
    assert panel.status == "Move a control or press Run." and not panel._head.reached
    panel.run()
    assert panel._head.reached and panel.status.startswith("Finished")
    panel._repr_mimebundle_()  # shown a second time: nothing is run anew
    assert panel.status.startswith("Finished")


def test_a_first_state_can_be_given_or_left_out():
    calls = []

    def slow(lam):
        calls.append(lam)
        yield Record(step=0, y=lam)

    given = panel_of(
        slow, figure=figures.Curves({"y": "y"}), first=lambda values: [Record(step=0, y=9.0)]
    )
    given.show_first()
    assert given.figures[0].widget.data[0]["y"] == [9.0]
    none = panel_of(slow, figure=figures.Curves({"y": "y"}), first=False)
    none.show_first()
    assert none.figures[0].widget.data[0]["y"] == [] and calls == []


def test_the_goal_is_said_to_be_reached_by_a_run_that_reaches_it():
    panel = panel_of(count, reached=lambda records, values: records[-1].y > 3, goal="y above 3")
    panel.run(lam=1)
    assert panel._head.reached
    panel.run(lam=0.5)
    assert not panel._head.reached


def test_an_error_of_reached_is_raised():
    def reached(records, values):
        raise KeyError("loss")

    with pytest.raises(KeyError, match="loss"):
        panel_of(count, reached=reached).run()


def test_figures_side_by_side_have_the_same_margins():
    one = figures.Curves({"y": "y"})
    other = figures.Curves({"a curve of a very long name": "y"})
    assert one.margin != other.margin
    Panel(count, [lambda_slider()], [one, other])
    assert one.margin == other.margin


def test_a_third_figure_waits_behind_a_button():
    panel = Panel(count, [lambda_slider()], [figures.Curves({"y": "y"}) for _ in range(3)])
    show, hidden = panel.widget.children[-2:]
    assert show.description == "Show 1 more plot" and hidden.layout.display == "none"
    show.value = True
    assert show.description == "Hide 1 more plot" and hidden.layout.display == ""


def test_buttons_do_what_they_say():
    panel = panel_of(count)
    buttons = {b.description: b for b in panel.widget.children[2].children[:4]}
    assert list(buttons) == ["Run", "Stop", "Reset", "Clear"]
    assert all(b.tooltip for b in buttons.values())
    buttons["Run"].click()
    assert panel.wait(LONG) and len(panel.records) == 5
    buttons["Clear"].click()
    assert panel.figures[0].calls[-1] == ("clear",)
    buttons["Stop"].click()
    buttons["Reset"].click()
    assert "starting values" in panel.status


def test_display_has_no_random_text():
    bundle = panel_of(count, title="Ridge")._repr_mimebundle_()
    assert bundle["text/plain"] == "Panel: Ridge"
    assert set(bundle) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_works_while_an_event_loop_runs():
    async def cell():
        return panel_of(count).run()

    assert len(asyncio.run(cell())) == 5


# -- in a notebook -----------------------------------------------------------------------

NOTEBOOK = [
    """
    from types import SimpleNamespace as Record
    from rlhf_lib.panels import Panel, figures, log_slider

    def descend(lam):
        y = 1.0
        for step in range(20):
            yield Record(step=step, y=y)
            y *= 0.5 + lam / 10
            if lam == 10:
                raise FloatingPointError("too much")

    panel = Panel(descend, [log_slider("lam", "λ", low=1e-3, high=10, value=0.3, zero=True)],
                  [figures.Curves({"loss": "y"}, x_range=(0, 20), y_range=(0, 1))],
                  readout=lambda rs, vs: f"The loss is {rs[-1].y:.3g}.", total=20, title="Descent")
    panel
    """,
    """
    records = panel.run(lam=1.0)
    print(len(records), f"{records[-1].y:.2e}", panel.text)
    """,
    """
    try:
        panel.run(lam=10)
    except FloatingPointError as error:
        print("raised:", error)
    """,
]


@pytest.mark.slow
def test_strict_nbval_passes_twice(tmp_path):
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(c).strip()) for c in NOTEBOOK]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", store_widget_state=False).execute()
    assert notebook.cells[1].outputs[0].text == "20 6.09e-05 The loss is 6.09e-05.\n"
    assert notebook.cells[2].outputs[0].text == "raised: too much\n"
    path = tmp_path / "panel.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", str(path)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "3 passed" in done.stdout
