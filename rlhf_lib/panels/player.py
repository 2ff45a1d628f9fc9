"""Going through the steps of a run once more: a button that plays them, and a slider over them."""

from __future__ import annotations

import anywidget
import traitlets

_ESM = """
const PACE = 350;  // ms from step to step
const still = matchMedia("(prefers-reduced-motion: reduce)");

function render({ model, el }) {
  const button = document.createElement("button"), caption = document.createElement("label");
  const range = document.createElement("input");
  button.type = "button";
  Object.assign(range, { type: "range", min: 0, step: 1 });
  caption.append("step", range);
  el.classList.add("rlhf-player");
  el.append(button, caption);

  // As a slider of the panel: one step at a time, the latest when the kernel has drawn the last.
  const me = Math.random();
  let sent = 0, answered = 0, latest = null, timer = 0;
  const send = () => {
    if (latest === null || answered < sent) return;
    model.send({ drag: latest, by: me, n: ++sent });
    latest = null;
    el.dataset.sent = sent;
  };
  model.on("msg:custom", message => {
    if (message.by !== me) return;
    answered = el.dataset.answered = message.n;
    send();
  });
  const last = () => model.get("count") - 1;
  const say = () => {
    range.setAttribute("aria-valuetext", `${range.value} of ${last()}`);
    button.textContent = timer ? "Pause" : "Play";
    button.title = still.matches ? "Go on by one step" : "Go through the steps of this run";
  };
  const go = step => { range.value = latest = step; say(); send(); };
  const pause = () => { clearInterval(timer); timer = 0; say(); };
  const step = () => (+range.value < last() ? go(+range.value + 1) : pause());
  button.addEventListener("click", () => {
    if (timer) return pause();
    if (+range.value >= last()) go(0);
    else if (still.matches) step();  // nothing that moves by itself
    if (still.matches) return;
    timer = setInterval(step, PACE);
    say();
  });
  range.addEventListener("input", () => { pause(); go(+range.value); });
  const show = () => {
    clearInterval(timer);
    timer = 0;
    latest = null;
    range.max = range.value = Math.max(last(), 0);
    button.disabled = range.disabled = last() < 1;
    say();
  };
  model.on("change:runs", show);
  show();
  return () => clearInterval(timer);
}
export default { render };
"""

_CSS = """
.rlhf-player, .rlhf-player label { display: flex; align-items: center; gap: 8px; }
.rlhf-player { margin: 0 8px; font-size: 14px; color: var(--jp-ui-font-color1, #222);
  font-family: var(--jp-ui-font-family, sans-serif); }
.rlhf-player button { font: inherit; width: 64px; padding: 3px 0; cursor: pointer; color: inherit;
  background: var(--jp-layout-color2, #eee); border: 1px solid var(--jp-border-color0, #8c8c8c);
  border-radius: 2px; }
.rlhf-player button:disabled { opacity: .5; cursor: default; }
.rlhf-player input { width: 90px; accent-color: #0072B2; }
.rlhf-player :focus-visible { outline: 2px solid #0072B2; outline-offset: 1px; }
"""


class Player(anywidget.AnyWidget):
    """Plays the `count` steps of a run; the page sends the step that is to be shown.

    Who asks the system for less motion goes on by one step with each press of the button.
    """

    _esm = _ESM
    _css = _CSS
    count = traitlets.Int(0).tag(sync=True)
    runs = traitlets.Int(0).tag(sync=True)  # changes with each run, also of equal length

    def load(self, count: int) -> None:
        """Another run, of so many records, is shown whole."""
        with self.hold_sync():
            self.count, self.runs = count, self.runs + 1
