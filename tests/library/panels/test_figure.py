"""A figure is its function: what it draws live, keeps of former runs, stores, and sends."""

import copy

import comm
import plotly.graph_objects as go
import pytest

from rlhf_lib.panels.charts import still
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.show import figures_json
from rlhf_lib.panels.trace import Trace

GROUND = Trace(go.Contour(z=[[0.0, 1.0], [1.0, 2.0]]), fixed=True)
LOOK = Trace(go.Scatter(name="loss", mode="lines"), ghost={"mode": "lines"})


def falling(records, values):
    """A fixed ground, the records times a value, and an end that leaves no ghost."""
    ys = [y * values["scale"] for y in records]
    at = list(range(len(ys)))
    return [GROUND, LOOK.at(at, ys), {"name": "end", "x": at[-1:], "y": ys[-1:]}]


def test_one_function_gives_the_live_traces_the_ghosts_and_the_stored_picture():
    figure = Figure(falling)
    figure.draw([4.0, 2.0, 1.0], {"scale": 1.0})
    former = figure.traces([4.0, 2.0, 1.0], {"scale": 1.0})
    assert figure.widget.data == former == figures_json([figure])[0]["data"]
    figure.begin("one")
    figure.draw([4.0, 3.0], {"scale": 2.0})
    ground, ghost, loss, end = figure.widget.data
    assert [ground, loss, end] == figure.traces([4.0, 3.0], {"scale": 2.0})
    assert (ghost["x"], ghost["y"]) == (former[1]["x"], former[1]["y"])
    assert ghost["name"] == "one" and ghost["opacity"] < 1
    assert loss["y"] == [8.0, 6.0] and end["y"] == [6.0]


def test_what_is_fixed_is_sent_once_and_a_run_s_traces_with_each_draw(monkeypatch):
    sent = []

    class Page:
        comm_id = "page"

        def send(self, data=None, **_):
            sent.append(copy.deepcopy((data or {}).get("state", {})))

        def on_msg(self, callback): ...

        def close(self, *_, **__): ...

    monkeypatch.setattr(comm, "create_comm", lambda **_: Page())
    figure = Figure(falling)
    sent.clear()
    for n in (1, 2, 3):
        figure.draw([1.0] * n, {"scale": 1.0})
    assert [sorted(state) for state in sent] == [["moving"]] * 3
    figure.begin("former")
    figure.draw([2.0], {"scale": 1.0})
    assert "fixed" not in {name for state in sent for name in state}
    assert sum("ghosts" in state for state in sent) == 1


def test_a_trace_brings_entries_of_the_layout_and_the_figure_s_own_stand():
    def rows(records, values):
        names = {"ticktext": list(records), "automargin": True}
        return [Trace(go.Scatter(), layout={"yaxis": names, "bargap": 0.5})]

    figure = Figure(rows, y_title="row", layout={"yaxis": {"automargin": False}})
    figure.draw(["one", "two"], {})
    axis = figure.widget.axes["yaxis"]
    assert axis["ticktext"] == ["one", "two"] and not axis["automargin"]
    assert axis["title"]["text"] == "row" and figure.widget.axes["bargap"] == 0.5


def test_other_notes_stand_in_place_of_the_names():
    def corner(traces, axes):
        return [{"text": f"{len(traces)} traces, {axes['height']} pixels"}]

    figure = Figure(still([LOOK.at([1], [2])]), notes=corner, height=200)
    assert [note["text"] for note in figure.widget.notes] == ["1 traces, 200 pixels"]


def test_a_still_figure_is_a_function_that_gives_the_same_always():
    figure = Figure(still([go.Bar(x=["a"], y=[1]), go.Scatter(x=[0], y=[2])]))
    before = figure.widget.data
    figure.draw([1, 2], {"scale": 3})
    figure.begin("former")
    assert figure.widget.data == before and figure.ghosts == []
    figure.fix(go.Scatter(name="coin", x=[0, 1], y=[0.7, 0.7]))
    assert [t.get("name") for t in figure.show().widget.data] == [None, None, "coin"]


def test_traces_that_plotly_does_not_know_are_refused_by_plotly():
    with pytest.raises(ValueError, match="Invalid property"):
        Figure(lambda records, values: [go.Scatter(colour="red")])
