"""Panels alive in a page without a kernel, from a file: they show what the notebook's panels show.

The first test has a panel made for it, the second asks those of the course, in the page and in
Python, for the same settings.
"""

import re
from types import SimpleNamespace as Record

import pytest
from test_panels import grave_violations

from rlhf_course.panels.nb10_finger import LINEAR
from rlhf_lib.panels import Panel, figures, log_slider, slider
from tools.site import alive, panel_cells
from tools.site.stops import STOPS
from tools.site.tables import chosen_stops, table

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>panels</title>
<body data-theme="{theme}"><main>{places}</main>{scripts}<script>
for (const panel of document.querySelectorAll(".panel")) rlhfAlive(panel);
</script>"""
SHOWN = """({ plots }) => plots.map(plot => ["fixed", "ghosts", "moving", "notes"].map(
    name => plot.get(name).map(({ x, y, name, text }) => ({ x, y, name, text }))))"""


@pytest.fixture
def open_page(chromium, tmp_path):
    """`open_page(number, theme)` opens a file with the tables of a notebook in `tmp_path`."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    noise = []

    def opened(number, addresses, places, theme="light"):
        file = tmp_path / f"{number}.html"
        divs = (
            f'<div class="panel" data-notebook="{number}" data-panel="{k}"></div>' for k in places
        )
        scripts = (f'<script src="{address}"></script>' for address in addresses)
        file.write_text(PAGE.format(theme=theme, places="".join(divs), scripts="".join(scripts)))
        page = context.new_page()
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "blob:")) or noise.append(r.url))
        page.goto(file.as_uri())
        return page, [
            page.wait_for_function(f"document.querySelectorAll('.panel')[{i}].rlhf")
            for i, _ in enumerate(places)
        ]

    yield opened
    context.close()
    assert noise == []


def toy():
    def run(lam, steps):
        yield from (
            Record(step=i, y=lam * (i * i + 1) / 10, z=4 - i * lam) for i in range(steps + 1)
        )

    return Panel(
        run,
        [
            log_slider("lam", "penalty λ", low=0.1, high=1, value=0.3),
            slider("steps", "steps", low=1, high=6, step=1, value=4),
        ],
        [
            figures.Curves(
                {"y": "y", "a long name that stands in lines": "z"},
                title="Two curves",
                x_range=[0, 6],
                y_range=[-2, 4],
            ),
            figures.Curves({"y": "y"}, title="Logarithmic", y_log=True, marker_at_min="y"),
        ],
        readout=lambda records, values: f"{records[-1].y:.3f} after {values['steps']} steps",
        reached=lambda records, values: records[-1].y > 2,
        title="A panel",
        goal="y above 2",
        keep=3,
    )


def alike(found, wanted, within=0.003):
    """Whether rows of the page are those of Python, but for rounding."""
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    if isinstance(wanted, float | int) and not isinstance(wanted, bool):
        return abs(found - wanted) <= within * max(1, abs(wanted))
    return found == wanted


NUMBER = r"[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"


def same_sentence(found, wanted):
    """Whether the words are the same and the numbers nearly, for processors round differently."""
    numbers = [
        [float(n.replace(",", "").replace("−", "-")) for n in re.findall(NUMBER, text)]
        for text in (found, wanted)
    ]
    words = [re.sub(NUMBER, "#", text) for text in (found, wanted)]
    return words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.002)


@pytest.mark.parametrize("number", STOPS)
def test_the_course_begins_in_its_pages_as_in_its_notebooks(open_page, tmp_path, number):
    path = next(panel_cells.SOLUTIONS.glob(f"{number}_*.ipynb"))
    stored = list(panel_cells.panel_cells(path).values())
    scripts = alive.write(number, tmp_path)
    assert (tmp_path / scripts[-1]).stat().st_size <= 300_000
    page, panels = open_page(number, scripts, STOPS[number])
    for panel, place in zip(panels, STOPS[number], strict=True):
        text = page.evaluate("panel => panel.source.at(panel.starts).text", panel)
        assert same_sentence(text, stored[place - 1].partition("\n")[2])
    assert grave_violations(page) == []


