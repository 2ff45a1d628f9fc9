"""What starts the course elsewhere agrees with the Makefile and the pins; none of it is built here.

The command of the health check runs against a JupyterLab in tests/browser/test_site_pages.py.
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEVCONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())


def instructions():
    """(instruction, its arguments) of each in the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.split("\n") if line and line[0] != "#"]
    return [(name, " ".join(arguments.split())) for name, arguments in lines]


DOCKERFILE = instructions()


def last(name):
    return [arguments for found, arguments in DOCKERFILE if found == name][-1]


def supported():
    """The versions of Python that tools/setup.sh takes."""
    return re.search(r"(3\.[\d.| ]+)\) return 0", (ROOT / "tools" / "setup.sh").read_text())[1]


def would_run(command):
    """What make would do for a command of these files, by its own account."""
    made = subprocess.run(
        [*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return made.stdout


@pytest.mark.parametrize(
    "version",
    [
        re.match(r"python:([\d.]+)-slim$", last("FROM"))[1],
        re.search(r"/python:([\d.]+)$", DEVCONTAINER["image"])[1],
        (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-"),
    ],
)
def test_python_is_one_that_the_course_supports(version):
    assert version in supported().split(" | ")


def test_the_container_serves_the_course_to_its_port_and_not_as_root():
    names = [name for name, _ in DOCKERFILE]
    assert names.index("USER") < names.index("COPY") and last("USER") not in {"root", "0"}
    command = " ".join(json.loads(last("CMD")))
    done = would_run(command)
    assert "jupyter lab" in done and "--ip=0.0.0.0" in done and "--no-browser" in done
    assert f"--port={last('EXPOSE')}" in done and "token" not in done  # Jupyter prints its own
    assert f"127.0.0.1:{last('EXPOSE')}/api" in last("HEALTHCHECK")
    assert "CPU=1" in last("RUN")


def test_the_devcontainer_runs_commands_of_the_makefile():
    assert "CPU=1" in DEVCONTAINER["postCreateCommand"] and DEVCONTAINER["remoteUser"] != "root"
    assert "setup.sh" in would_run(DEVCONTAINER["postCreateCommand"])
    (port,) = DEVCONTAINER["forwardPorts"]
    assert f"--port={port}" in would_run(DEVCONTAINER["postAttachCommand"])


def test_binder_takes_the_pins_and_the_same_builds_for_the_cpu():
    lines = (ROOT / "binder" / "requirements.txt").read_text().split("\n")
    asked = dict(line.split(" ", 1) for line in lines if line.startswith("-"))
    assert (ROOT / "binder" / asked["-r"]).resolve() == ROOT / "requirements.txt"
    address = re.search("cpu_builds=(.*)", (ROOT / "tools" / "setup.sh").read_text())[1]
    assert asked["--extra-index-url"] == address
    assert address in (ROOT / "README.md").read_text()
    assert (ROOT / "binder" / "postBuild").stat().st_mode & 0o111


def test_what_the_image_leaves_out_is_nothing_that_is_committed():
    left_out = (ROOT / ".dockerignore").read_text().split("\n")
    for name in filter(None, (line.split("#")[0].strip() for line in left_out)):
        listed = subprocess.run(
            ["git", "ls-files", name], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert not listed or name == ".devcontainer", name
