"""Still figures: what they draw, how they are labelled, and what they refuse."""

import math

import numpy as np
import pytest
import torch

from rlhf_lib.panels import charts
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.show import FIGURES_MIME
from rlhf_lib.panels.theme import DARK, PALETTE, RUNS, run_colours
from rlhf_lib.panels.ticks import log_ticks, tick_text, tick_values


def labels(figure):
    return [note["text"].replace("\n", " ") for note in figure.widget.notes]


def test_a_chart_draws_series_bands_and_levels():
    xs = torch.linspace(0, 1, 5)
    figure = charts.chart(
        {"train": (xs, xs**2), "validation": (range(5), [1, 2, math.nan, 4, 5])},
        bands={"train": (xs**2 - 1, xs**2 + 1)},
        lines={"coin": 0.693},
        x_range=[0, 5],
    )
    named = {t["name"]: t for t in figure.widget.data if t.get("name")}
    assert named["train"]["y"] == pytest.approx([0, 1 / 16, 1 / 4, 9 / 16, 1])
    assert named["validation"]["y"][2] is None
    assert named["coin"]["x"] == [0, 5] and named["coin"]["y"] == [0.693, 0.693]
    (band,) = [t for t in figure.widget.data if t.get("fill") == "toself"]
    assert len(band["x"]) == 10 and band["y"][0] == -1 and band["y"][-1] == 1
    assert sorted(labels(figure)) == ["coin", "train", "validation"]
    assert named["train"]["line"]["dash"] != named["validation"]["line"]["dash"]


def test_a_level_reaches_over_the_xs_that_can_be_drawn():
    series = {"a": ([1, math.nan, 3], [1, 2, 3]), "b": (["one", "two"], [1, 2])}
    figure = charts.chart(series, lines={"coin": 0.693})
    (level,) = [t for t in figure.widget.data if t.get("name") == "coin"]
    assert level["x"] == [1, 3]


def test_labels_at_the_right_end_do_not_cover_one_another():
    figure = charts.chart({f"curve {i}": ([0, 1], [0, 1 + i / 1000]) for i in range(5)})
    axes = figure.widget.axes
    area = axes["height"] - axes["margin"]["t"] - axes["margin"]["b"]
    heights = sorted(note["y"] * area for note in figure.widget.notes)
    assert len(heights) == 5 and min(np.diff(heights)) >= 13
    assert heights[0] >= -8 and heights[-1] <= area + 8


def test_the_room_on_the_right_grows_with_the_names():
    short = charts.chart({"a": ([0, 1], [0, 1])}).margin["r"]
    long = charts.chart({"a longer name than that": ([0, 1], [0, 1])}).margin["r"]
    assert short < long < 180


def test_points_have_a_legend_and_texts():
    figure = charts.chart(
        {"whole": ([1, 2], [3, 4]), "pruned": ([1], [2])},
        kind="markers",
        labels={"whole": ["fp32", "int8"]},
    )
    assert figure.widget.axes["showlegend"] and labels(figure) == []
    whole, pruned = figure.widget.data
    assert list(whole["text"]) == ["fp32", "int8"]
    assert whole["marker"]["symbol"] != pruned["marker"]["symbol"]


def test_a_chart_refuses_lengths_that_differ_and_unknown_kinds():
    with pytest.raises(ValueError, match="a: expected as many xs as ys, got 2 and 3"):
        charts.chart({"a": ([1, 2], [1, 2, 3])})
    with pytest.raises(ValueError, match=r"expected kind .* got .dots"):
        charts.chart({"a": ([1], [1])}, kind="dots")


def test_a_ranking_has_a_row_for_each_name_and_levels_from_top_to_bottom():
    rows = {"AdamW": (0.5, 0.4, 0.7), "probe": 0.42, "RLHF": (0.6, 0.5, 0.8)}
    figure = charts.ranking(rows, lines={"coin": 0.693}, marked=["probe"], x_range=[0.3, 0.9])
    axis = figure.widget.axes["yaxis"]
    assert axis["ticktext"] == list(rows) and axis["range"][0] > axis["range"][1]
    others, marked = figure.widget.data
    assert others["x"] == [0.5, 0.6] and others["y"] == [0, 2] and marked["x"] == [0.42]
    assert others["error_x"]["array"] == pytest.approx([0.2, 0.2])
    assert figure.widget.axes["annotations"][0]["text"] == "coin"
    assert (
        figure.widget.axes["height"]
        < charts.ranking(dict.fromkeys(map(str, range(17)), 1.0)).widget.axes["height"]
    )


@pytest.mark.parametrize("marked", [["c"], [1], ["a", "c"], range(2)])
def test_a_mark_on_no_row_is_refused(marked):
    with pytest.raises(ValueError, match="marked: expected names of rows, out of"):
        charts.ranking({"a": 1.0, "b": 2.0}, marked=marked, x_title="x", title="t")


def test_levels_of_a_logarithmic_ranking_stand_at_the_exponent():
    figure = charts.ranking({"a": 1.0}, lines={"here": 100.0}, x_log=True, x_range=[1, 1000])
    assert figure.widget.axes["annotations"][0]["x"] == 2  # plotly's way with annotations
    assert figure.widget.axes["shapes"][0]["x0"] == 100.0  # and with shapes


