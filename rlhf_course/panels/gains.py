"""Comparisons as a chart: mean and interval of each, and the same numbers as its read-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf_lib.panels import charts
from rlhf_lib.panels.figure import Figure

from ..verdicts.comparison import Comparison


def gain_chart(gains: Mapping[str, Comparison], **axes: Any) -> Figure:
    """Rows of mean gains with the intervals that judge them, the line of no gain marked."""
    rows = {name: (gain.mean, *gain.interval) for name, gain in gains.items()}
    said = (
        f"{name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]" for name, (mean, low, high) in rows.items()
    )
    return charts.ranking(rows, lines={"level": 0}, readout="; ".join(said) + ".", **axes)
