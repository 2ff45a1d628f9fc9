"""What a reader does in the browser: run a notebook, move sliders, stop, and reach the goals."""

import re
from functools import partial

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

pytestmark = pytest.mark.browser

BERT = "BERT under the finger"
FRAMES = 12  # of a drag, kept as pictures


def grave_violations(page, context=".rlhf-panel"):
    """What axe finds wrong inside the panels and calls serious or critical, one line each."""
    found = Axe().run(page, context=context).response["violations"]
    return [
        f"{v['id']} ({v['impact']}): {v['help']}: {v['nodes'][0]['html'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def ghosts(panel):
    """Names of the kept curves in the left figure of 10_bert."""
    fixed = {"the probe", "validation loss", "training loss", "least validation loss"}
    return {name for name, _ in panel.traces()} - fixed


def points(panel):
    return len(panel.curve("validation loss"))


def moving_picture(folder, name):
    """The numbered pictures of this name, to and fro, as an animated one."""
    frames = [
        Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
        for path in sorted(folder.glob(f"{name}-*.png"))
    ]
    frames += frames[-2:0:-1]
    frames[0].save(
        folder / f"{name}.gif", save_all=True, append_images=frames[1:], duration=200, loop=0
    )


def test_bert(open_notebook, artefacts):
    # What comes below the panel is executed with the claims, and takes most of the time.
    notebook = open_notebook("10_bert.ipynb")
    notebook.run_to("nb10_finger.finger(")
    assert notebook.errors() == []
    panel, page = notebook.panel(BERT), notebook.page

    # The cell has drawn a first state, which is no run of the reader's.
    first = panel.curve("validation loss")
    assert len(first) == 25 and panel.status == "Move a control or press Run."
    assert panel.readout.startswith("Step 24 (linearized): training loss")
    assert len(panel.curve("training loss", figure=1)) > 5
    assert panel.shown("λ") == 0 and not ghosts(panel) and reached(panel) == ""
    panel.root.screenshot(path=artefacts / "10_bert-1-run-all.png")

    # Under the hand the linearized BERT follows, a whole run at each place.
    runs, box = panel.runs, panel.slider("λ").bounding_box()
    middle, seen = box["y"] + box["height"] / 2, []
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    for i in range(FRAMES):
        page.mouse.move(box["x"] + 8 + (0.7 * i / FRAMES) * box["width"], middle)
        page.wait_for_timeout(150)
        seen.append(panel.curve("validation loss")[-1])
        panel.root.screenshot(path=artefacts / f"10_bert-drag-{i:02}.png")
    moving_picture(artefacts, "10_bert-drag")
    assert len(set(seen)) > FRAMES / 2 and min(seen) < 0.6 < max(seen)
    page.mouse.up()

    # Let go, the true one runs over it; the linearized curve stays beside.
    panel.until(lambda: panel.runs > runs and re.match(r"record [2-9] of", panel.status))
    assert "(true BERT)" in panel.readout and "linearized" in ghosts(panel)
    panel.root.screenshot(path=artefacts / "10_bert-2-true.png")
    panel.press("Stop")
    panel.until(lambda: panel.status.startswith("Stopped after"))
    count, text = points(panel), panel.readout
    assert re.fullmatch(rf"Stopped after {count} records?\.", panel.status) and 1 < count < 25
    page.wait_for_timeout(2500)
    assert points(panel) == count and panel.readout == text

    # The linearized one alone: by choice and number, and by keys.
    panel.after(lambda: panel.root.get_by_label("on release").select_option(index=1))
    runs = panel.runs
    panel.type("λ", "0,3x")
    refused = panel.root.get_by_role("alert").get_by_text('got "0,3x"')
    refused.wait_for()
    assert panel.field("λ").get_attribute("aria-invalid") == "true" and panel.runs == runs
    panel.after(lambda: panel.type("λ", "1,0"))
    assert refused.count() == 0
    panel.until(lambda: panel.values["lambda_reg"] == 1 and panel.status.startswith("Finished"))
    held = panel.curve("validation loss")
    assert held[0] == first[0] and max(held) < 0.53 and reached(panel) == "✓ reached"
    panel.root.screenshot(path=artefacts / "10_bert-3-held.png")
    panel.key("share of wrong labels", "ArrowRight")
    panel.until(lambda: panel.values["noise"] == 0.25 and panel.status.startswith("Finished"))
    assert panel.curve("validation loss") != held and reached(panel) == ""

    # And once more by its buttons; Reset shows the panel as it was at first.
    panel.press("Clear")
    panel.until(lambda: not ghosts(panel))
    panel.press("Reset")
    panel.until(lambda: panel.curve("validation loss") == first and panel.shown("λ") == 0)
    assert grave_violations(page) == []


def reached(panel):
    return panel.root.locator(".rlhf-reached").inner_text()


def test_a_panel_is_seen_whole_in_both_themes_and_reaches_its_goal(open_notebook, artefacts):
    """Controls, figures and read-out together; plot areas aligned; colours follow the theme."""
    notebook = open_notebook("03_saddles_and_damping.ipynb")
    notebook.run_all()
    assert notebook.errors() == []
    panel, page = notebook.panel("Newton's method on a landscape with a saddle"), notebook.page
    panel.root.screenshot(path=artefacts / "03_saddles-1-run-all.png")

    # Undamped, Newton goes to the saddle: that is the first state. Each key is a run.
    assert "the saddle" in panel.readout
    panel.key("damping μ", *["ArrowRight"] * 27)
    assert panel.shown("damping μ") == 0.54
    panel.until(lambda: panel.values["damping"] == 0.54 and panel.status.startswith("Finished"))
    assert "a minimum" in panel.readout
    assert panel.readout.endswith("The smallest eigenvalue of H + μI met on the way was 0.02.")

    for width, height in ((1440, 900), (1280, 720)):
        page.set_viewport_size({"width": width, "height": height})
        panel.until(lambda: len({round(box["y"], 1) for box in areas(panel)}) == 1)
        assert panel.root.bounding_box()["height"] <= 620
        heights = {round(box["height"], 1) for box in areas(panel)}
        assert len(areas(panel)) == 2 and len(heights) == 1
        inks = []
        for theme in ("JupyterLab Light", "JupyterLab Dark"):
            page.evaluate(
                "t => jupyterapp.commands.execute('apputils:change-theme', {theme: t})", theme
            )
            light = theme.endswith("Light")
            panel.until(lambda light=light: (ink(panel) < 128) == light)  # dark on light paper
            inks.append(ink(panel))
            panel.root.screenshot(path=artefacts / f"03_saddles-{width}-{theme[11:]}.png")
            assert grave_violations(page) == []
        assert inks[0] < 80 and inks[1] > 180


def areas(panel):
    """Boxes of the plots' areas on the page."""
    return [node.bounding_box() for node in panel.root.locator(".draglayer .nsewdrag").all()]


def ink(panel):
    """How bright the letters of the first figure's title are, 0 to 255."""
    colour = panel.root.locator(".js-plotly-plot .gtitle").first.evaluate(
        "node => getComputedStyle(node).fill"
    )
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_start_here(open_notebook, artefacts):
    notebook = open_notebook("00_start_here.ipynb")
    notebook.run_all()
    assert notebook.errors() == []
    panel, page = notebook.panel("Ridge regression by Newton steps"), notebook.page
    panel.root.screenshot(path=artefacts / "00_start_here-1-run-all.png")

    def run(lam, mu):
        """Type both numbers; ‖θ‖ after the first and after the last step, as the read-out says."""
        for label, number in (("λ", lam), ("damping μ", mu)):
            if panel.shown(label) != number:
                panel.after(partial(panel.type, label, number))
            assert panel.shown(label) == number
        found = re.match(r"‖θ‖ is (\S+) after step 1 and (\S+) after step 100;", panel.readout)
        return found.groups()

    # The goal: equal first steps, one with λ alone and one with μ alone.
    with_lambda, with_damping = run(0.03, 0), run(0, 0.03)
    assert with_lambda[0] == with_damping[0]
    assert with_lambda[1] == with_lambda[0] < with_damping[1]
    assert grave_violations(page) == []
    panel.root.screenshot(path=artefacts / "00_start_here-2-goal.png")

    # Tab goes from a slider to its number, and on to the next slider.
    panel.slider("λ").focus()
    for target in (panel.field("λ"), panel.slider("damping μ"), panel.field("damping μ")):
        page.keyboard.press("Tab")
        assert target.evaluate("element => element === document.activeElement")
