"""The learner's answer drawn over the target, for checks where a look says more than a number."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# How far beyond the target the axes follow the answer, in units of the target's range: an answer
# that explodes would flatten the target to a line.
REACH = 1.0


@dataclass(frozen=True)
class Curves:
    """Target and answer as two lines over x, three sequences of one length.

    `title`, `x_title` and `y_title` label the plot; the axes fit the target. Nothing is built
    before the picture is shown, so a check costs nothing in a plain script.
    """

    x: Sequence[float] | Tensor
    target: Sequence[float] | Tensor
    answer: Sequence[float] | Tensor
    title: str = "Your answer and the target"
    x_title: str = "x"
    y_title: str = "y"

    @property
    def readout(self) -> str:
        """The picture in one sentence."""
        x, target, answer = map(_floats, (self.x, self.target, self.answer))
        gap, at = max((abs(a - t), -i) for i, (t, a) in enumerate(zip(target, answer, strict=True)))
        if gap <= 1e-6 * max(map(abs, target), default=1.0):
            return "The two curves lie on one another."
        return f"The two curves are farthest apart, by {gap:.3g}, at {self.x_title} = {x[-at]:.3g}."

    def figure(self) -> Any:
        """The figure of the panels' floor, with both lines."""
        from rlhf_lib.panels import figures

        x, target, answer = map(_floats, (self.x, self.target, self.answer))
        low, high = min(target), max(target)
        room = REACH * (high - low or 1.0)
        shown = [a for a in answer if low - room <= a <= high + room]
        low, high = min([low, *shown]), max([high, *shown])
        edge = 0.05 * (high - low or 1.0)
        figure = figures.Curves(
            {"your answer": lambda point: point[1]},
            x=lambda point: point[0],
            reference={"target": (x, target)},
            title=self.title,
            x_title=self.x_title,
            y_title=self.y_title,
            x_range=[min(x), max(x)],
            y_range=[low - edge, high + edge],
        )
        figure.draw(list(zip(x, answer, strict=True)), {})
        return figure

    def under(self, message: str, **kwargs: Any) -> dict[str, Any]:
        """A notebook's display data: the message, the figure, and the read-out."""
        import ipywidgets

        lines = [ipywidgets.HTML(html.escape(text)) for text in (message, self.readout)]
        box = ipywidgets.VBox([lines[0], self.figure().widget, lines[1]])
        return box._repr_mimebundle_(**kwargs)


def _floats(values: Sequence[float] | Tensor) -> list[float]:
    return [float(v) for v in values]
