"""What a figure's axes are is what the browser was told: at opening, or by a message afterwards."""

import copy

import comm
import pytest

from rlhf_lib.panels import figures
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.heatmap import HeatMap
from rlhf_lib.panels.histogram import Histogram
from rlhf_lib.panels.intervals import Intervals
from rlhf_lib.panels.points import Points
from rlhf_lib.panels.sizes import Sizes

FIGURES = {
    "curves": lambda: figures.Curves({"loss": "loss"}, x_range=(0, 5), y_range=(1, 9), y_log=True),
    "points": lambda: Points(lambda r: {}, ["whole"], x_log=True, x_range=(4, 130)),
    "histogram": lambda: Histogram({"before": lambda r: None}),
    "intervals": lambda: Intervals(lambda r: {}, 3, x_range=[0, 5]),
    "heat map": lambda: HeatMap(["a"], lambda r: [[1.0]], low=1e-3, high=1.0),
    "bands": lambda: Bands({"loss": lambda r: ((), (), (), ())}, y_log=True),
    "sizes": lambda: Sizes(lambda r: r, floor=1e-8),
}


class Browser:
    """A front end that only keeps what it is sent."""

    def __init__(self):
        self.states = {}

    def open(self, comm_id=None, data=None, **_):
        self.states[len(self.states)] = state = copy.deepcopy(data["state"])
        return Channel(state, f"comm {len(self.states)}")


class Channel:
    def __init__(self, state, comm_id):
        self.state, self.comm_id = state, comm_id

    def send(self, data=None, **_):
        self.state.update(copy.deepcopy((data or {}).get("state", {})))

    def on_msg(self, callback):
        pass

    def close(self, *_, **__):
        pass


@pytest.mark.parametrize("name", FIGURES)
def test_the_browser_has_the_axes(name, monkeypatch):
    browser = Browser()
    monkeypatch.setattr(comm, "create_comm", browser.open)
    figure = FIGURES[name]()
    (sent,) = (state for state in browser.states.values() if "axes" in state)
    assert sent["axes"] == figure.widget.axes
