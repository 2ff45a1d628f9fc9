"""A trace as plain data behaves as plotly's own does where figures use it."""

import plotly.graph_objects as go

from rlhf_lib.panels.trace import Trace


def test_it_changes_as_plotly_s_own_trace():
    own = go.Scatter(name="a", mode="lines", line={"color": "#000000", "width": 2})
    plain = Trace(own.to_plotly_json())
    for trace in (own, plain):
        trace.update(x=[1, 2], y=[3, 4], line={"dash": "dot"}, marker_size=[5, 6])
        trace.text = ["b", "c"]
        trace.update(marker={"symbol": "x"})
    made = own.to_plotly_json()
    assert plain == {name: list(v) if isinstance(v, tuple) else v for name, v in made.items()}
    assert plain.line.color == own.line.color and plain.marker.symbol == "x"
    assert plain.meta is None and Trace().line.color is None
