"""A plotly figure in the page, given by its state alone.

plotly's own FigureWidget brings its 5 MB of JavaScript along with each figure. A browser
takes about a second to read them; anywidget gives a widget two seconds to start, then
drops every later change: on a busy machine the second figure of a page stays as it was.
Here the page reads plotly once, and a figure is small. As everything shown is in the
traits, a reloaded page shows it again.
"""

from __future__ import annotations

import json
from functools import cache

import anywidget
import ipywidgets
import traitlets
from plotly.offline import get_plotlyjs

from rlhf_lib.panels.theme import DARK


class Library(ipywidgets.Widget):
    """The text of plotly.js, sent to a page once."""

    code = traitlets.Unicode().tag(sync=True)


@cache
def library() -> Library:
    """The one library of this kernel."""
    return Library(code=get_plotlyjs())


_ESM = """
const DARK = __DARK__;

function load(code) {
  globalThis.rlhfPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return globalThis.rlhfPlotly;
}

// JupyterLab says on its body which theme it has; elsewhere the system does.
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const said = document.body.dataset.jpThemeLight ?? document.body.dataset.theme;
  return said === undefined ? system.matches : said === "false" || said === "dark";
};

// A copy, in the colours of the theme.
const PAIRS = new Map(Object.entries(DARK).map(([light, dark]) => [light.toLowerCase(), dark]));
const dress = (value, dark) => {
  if (typeof value === "string") {
    if (!dark) return value;
    const band = /^rgba\\((\\d+), (\\d+), (\\d+), ([\\d.]+)\\)$/.exec(value);
    if (!band) return PAIRS.get(value.toLowerCase()) ?? value;
    const hex = "#" + band.slice(1, 4).map(n => (+n).toString(16).padStart(2, "0")).join("");
    const pair = PAIRS.get(hex);
    return pair ? pair + Math.round(255 * band[4]).toString(16).padStart(2, "0") : value;
  }
  if (Array.isArray(value)) return value.map(part => dress(part, dark));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([k, part]) => [k, dress(part, dark)]));
  return value;
};

// The mode bar would otherwise offer to upload the figure to plotly's cloud. It stands over the
// figure's right corner, where no text is, and only while the pointer is on the figure.
const config = { displaylogo: false, showSendToCloud: false, displayModeBar: "hover",
                 modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]] };

function render({ model, el }) {
  const plot = document.createElement("div");
  plot.style.height = `${model.get("axes").height}px`;
  plot.setAttribute("role", "figure");
  plot.setAttribute("aria-label", model.get("label") || "figure");
  el.append(plot);

  let Plotly, asked = false, width = 0;
  const draw = () => {
    asked = false;
    if (!Plotly || !plot.clientWidth) return;
    width = plot.clientWidth;
    const dark = isDark(), axes = model.get("axes");
    const notes = [...(axes.annotations ?? []), ...model.get("notes")];
    const traces = [...model.get("fixed"), ...model.get("moving")];
    plot.style.height = `${axes.height}px`;
    Plotly.react(plot, dress(traces, dark), dress({ ...axes, annotations: notes }, dark), config);
  };
  // A page that is slower than the run skips states, it does not queue them.
  const ask = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
  const fit = new ResizeObserver(() => {
    if (!Plotly || !plot.clientWidth || plot.clientWidth === width) return;
    if (!width) return ask();
    width = plot.clientWidth;
    Plotly.Plots.resize(plot);
  });
  fit.observe(plot);
  model.on("change:moving change:fixed change:axes change:notes", ask);
  const theme = new MutationObserver(ask);
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-theme"] });
  system.addEventListener("change", ask);

  const id = model.get("library").replace("IPY_MODEL_", "");
  model.widget_manager.get_model(id).then(library => load(library.get("code"))).then(
    loaded => { Plotly = loaded; ask(); picture(); },
    error => { plot.textContent = `plotly could not be loaded: ${error}`; });

  // Asked for a picture, it sends one of what is drawn, in the light theme: once it is quiet, for
  // a reader who drags is not to wait for it.
  let later = 0;
  const picture = () => {
    clearTimeout(later);
    if (model.get("wanted")) later = setTimeout(send, 1500);
  };
  const send = async () => {
    if (!Plotly) return;
    const axes = model.get("axes"), notes = [...(axes.annotations ?? []), ...model.get("notes")];
    const layout = { ...structuredClone(axes), annotations: notes, paper_bgcolor: "#ffffff" };
    const data = structuredClone([...model.get("fixed"), ...model.get("moving")]);
    const made = await Plotly.toImage({ data, layout },
      { format: "png", width: 560, height: axes.height, scale: 1 });
    model.set("picture", made);
    model.save_changes();
  };
  model.on("change:wanted", picture);

  return () => {
    clearTimeout(later);
    fit.disconnect();
    theme.disconnect();
    system.removeEventListener("change", ask);
    Plotly?.purge(plot);
    Plotly = undefined;
  };
}
export default { render };
""".replace("__DARK__", json.dumps(DARK))


class Plot(anywidget.AnyWidget):
    """Traces over axes: `fixed` ones are sent once, `moving` ones with every redraw.

    `notes` are annotations that move with the traces. The page sends a PNG as a data URL in
    `picture` when `wanted` changes to another number than 0.
    """

    _esm = _ESM
    library = traitlets.Instance(Library).tag(sync=True, **ipywidgets.widget_serialization)
    fixed = traitlets.List().tag(sync=True)
    moving = traitlets.List().tag(sync=True)
    notes = traitlets.List().tag(sync=True)
    axes = traitlets.Dict().tag(sync=True)  # plotly's layout; `layout` is the widget's own
    label = traitlets.Unicode().tag(sync=True)
    wanted = traitlets.Int(0).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits):
        super().__init__(library=library(), **traits)

    @property
    def data(self) -> list[dict]:
        """All traces as plotly's JSON: the fixed ones, then the moving ones."""
        return [*self.fixed, *self.moving]
