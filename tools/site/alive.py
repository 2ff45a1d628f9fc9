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
"""


def write(number, folder):
    """Write into `folder` what moves the panels of this notebook; addresses of its scripts.

    The addresses are relative to `folder`, the site's, such as "assets/plotly.min.js" and
    "alive/03.js", in the order of loading. None at all: every panel stays a picture.
    """
    return []