SETTINGS = {
    "00": [{"lambda_reg": 0.0, "damping": 1.0}, {"lambda_reg": 1.0, "damping": 0.0}],
    "10": [
        {"lambda_reg": 0.0, "damping": 0.3, "steps": 40, "noise": 0.2, "sentences": 200},
        {"lambda_reg": 1.0, "damping": 3.0, "steps": 24, "noise": 0.5, "sentences": 60},
    ],
}
ROWS = """([panel, values]) => panel.source.at({ ...panel.starts, ...values }, true).figures.map(
    ({ traces }) => traces.map(({ name, x, y }) => ({ name, x, y })))"""


@pytest.mark.parametrize("number", SETTINGS)
def test_the_course_draws_the_same_in_its_pages_as_in_python(open_page, tmp_path, number):
    path = next(panel_cells.SOLUTIONS.glob(f"{number}_*.ipynb"))
    scripts = alive.write(number, tmp_path)
    page, (held, *_) = open_page(number, scripts, STOPS[number])
    panels, _ = panel_cells.make_panels(path, list(panel_cells.panel_cells(path))[:1])
    (panel,) = panels.values()
    for figure in panel.figures:
        figure.keep = 0
    for values in SETTINGS[number]:
        wanted = values | ({"run": LINEAR} if number == "10" else {})
        panel.run(**wanted)
        for figure, rows in zip(panel.figures, page.evaluate(ROWS, [held, wanted]), strict=True):
            for trace, row in zip(figure.widget.data, rows, strict=True):
                assert row["name"] == trace["name"]
                for axis in ("x", "y"):
                    log = figure.widget.axes[f"{axis}axis"]["type"] == "log"
                    drawn = [None if log and v <= 0 else v for v in trace[axis]]
                    found = [None if log and v is not None and v <= 0 else v for v in row[axis]]
                    assert alike(found, drawn)


def test_a_page_shows_what_the_panel_shows(open_page, tmp_path):
    panel = toy()
    stops = {name: chosen_stops(control, 7) for name, control in panel._controls.items()}
    packed = alive.pack(*table(panel, stops))
    (tmp_path / "alive.js").write_text(
        f"{alive._plotly()}\n{alive.library()}\nrlhfPanels = {{ toy: {{ 1: '{packed}' }} }};"
    )
    page, (held,) = open_page("toy", ["alive.js"], [1])
    page.wait_for_selector(".main-svg")
    panel = toy()
    panel.show_first()
    moves = {"penalty λ": ("lam", 3), "steps": ("steps", -2)}
    for label, (name, by) in moves.items():
        handle = page.get_by_role("slider", name=label)
        handle.focus()
        for _ in range(abs(by)):
            handle.press("ArrowRight" if by > 0 else "ArrowLeft")
        place = stops[name].index(panel.values[name])
        for step in range(1, abs(by) + 1):
            panel._controls[name].value = stops[name][place + step * by // abs(by)]
            assert panel.wait(60)
        shown = page.evaluate(SHOWN, held)
        for found, figure in zip(shown, panel.figures, strict=True):
            plot = figure.widget
            for rows, wanted in zip(found, (plot.fixed, plot.ghosts, plot.moving), strict=False):
                assert [r["name"] for r in rows] == [t["name"] for t in wanted]
                for row, trace in zip(rows, wanted, strict=True):
                    assert alike(row["x"], list(trace["x"])) and alike(row["y"], list(trace["y"]))
            notes = [(n["text"].replace("\n", "<br>"), n["y"]) for n in plot.notes]
            assert alike([(n["text"], n["y"]) for n in found[3]], notes)
        assert page.locator(".rlhf-readout").inner_text() == panel.text
        reached = page.locator(".rlhf-reached").inner_text() == "✓ reached"
        assert reached == panel._head.reached
    assert len(panel.figures[0].ghosts) == 3  # of five moves
    typed = page.get_by_role("spinbutton", name="penalty λ")
    typed.fill("0.29")
    typed.press("Enter")
    assert typed.input_value() == "0.3"
    page.get_by_role("button", name="Reset", exact=True).click()
    assert page.evaluate(SHOWN, held)[0][1] == []
    assert grave_violations(page) == []