def test_cells_show_their_numbers():
    figure = charts.cells([0.1, 1], ["a", "b"], [[1.0, 20.0], [math.nan, 3.14159]], log=True)
    (shown,) = figure.widget.data
    assert shown["text"] == [["1", "20"], ["–", "3.14"]]
    assert shown["z"][0] == pytest.approx([0, math.log10(20)]) and shown["z"][1][0] is None
    with pytest.raises(ValueError, match="expected 2 rows of 2 numbers"):
        charts.cells([1, 2], [1, 2], [[1, 2]])


def test_regions_have_a_colour_and_a_symbol_for_each_outcome():
    figure = charts.regions([0, 1], [0, 1, 2], [[0, 1], [1, 1], [0, 0]], ["saddle", "minimum"])
    ground, saddle, minimum = figure.widget.data
    assert ground["z"] == [[0, 1], [1, 1], [0, 0]]
    assert saddle["name"] == "saddle" and saddle["marker"]["symbol"] != minimum["marker"]["symbol"]
    assert list(zip(minimum["x"], minimum["y"], strict=True)) == [(1, 0), (0, 1), (1, 1)]


def test_a_goal_is_a_line_a_region_or_a_box():
    def shape(goal):
        (found,) = charts.chart({"a": ([0, 1], [0, 1])}, goal=goal).widget.axes["shapes"]
        return found

    line = shape({"y": 0.62})
    assert (line["type"], line["y0"], line["y1"], line["xref"]) == ("line", 0.62, 0.62, "paper")
    region = shape({"y": (0, 0.62), "label": "below 0.62"})
    assert region["type"] == "rect" and region["label"]["text"] == "below 0.62"
    box = shape({"x": (0, 1), "y": (2, 3)})
    assert (box["xref"], box["yref"], box["x1"], box["y0"]) == ("x", "y", 1, 2)
    with pytest.raises(ValueError, match="expected 'x', 'y' or both"):
        shape({"z": 3})


def test_a_figure_shows_itself_with_its_read_out_and_a_picture_when_asked(monkeypatch):
    figure = charts.chart({"a": ([0, 1], [0, 1])}, title="A line", readout="It rises.")
    assert isinstance(figure, Figure)
    bundle = figure._repr_mimebundle_()
    assert bundle["text/plain"] == "A line\nIt rises." and FIGURES_MIME not in bundle
    monkeypatch.setenv("RLHF_PICTURES", "1")
    (drawn,) = figure._repr_mimebundle_()[FIGURES_MIME]
    assert drawn["data"] == figure.widget.data
    assert [note["text"] for note in drawn["layout"]["annotations"]] == ["a"]


# -- ticks and colours


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001, "0.001"),
        (1.0, "1"),
        (1000.0, "1,000"),
        (10_000.0, "10,000"),
        (1e5, "10⁵"),
        (1e-5, "10⁻⁵"),
        (2e-7, "2·10⁻⁷"),
        (0.5, "0.5"),
        (1e-4, "0.0001"),
        (1e12, "10¹²"),
    ],
)
def test_ticks_are_numbers_as_people_write_them(value, text):
    assert tick_text(value) == text


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (1e-3, 1, [1e-3, 1e-2, 1e-1, 1]),
        (0.3, 3, [0.5, 1, 2]),
        (1, 10, [1, 2, 5, 10]),
        (1e-6, 1e6, [1e-6, 1e-4, 1e-2, 1, 1e2, 1e4, 1e6]),
        (2, 4, [2]),
    ],
)
def test_a_logarithmic_axis_has_few_ticks_and_none_outside(low, high, values):
    assert tick_values(low, high) == pytest.approx(values)


@pytest.mark.parametrize("exponents", [(-30, 30), (-16, 0), (0, 9), (-2, 3), (0, 1)])
def test_there_are_never_more_labels_than_fit(exponents):
    low, high = (10.0**e for e in exponents)
    assert 2 <= len(tick_values(low, high)) <= 9


def test_a_logarithmic_axis_wants_positive_numbers_in_order():
    for span in ((0, 1), (1, 1), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="expected 0 < low < high"):
            log_ticks(span)
    assert log_ticks(None)["type"] == "log"


def test_every_colour_has_a_partner_in_the_dark_theme():
    assert set(PALETTE) | set(RUNS) <= set(DARK)
    assert len(set(DARK.values())) == len(DARK)


def contrast(one, other):
    """WCAG 2.1's contrast ratio."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_colours_of_runs_and_words_are_seen_on_both_papers():
    for colour in (*RUNS, "#6b6b6b", "#222222", "#00734f"):
        assert contrast(colour, "#ffffff") >= 2.8, colour
        assert contrast(DARK[colour], "#111111") >= 2.8, colour


def test_former_runs_are_coloured_in_the_order_of_the_value_that_was_moved():
    assert run_colours(["λ = 1", "λ = 0.01", "λ = 0.1"]) == [RUNS[5], RUNS[0], RUNS[2]]
    assert run_colours(["run 1", "run 2"]) == [RUNS[0], RUNS[5]]
    assert run_colours(["λ = 1, μ = 2", "λ = 0.1, μ = 2"]) == [RUNS[0], RUNS[5]]
    assert run_colours([]) == [] and run_colours(["λ = 1"]) == [RUNS[0]]
