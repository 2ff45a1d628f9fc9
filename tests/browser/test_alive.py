"""Panels follow the hand: a slider is dragged, and the curves move before it is let go.

How long a move takes to the repaint is written to tests/artefacts/alive.txt; nothing is asserted of
seconds. `make test` drags the start on the map of 03, `make test-full` a slider in every notebook.
"""

import statistics
import time

import psutil
import pytest
from test_panels import grave_violations

pytestmark = pytest.mark.browser

# notebook: (what the cell calls, the panel's title, the slider that is dragged, and where it needs
# a recorded run the value of that)
PANELS = {
    "00_start_here": [("nb00.ridge(", "Ridge regression by Newton steps", "λ")],
    "01_overfitting": [
        ("nb01.one_set(", "A polynomial, and a penalty on its coefficients", "λ"),
        ("nb01.filters(", "Three filters on thirteen directions", "λ or μ"),
    ],
    "02_newton_exact_hessian": [
        ("nb02.valley(", "Gradient descent and Newton's method in a valley", "step size η"),
        ("nb02.bowls(", "Newton's method on three bowls", "start x"),
    ],
    "03_saddles_and_damping": [
        ("nb03.saddle(", "Newton's method on a landscape with a saddle", "damping μ"),
        ("nb03.flatness(", "Many minima, sharp and flat", "step size η"),
    ],
    "06_l1_corners": [
        ("nb06.corners(", "L1 logistic regression on 569 tumours", "λ"),
        ("nb06.path(", "The path of the weights", "λ falls to", 0.001),
    ],
    "04_hessian_vector_products": [
        ("nb04.error(", "A Hessian-vector product from two gradients", "least ε")
    ],
    "05_conjugate_gradients": [
        ("nb05.bowl(", "Two methods in one bowl", "start (degrees)"),
        ("nb05.spectra(", "Conjugate gradients on 60 unknowns", "κ"),
        ("nb05.early(", "No penalty, but few iterations", "noise"),
    ],
    "07_gauss_newton": [("nb07.spectra(", "Two spectra, side by side", "training steps", 200)],
    "08_how_far_to_trust": [
        ("nb08.microscope(", "One step: what the model promises, and what comes true", "damping μ"),
        ("nb08.walking(", "Twenty steps under guard", "first μ"),
    ],
    "09_rlhf_optimizer": [
        ("nb09.budget(", "RLHF on handwritten digits, 60 gradient-equivalents", "λ")
    ],
    "10_bert": [("nb10_finger.finger(", "BERT under the finger", "λ")],
    "11_choosing_lambda": [("nb11.dealing(", "Cross-validation on few reviews", "reviews n")],
}
# Where the slider does nothing as the panel is at first, or the run on release takes a minute:
# (title: a choice, and which option of it)
CHOICES = {
    "Twenty steps under guard": ("guarded by", 1),
    "BERT under the finger": ("on release", 1),
}
MANNERS = ("follows your hand", "previews while you drag, runs on release", "runs on release")

WATCH = """
box => {
  const seen = window.rlhfSeen = { move: 0, moves: 0, sent: {}, painted: [] };
  seen.count = e => { seen.move = e.timeStamp; seen.moves++; };
  addEventListener("pointermove", seen.count, true);
  seen.observer = new MutationObserver(changes => changes.forEach(({ attributeName }) => {
    if (attributeName === "data-sent") seen.sent[box.dataset.sent] = seen.move;
    else {
      // The figures have asked for their frame before: this comes after them, then the paint.
      const from = seen.sent[box.dataset.answered];
      requestAnimationFrame(() => setTimeout(() => seen.painted.push([from, performance.now()])));
    }
  }));
  seen.observer.observe(box, { attributeFilter: ["data-sent", "data-answered"] });
}
"""
STOP = """
() => {
  const seen = window.rlhfSeen;
  removeEventListener("pointermove", seen.count, true);
  seen.observer.disconnect();
  return [seen.moves, seen.painted];
}
"""


