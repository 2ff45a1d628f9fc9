"""Where panels that move come into the pages: `write` is asked once for each notebook.

A page holds a panel as its picture in a place of its own:

    <div class="panel" data-notebook="03" data-panel="1" data-title="...">
      <div class="panel-still"> picture, read-out, how to run it </div>
    </div>

`data-panel` counts the panels of the notebook from 1, in the order of its cells. When a reader
comes near the first panel of a page, `assets/site.js` loads the scripts that `write` has named, one
after the other, and calls `rlhfAlive(panel)` for each place. It returns false for one that stays a
picture; for the others it puts what moves behind `.panel-still`, which the page then hides, and
prints. Scripts are classic ones, for a module is not loaded from a file.

    python tools/site/alive.py 00 03     makes the tables of these notebooks, and says how large
"""

import ast
import base64
import gzip
import io
import json
import os
import sys
import time
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path

# Run as a script, it finds its neighbours as the tests do.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rlhf_lib.disk import replacing
from rlhf_lib.panels import frame, ghosts, labels, theme
from rlhf_lib.panels.controls import NumberSlider
from rlhf_lib.panels.plot import Plot
from tools.site.panel_cells import SOLUTIONS, make_panels, panel_cells, program
from tools.site.stops import STOPS
from tools.site.tables import chosen_stops, table

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "alive"
WIDGETS = (NumberSlider, Plot, frame.Head, frame.LiveText, frame.Progress)
PARTS = ("model.js", "table.js", "labels.js", "ghosts.js", "linear.js", "panel.js")


def write(number, folder):
    """Write into `folder` what moves the panels of this notebook; addresses of its scripts.

    The addresses are relative to `folder`, the site's, such as "assets/plotly.min.js" and
    "alive/03.js", in the order of loading. None at all: every panel stays a picture.
    """
    if number not in STOPS:
        return []
    (folder / "alive").mkdir(parents=True, exist_ok=True)
    (folder / "assets").mkdir(exist_ok=True)
    _put(folder / "assets" / "plotly.min.js", _plotly)
    _put(folder / "alive" / "panels.js", library)
    (folder / "alive" / f"{number}.js").write_text(tables_of(number), encoding="utf-8")
    return ["assets/plotly.min.js", "alive/panels.js", f"alive/{number}.js"]


def _put(path, text):
    """Once for all notebooks."""
    if not path.exists():
        path.write_text(text(), encoding="utf-8")


def _plotly():
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def library():
    """The script of all pages: the panels' own modules, and what they have in place of a kernel."""
    modules = ",\n".join(f"{kind.__name__}: {_module(kind)}" for kind in WIDGETS)
    page = Path(__file__).parent / "page"
    styles = [kind._css for kind in WIDGETS if getattr(kind, "_css", None)]
    styles.append((page / "page.css").read_text(encoding="utf-8"))
    names = {
        "LABELS": {"letter": labels.LETTER, "line": labels.LINE, "wrap": labels.WRAP},
        "GHOSTS": {"symbols": ghosts.SYMBOLS, "places": ghosts.PLACES, "colours": theme.RUNS},
    }
    given = "".join(f"const {key} = {json.dumps(value)};\n" for key, value in names.items())
    parts = "\n".join((page / name).read_text(encoding="utf-8") for name in PARTS)
    return (
        f'"use strict";\n(() => {{\n{given}const MODULES = {{\n{modules}}};\n{parts}\n'
        f'const style = document.createElement("style");\n'
        f"style.textContent = {json.dumps(chr(10).join(styles))};\n"
        "document.head.append(style);\n})();\n"
    )


def _module(kind):
    """A widget's module as an expression: its `render`."""
    end = "export default { render };"
    if not kind._esm.rstrip().endswith(end):
        raise ValueError(f"{kind.__name__}: expected a module that ends in {end!r}")
    return "(() => {\n" + kind._esm.rstrip().removesuffix(end) + "return render;\n})()"


def tables_of(number):
    """The script with the tables of a notebook's panels; made anew where their code is another."""
    path, wanted = next(SOLUTIONS.glob(f"{number}_*.ipynb")), STOPS[number]
    cells = {id: k for k, id in enumerate(panel_cells(path), start=1) if k in wanted}
    statements = [ast.unparse(statement) for statement, _ in program(path, cells)]
    kept = CACHE / f"{number}-{fingerprint(repr(wanted), *statements)}.js"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob(f"{number}-*"):
            old.unlink()
        print(f"{number}: tables of its panels' states, kept for the next time", flush=True)
        with redirect_stdout(io.StringIO()):  # what the cells print
            panels, names = make_panels(path, cells)
            packed = {
                cells[id]: pack(*_table(panel, names, wanted[cells[id]]))
                for id, panel in panels.items()
            }
        for panel in panels.values():
            panel.close()
        with replacing(kept) as part:
            part.write_text(
                f"(globalThis.rlhfPanels ??= {{}})[{json.dumps(number)}] = {json.dumps(packed)};\n"
            )
    return kept.read_text()


def _table(panel, names, wanted):
    if wanted == "linear":
        from tools.site.linear_table import linear_table

        return linear_table(panel, names["reviews"])
    stops = {c.name: chosen_stops(c, wanted.get(c.name)) for c in panel._controls.values()}
    return table(panel, stops, goal=wanted.get("goal", True))


def pack(head, data):
    """A table as text: its JSON behind its length, then its bytes, compressed."""
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    whole = len(text).to_bytes(4, "little") + text + data
    return base64.b64encode(gzip.compress(whole, 9, mtime=0)).decode()


def fingerprint(*texts):
    """Of these texts and of all code and records that a panel may rest on."""
    found = sha256("\n".join(texts).encode())
    for folder in (ROOT / "rlhf_lib", ROOT / "rlhf_course"):
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.json")]):
            found.update(file.read_bytes())
    for name in ("panel_cells.py", "tables.py", "linear_table.py"):
        found.update((Path(__file__).parent / name).read_bytes())
    return found.hexdigest()[:16]


def main(numbers):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for number in numbers or STOPS:
        began = time.process_time()
        size = len(tables_of(number))
        print(
            f"{number}: {size / 1e3:.0f} kB, {time.process_time() - began:.0f} s of the processor"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
