"""The goals of panels of the course, reached by hand: with keys, numbers and choices.

`make test` drives some of them, `make test-full` all.
"""

import re

import pytest
from test_panels import grave_violations

pytestmark = pytest.mark.browser

GOALS = {
    "01_overfitting": (
        "A polynomial, and a penalty on its coefficients",
        {"λ": 0.15, "degree": 12, "measurements n": 20, "noise σ": 0.3},
        "01.target",
    ),
    "02_newton_exact_hessian": (
        "Gradient descent and Newton's method in a valley",
        {"method": "gradient descent", "κ": 25, "step size η": 1, "start x": 2, "start y": 1.5},
        "02.one_step",
    ),
    "06_l1_corners": (
        "L1 logistic regression on 569 tumours",
        {"method": "proximal Newton", "λ": 0.03},
        "06.eight",
    ),
    "04_hessian_vector_products": (
        "A Hessian-vector product from two gradients",
        {"method": "central", "numbers": "float32", "least ε": 2e-3},
        "04.epsilon",
    ),
    "05_conjugate_gradients": (
        "Two methods in one bowl",
        {"start (degrees)": 30, "method": "steepest descent"},
        "05.one_step",
    ),
    "07_gauss_newton": (
        "Two spectra, side by side",
        {"loss": "squared error", "hidden units": 16, "training steps": 200},
        "07.agree",
    ),
    "08_how_far_to_trust": (
        "One step: what the model promises, and what comes true",
        {"start a": -2, "start b": 1, "damping μ": 0, "radius Δ": 2, "Armijo c": 1e-4},
        "08.longest",
    ),
    "09_rlhf_optimizer": (
        "RLHF on handwritten digits, 60 gradient-equivalents",
        {"λ": 0.001, "μ at the start": 0.1, "CG cap": 5, "curvature batch": 100},
        "09.close_to_adam",
    ),
    "11_choosing_lambda": (
        "Cross-validation on few reviews",
        {"reviews n": 60, "sample": 3, "folds K": 5, "first seed": 6, "seeds": 1, "rule": "min"},
        "11.fooled",
    ),
    "12_regularizers": (
        "Ten regularizers, two optimizers",
        {"regularizer": "L1-SP", "strength": 1e-3, "labels": "20 % wrong", "method": "RLHF"},
        "12.few_changes",
    ),
    "13_tasks_and_models": (
        "Three tasks, seven models, one optimizer",
        {"task": "questions", "model": "MiniLM (a BERT), its top layer", "λ": 3},
        "13.transfer",
    ),
    "14_smaller_models": (
        "Four roads to a smaller model",
        {"way": "bits", "bits": 4, "tables too": True},
        "14.small",
    ),
    "15_cost_and_scale": (
        "What a step will cost",
        {
            "model": "BERT-base",
            "sentences": 32,
            "tokens T": 128,
            "products": 10,
            "products with": "G",
            "workers": 5,
            "network": "1 Gbit/s",
        },
        "15.workers",
    ),
    "17_reading_the_article": (
        "One claim, other seeds",
        {"claim": "faster than Adam", "baseline": "torch's default", "first seed": 20, "seeds": 3},
        "17.untuned",
    ),
}


def run_check(notebook, key):
    """Run the cell that checks an exercise; its output as text."""
    return notebook.page.evaluate(
        """async key => {
            const content = jupyterapp.shell.currentWidget.content;
            const index = content.widgets.findIndex(w => w.model.type === 'code'
                && w.model.sharedModel.source.includes(`check("${key}"`));
            content.activeCellIndex = index;
            await jupyterapp.commands.execute('notebook:run-cell');
            return JSON.stringify(content.widgets[index].model.outputs.toJSON());
        }""",
        key,
    )


def said(panel, wanted):
    """Whether the settings of the latest run are those that were chosen."""
    there = list(panel.values.values())
    return all(
        any(
            value == other
            or (not isinstance(value, str | bool) and other == pytest.approx(value, rel=0.02))
            for other in there
        )
        for value in wanted.values()
    )


@pytest.mark.slow
@pytest.mark.parametrize("slug", GOALS)
def test_goal(slug, open_notebook, artefacts):
    title, wanted, key = GOALS[slug]
    notebook = open_notebook(f"{slug}.ipynb")
    notebook.run_all()
    assert notebook.errors() == []
    panels = notebook.page.locator(".rlhf-panel")
    for i in range(panels.count()):  # each is there, drawn, and says something
        panel = panels.nth(i)
        panel.scroll_into_view_if_needed()
        readout = panel.locator(".rlhf-readout")
        readout.filter(has_text=re.compile(r"\S")).wait_for()
        panel.locator(".js-plotly-plot .main-svg").first.wait_for()
        panel.screenshot(path=artefacts / f"{slug}-{i + 1}.png")

    panel = notebook.panel(title)
    for label, value in wanted.items():
        if isinstance(value, bool):
            panel.root.get_by_label(label, exact=True).set_checked(value)
        elif isinstance(value, str):
            panel.root.get_by_label(label, exact=True).select_option(label=value)
        else:
            panel.type(label, value)
    for label, value in wanted.items():
        if not isinstance(value, str | bool):
            panel.until(
                lambda label=label, value=value: (
                    panel.shown(label) == pytest.approx(value, rel=0.02)
                )
            )
    panel.press("Run")
    # Each value has started a run, too: the last one is that with all of them.
    panel.until(lambda: panel.status.startswith("Finished") and said(panel, wanted))
    panel.until(lambda: panel.root.locator(".rlhf-reached").inner_text() == "✓ reached")
    answer = run_check(notebook, key)
    panel.root.screenshot(path=artefacts / f"{slug}-goal.png")
    assert "Correct" in answer, answer
    assert grave_violations(notebook.page) == []