def drag(panel, label, moves=90, pace=1 / 60):
    """Drag a slider to and fro. What the panel showed before, while it was held at its last place,
    and how long the moves took: ([curves, curves], moves, [(moved, painted), ...] in ms)."""
    page, slider = panel.page, panel.slider(label)
    panel.root.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    slider.evaluate(f"range => ({WATCH})(range.closest('.rlhf-slider'))")
    shown = [shapes(panel)]
    page.mouse.move(box["x"] + 0.25 * box["width"], middle)
    page.mouse.down()
    for i in range(moves):
        due = time.monotonic() + pace
        share = 0.5 + 0.3 * (1 - abs(1 - 2 * ((i / moves * 1.5 + 0.1) % 1)))
        page.mouse.move(box["x"] + share * box["width"], middle)
        page.wait_for_timeout(max(0.0, due - time.monotonic()) * 1000)
    settle(panel, label)
    shown.append(shapes(panel))
    page.mouse.up()
    return shown, *page.evaluate(STOP)


def cpu(lab):
    """CPU seconds so far of the kernels, of the server and of the browser."""
    server = psutil.Process(lab._process.pid)
    family = psutil.Process().children(recursive=True)
    kernels = server.children(recursive=True)
    pages = [p for p in family if p not in kernels and p.name().startswith(("chrom", "headless"))]
    return [sum(sum(p.cpu_times()[:2]) for p in group) for group in (kernels, [server], pages)]


def settle(panel, label):
    """Wait until the page has an answer for each value that it has sent."""
    panel.until(
        lambda: panel.slider(label).evaluate(
            "range => { const d = range.closest('.rlhf-slider').dataset;"
            "  return (d.sent ?? '0') === (d.answered ?? '0'); }"
        )
    )
    panel.page.wait_for_timeout(100)


def shapes(panel):
    """The lines, points and names of all figures, as they stand on the page."""
    return panel.root.evaluate(
        "root => [...root.querySelectorAll('.scatterlayer .trace')].map(trace => "
        "  [...trace.querySelectorAll('path, text')].map(node => "
        "    node.getAttribute('d') + node.getAttribute('transform')).join()).join()"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PANELS)
def test_a_panel_follows_the_hand(name, open_notebook, artefacts):
    notebook = open_notebook(f"{name}.ipynb")
    notebook.run_to(PANELS[name][-1][0])
    assert notebook.errors() == []
    for _, title, label, *recorded in PANELS[name]:
        line = f"{name[:2]} {title} ({label}): {follow(notebook, title, label, *recorded)}"
        with (artefacts / "alive.txt").open("a", encoding="utf-8") as report:
            report.write(line + "\n")
        print(line)


def follow(notebook, title, label, recorded=None):
    """Drag a panel's slider and check what it draws; what was measured, in words."""
    panel = notebook.panel(title)
    panel.until(lambda: shapes(panel))
    if recorded is not None:
        panel.after(lambda: panel.type(label, recorded))
    if title in CHOICES:
        menu, option = CHOICES[title]
        panel.after(lambda: panel.root.get_by_label(menu).select_option(index=option))
    manner = panel.root.locator(".rlhf-manner").inner_text()
    assert manner in MANNERS
    runs, spent = panel.runs, cpu(notebook.lab)
    (before, held), moves, painted = drag(panel, label)
    spent = [1000 * (b - a) for a, b in zip(spent, cpu(notebook.lab), strict=True)]
    panel.until(lambda: panel.runs > runs and panel.status.startswith("Finished"))

    # What is drawn in the end is what was set last, and nothing waits behind it.
    count = panel.runs
    assert panel.shown(label) in panel.values.values()
    panel.page.wait_for_timeout(500)
    assert panel.runs == count == runs + 1
    if manner == MANNERS[2]:
        assert painted == [] and held == before
        return manner
    assert held != before  # while it was held
    assert 2 <= len(painted) <= moves
    took = sorted(end - start for start, end in painted)
    rate = 1000 * (len(painted) - 1) / (painted[-1][1] - painted[0][1])
    kernel, server, browser = (ms / len(painted) for ms in spent)
    return (
        f"{manner}; {moves} moves, {len(painted)} painted, {rate:.0f} a second, "
        f"{statistics.median(took):.0f} ms from the move to the repaint (median), "
        f"{took[int(0.95 * (len(took) - 1))]:.0f} ms (95th percentile); "
        f"CPU ms for each repaint: kernel {kernel:.0f}, server {server:.0f}, browser {browser:.0f}"
    )


