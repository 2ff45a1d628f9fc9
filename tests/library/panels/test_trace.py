"""A trace: plotly's JSON, moved without a second check, and what only a figure knows of it."""

import plotly.graph_objects as go

from rlhf_lib.panels.trace import Trace, as_trace


def test_a_moved_trace_is_what_plotly_would_have_made():
    look = go.Scatter(name="a", mode="lines", line={"color": "#000000", "width": 2})
    trace = Trace(look, ghost={"mode": "lines"}, named=True, layout={"bargap": 0.1})
    moved = trace.at([1, 2], [3, 4], text=["b", "c"])
    made = go.Scatter(x=[1, 2], y=[3, 4], text=["b", "c"], **look.to_plotly_json())
    assert moved == made.to_plotly_json()
    assert trace["x"] == trace["y"] == []  # and the first one stays as it was
    assert (moved.ghost, moved.named, moved.fixed) == ({"mode": "lines"}, True, False)
    assert moved.layout == {"bargap": 0.1}


def test_a_function_may_return_plotly_s_traces_json_or_traces():
    trace = Trace({"y": [1]}, named=True)
    assert as_trace(trace) is trace
    assert as_trace({"y": [1]}) == as_trace(go.Scatter(x=[], y=[1])) == trace
    assert "x" not in as_trace(go.Heatmap(z=[[1]]))
