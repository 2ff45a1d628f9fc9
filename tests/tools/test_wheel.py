"""The wheel in an empty environment: the library with torch alone, the course with its records."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, files
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rlhf_course.claims import ledger

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder with what the wheel holds, made from the committed files and nothing else."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "rlhf_lib",
            "rlhf_course",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--disable-pip-version-check",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(source / "dist"),
            str(source),
        ],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (path,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(path).extractall(target)
    return target


def needed(name, found=None):
    """Names of the installed distributions that one needs, itself included."""
    found = set() if found is None else found
    if name not in found:
        found.add(name)
        for text in distribution(name).requires or ():
            asked = Requirement(text)
            if asked.marker is None or asked.marker.evaluate({"extra": ""}):
                needed(asked.name, found)
    return found


@pytest.fixture(scope="module")
def only_torch(tmp_path_factory):
    """A folder of links to torch and what it needs, in place of an environment with it alone."""
    folder = tmp_path_factory.mktemp("torch")
    for name in needed("torch"):
        for top in {path.parts[0] for path in files(name)} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(distribution(name).locate_file(top))
    return folder


def run(code, *places, isolated=False):
    """The output of some code that finds its packages in these places, started elsewhere."""
    path = os.pathsep.join(map(str, places))
    done = subprocess.run(
        [sys.executable, *(["-S"] if isolated else []), "-c", code],
        cwd=places[0].parent,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_needs_torch_alone(wheel, only_torch):
    code = "import sys, rlhf_lib; print(rlhf_lib.__file__); print(*sys.modules)"
    where, loaded = run(code, wheel, only_torch, isolated=True).splitlines()
    assert Path(where).parent == wheel / "rlhf_lib"
    assert "torch" in loaded.split() and "transformers" not in loaded.split()


def test_the_readme_s_lines_run_with_torch_alone(wheel, only_torch):
    example = re.search(
        r"```python\n(import torch\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )[1]
    before = (
        "import torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(4, 3)\n"
        "x = torch.randn(30, 4)\nloader = [(x, x[:, :3].argmax(1))] * 5\n"
    )
    lines = run(before + example, wheel, only_torch, isolated=True).splitlines()
    losses = [float(line.split()[0]) for line in lines]
    assert len(losses) == 5 and losses[-1] < losses[0]
    assert all(line.split()[1] in ("converged", "max_iter", "relative_progress") for line in lines)


def test_the_installed_ledger_gives_the_checkout_s_verdicts(wheel):
    code = (
        "import json, rlhf_course; from rlhf_course.claims import ledger\n"
        "said = {judged.claim.name: judged.verdict for judged in ledger()}\n"
        "print(json.dumps([rlhf_course.__file__, said]))"
    )
    where, verdicts = json.loads(run(code, wheel))
    assert Path(where).parent == wheel / "rlhf_course"
    assert verdicts == {judged.claim.name: judged.verdict for judged in ledger()}
    assert len(verdicts) == 14 and "not recorded yet" not in verdicts.values()


def test_the_wheel_holds_both_packages_and_no_tests(wheel):
    names = {path.name for path in wheel.iterdir() if path.is_dir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {
        "rlhf_lib",
        "rlhf_course",
    }
    assert (wheel / "rlhf_lib" / "data" / "course-reviews.csv").is_file()
    # What runs in the browser.
    page = Path("rlhf_lib", "panels", "page")
    scripts = {path.name for path in (ROOT / page).iterdir() if path.suffix in (".js", ".css")}
    assert "plot.js" in scripts and scripts <= {path.name for path in (wheel / page).iterdir()}
    # By it type checkers know that the annotations of an installed package may be read.
    assert all((wheel / package / "py.typed").is_file() for package in ("rlhf_lib", "rlhf_course"))