def test_the_start_is_dragged_on_the_map_and_the_steps_are_played(open_notebook, artefacts):
    notebook = open_notebook("03_saddles_and_damping.ipynb")
    notebook.run_to("nb03.saddle(")
    assert notebook.errors() == []
    panel, page = notebook.panel("Newton's method on a landscape with a saddle"), notebook.page
    panel.until(lambda: shapes(panel))
    grip = panel.root.locator(".rlhf-grip:visible")
    panel.root.screenshot(path=artefacts / "03_alive-1.png")

    # On the map: the sliders and the curve of the other figure go along.
    runs, before = panel.runs, shapes(panel)
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 40, y + 20, steps=8)
    panel.until(lambda: panel.shown("start x") < 1.5 and shapes(panel) != before)
    assert panel.shown("start y") < 0.4 and panel.runs == runs
    page.mouse.up()
    panel.until(lambda: panel.runs == runs + 1 and panel.status.startswith("Finished"))
    assert panel.values["x"] == panel.shown("start x") < 1.5
    assert panel.values["y"] == panel.shown("start y") < 0.4
    panel.until(lambda: len(panel.curve("path")) > 2)

    # The step under the pointer is ringed in both figures.
    page.wait_for_timeout(500)
    where = (
        panel.root.locator(".js-plotly-plot")
        .nth(1)
        .evaluate(
            "plot => { const { xaxis, yaxis, _size } = plot._fullLayout;"
            "  const box = plot.getBoundingClientRect();"
            "  const t = plot.data.find(t => t.name === 'larger');"
            "  return [box.x + _size.l + xaxis.d2p(t.x[1]), box.y + _size.t + yaxis.d2p(t.y[1])]; }"
        )
    )
    page.mouse.move(where[0] - 5, where[1])
    page.mouse.move(*where, steps=4)
    panel.until(lambda: panel.root.locator(".rlhf-lit:visible").count() >= 3)
    panel.root.screenshot(path=artefacts / "03_alive-2-step.png")
    page.mouse.move(0, 0)
    panel.until(lambda: panel.root.locator(".rlhf-lit:visible").count() == 0)

    # Played by keyboard, paused, and gone through by the arrow keys.
    whole = panel.curve("path")
    button = panel.root.locator(".rlhf-player button")
    button.focus()
    page.keyboard.press("Enter")
    panel.until(lambda: 0 < len(panel.curve("path")) < len(whole))
    assert button.inner_text() == "Pause"
    page.keyboard.press("Enter")
    assert button.inner_text() == "Play"
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    panel.until(lambda: len(panel.curve("path")) == 2 and panel.readout.startswith("Step 1:"))
    panel.root.screenshot(path=artefacts / "03_alive-3-played.png")
    page.keyboard.press("End")
    panel.until(lambda: panel.curve("path") == whole)

    # Who asks for less motion goes on by one step with each press.
    page.emulate_media(reduced_motion="reduce")
    button.focus()
    page.keyboard.press("Enter")
    panel.until(lambda: len(panel.curve("path")) == 1)
    page.keyboard.press("Enter")
    panel.until(lambda: len(panel.curve("path")) == 2)
    page.wait_for_timeout(1000)
    assert len(panel.curve("path")) == 2
    assert grave_violations(page) == []
