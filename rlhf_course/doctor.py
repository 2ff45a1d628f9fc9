"""`python -m rlhf_course.doctor`: is everything there that the course needs?

One line per check: `ok`, `--` (a word to know; the course does without) or `!!` (the course needs
it), and what to do. `--json` prints the same as a list of objects. Exit code 1 when a line is `!!`.
"""

import argparse
import json
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

OK, NOTE, FAIL = "ok", "--", "!!"
REINSTALL = "Run `make setup`; if that changes nothing, delete the folder .venv and run it again."
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PATHS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
CHROMIUM_CURE = (
    "Install Chromium (Debian, Ubuntu: apt install chromium; elsewhere: Google Chrome "
    "or Chromium), or set RLHF_CHROMIUM to its path."
)


@dataclass(frozen=True)
class Check:
    """One finding: `status` is OK, NOTE or FAIL; `cure` says what to do about the last two."""

    name: str
    status: str
    detail: str
    cure: str = ""

    def __str__(self):
        return f"{self.status}  {self.name}: {self.detail}" + (f" {self.cure}" if self.cure else "")


def find_chromium():
    """Path of a Chromium or Chrome for the browser tests, or None. RLHF_CHROMIUM comes first."""
    chosen = os.environ.get("RLHF_CHROMIUM")
    if chosen:
        return shutil.which(chosen)
    candidates = [shutil.which(name) for name in CHROMIUM_NAMES]
    candidates += [path for path in CHROMIUM_PATHS if Path(path).is_file()]
    return next(filter(None, candidates), None)


def chromium_flags():
    """What a Chromium needs to start as this user: in a container that is often root."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def read_pins(path):
    """`{name: version}` of a requirements file: of what its markers ask for on this machine."""
    from packaging.requirements import Requirement

    lines = (line.split("#")[0].strip() for line in Path(path).read_text().splitlines())
    pins = (Requirement(line) for line in lines if "==" in line)
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def check_python():
    found = "{}.{}.{}".format(*sys.version_info[:3])
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check(
            "Python",
            NOTE,
            f"{found} is none that the pins were tried with.",
            "Take 3.11, 3.12 or 3.13 if something fails.",
        )
    return Check("Python", OK, f"{found} in {sys.prefix}")


def check_packages(pins=None):
    """The installed versions against a file of pins; without one, against the package's ranges."""
    wanted, words = (read_pins(pins), "pinned: ") if pins else (read_ranges(), "asked for: ")
    wrong = []
    for name, asked in wanted.items():
        try:
            # A local part such as +cpu names a build of the pinned version.
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            found = "missing"
        if found == "missing" or not (found == asked if pins else found in asked):
            wrong.append(f"{name} {found} ({words}{asked})")
    if wrong:
        return Check("Packages", FAIL, f"{', '.join(wrong)}.", REINSTALL)
    where = "at their pins" if pins else "in the ranges that the course asks for"
    return Check("Packages", OK, f"all {len(wanted)} {where}; torch {version('torch')}")


def read_ranges(distribution="rlhf-lib"):
    """`{name: range}` of what an installed distribution and its extras ask for."""
    from packaging.requirements import Requirement

    asked = map(Requirement, requires(distribution) or ())
    return {r.name: r.specifier for r in asked if r.name != distribution}


def check_widgets():
    """Versions that fit each other, the front-end files, and a figure that can be built."""
    from jupyter_core.paths import jupyter_path
    from packaging.requirements import Requirement

    for text in requires("ipywidgets"):
        requirement = Requirement(text)
        if requirement.name in ("jupyterlab_widgets", "comm") and not requirement.marker:
            found = version(requirement.name)
            if found not in requirement.specifier:
                return Check(
                    "Widgets", FAIL, f"ipywidgets asks for {text}, but {found} is there.", REINSTALL
                )
    for extension in ("@jupyter-widgets/jupyterlab-manager", "anywidget"):
        if not any(
            Path(folder, extension, "package.json").is_file()
            for folder in jupyter_path("labextensions")
        ):
            return Check(
                "Widgets", FAIL, f"JupyterLab's extension {extension} is missing.", REINSTALL
            )
    from rlhf_lib.panels import figures

    figures.Curves({"loss": "loss"})
    found = ", ".join(
        f"{name} {version(name)}" for name in ("jupyterlab", "ipywidgets", "anywidget", "plotly")
    )
    return Check("Widgets", OK, found)


def check_model():
    from rlhf_lib.text.models import verify_embedded

    try:
        folder = verify_embedded()
    except RuntimeError as error:
        return Check("Embedded model", FAIL, str(error))
    size = (folder / "model.safetensors").stat().st_size
    return Check("Embedded model", OK, f"{size:,} bytes, checksum right")


def check_data():
    from rlhf_lib.text import load_dataset
    from rlhf_lib.text.datasets import EMBEDDED_DATA

    sizes = {name: sum(map(len, load_dataset(name))) for name in EMBEDDED_DATA}
    found = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    return Check("Embedded data", OK, f"readable: {found}")


def check_threads():
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count()
    detail = f"torch uses {threads} on {cores} cores"
    if threads == 1 and cores > 1:
        return Check("Threads", NOTE, f"{detail}.", "Unset OMP_NUM_THREADS to use them all.")
    return Check("Threads", OK, detail)


def check_gpu():
    import torch

    if torch.cuda.is_available():
        return Check("GPU", OK, torch.cuda.get_device_name())
    if torch.backends.mps.is_available():
        return Check("GPU", OK, "Apple Metal")
    return Check("GPU", NOTE, "none; the course is measured on a CPU with 2 cores.")


def check_hub(seconds=2.0):
    """Whether models and data sets other than the embedded ones can be fetched."""
    from huggingface_hub import constants

    here = "The embedded model and data need no network."
    if constants.HF_HUB_OFFLINE:
        return Check("Model hub", NOTE, f"switched off by HF_HUB_OFFLINE. {here}")
    reached = []

    def ask():
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=seconds).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same
        except OSError:
            return
        reached.append(True)

    # A name look-up ignores the time limit, so a thread that may be left behind does the asking.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if reached:
        return Check("Model hub", OK, "reachable")
    return Check("Model hub", NOTE, f"no answer within {seconds:g} seconds. {here}")


def check_chromium():
    path = find_chromium()
    if path:
        return Check("Chromium", OK, f"{path}, for the browser tests")
    return Check("Chromium", NOTE, "none, so `make test` skips the browser tests.", CHROMIUM_CURE)


CHECKS = {
    "Python": check_python,
    "Packages": check_packages,
    "Widgets": check_widgets,
    "Embedded model": check_model,
    "Embedded data": check_data,
    "Threads": check_threads,
    "GPU": check_gpu,
    "Model hub": check_hub,
    "Chromium": check_chromium,
}


def examine(pins=None):
    """Yields one Check after another; a check that breaks is itself a failure."""
    for name, check in CHECKS.items():
        try:
            yield check(pins) if check is check_packages else check()
        except Exception as error:
            yield Check(name, FAIL, f"{type(error).__name__}: {error}.", REINSTALL)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m rlhf_course.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--pins", type=Path, help="requirements.txt with the course's pins")
    options = parser.parse_args(arguments)
    findings = []
    for finding in examine(options.pins):
        findings.append(finding)
        if not options.json:
            print(finding, flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.status == FAIL for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
