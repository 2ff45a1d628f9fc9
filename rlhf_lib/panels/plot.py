"""A plotly figure in the page, given by its state alone.

plotly's own FigureWidget brings its 5 MB of JavaScript along with each figure. A browser
takes about a second to read them; anywidget gives a widget two seconds to start, then
drops every later change: on a busy machine the second figure of a page stays as it was.
Here the page reads plotly once, and a figure is small. As everything shown is in the
traits, a reloaded page shows it again.
"""

from __future__ import annotations

from functools import cache

import anywidget
import ipywidgets
import traitlets
from plotly.offline import get_plotlyjs


class Library(ipywidgets.Widget):
    """The text of plotly.js, sent to a page once."""

    code = traitlets.Unicode().tag(sync=True)


@cache
def library() -> Library:
    """The one library of this kernel."""
    return Library(code=get_plotlyjs())


class Plot(anywidget.AnyWidget):
    """Traces over axes: `fixed` ones are sent once, `moving` ones with every redraw."""

    _esm = """
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

    // The mode bar would otherwise offer to upload the figure to plotly's cloud.
    const config = { displaylogo: false, showSendToCloud: false,
                     modeBarButtonsToRemove: ["select2d", "lasso2d"] };

    function render({ model, el }) {
      const plot = document.createElement("div");
      plot.style.height = `${model.get("axes").height}px`;
      plot.setAttribute("role", "figure");
      plot.setAttribute("aria-label", model.get("label") || "figure");
      el.append(plot);

      let Plotly, fixed, asked = false, width = 0;
      const draw = () => {
        asked = false;
        if (!Plotly || !plot.clientWidth) return;
        width = plot.clientWidth;
        const moving = structuredClone(model.get("moving"));
        Plotly.react(plot, [...fixed, ...moving], structuredClone(model.get("axes")), config);
      };
      // A page that is slower than the run skips states, it does not queue them.
      const ask = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
      const refresh = () => { fixed = structuredClone(model.get("fixed")); ask(); };
      const fit = new ResizeObserver(() => {
        if (!Plotly || !plot.clientWidth || plot.clientWidth === width) return;
        if (!width) return ask();
        width = plot.clientWidth;
        Plotly.Plots.resize(plot);
      });
      fit.observe(plot);
      model.on("change:moving", ask);
      model.on("change:fixed change:axes", refresh);

      const id = model.get("library").replace("IPY_MODEL_", "");
      model.widget_manager.get_model(id).then(library => load(library.get("code"))).then(
        loaded => { Plotly = loaded; refresh(); },
        error => { plot.textContent = `plotly could not be loaded: ${error}`; });
      return () => { fit.disconnect(); Plotly?.purge(plot); Plotly = undefined; };
    }
    export default { render };
    """
    library = traitlets.Instance(Library).tag(sync=True, **ipywidgets.widget_serialization)
    fixed = traitlets.List().tag(sync=True)
    moving = traitlets.List().tag(sync=True)
    axes = traitlets.Dict().tag(sync=True)  # plotly's layout; `layout` is the widget's own
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits):
        super().__init__(library=library(), **traits)

    @property
    def data(self) -> list[dict]:
        """All traces as plotly's JSON: the fixed ones, then the moving ones."""
        return [*self.fixed, *self.moving]
