"""The API site from the docstrings, offline: python tools/docs.py [FOLDER], default build/api.

One page a room, with search; a page shows what the room's `__init__` exports.
"""

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

import rlhf_course
import rlhf_lib

ROOT = Path(__file__).resolve().parents[1]
OF_THE_COURSE = ("rlhf_course.claims", "rlhf_course.cost")


def modules():
    """What gets a page of its own; what the root exports by name has one already."""
    rooms = (room.name for room in pkgutil.iter_modules(rlhf_lib.__path__))
    shown = {*rlhf_lib.__all__, "data", "quiet"}
    return [
        "rlhf_lib",
        *(f"rlhf_lib.{room}" for room in rooms if room not in shown),
        rlhf_course.__name__,
        *OF_THE_COURSE,
    ]


def main(folder=ROOT / "build" / "api"):
    """Write the pages; a warning is an error."""
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*modules(), output_directory=Path(folder))
    print(f"{Path(folder).resolve().as_uri()}/index.html")


if __name__ == "__main__":
    main(*sys.argv[1:])
