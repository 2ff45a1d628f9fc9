"""A small part of `make torture`: kills, full disks, and storms of presses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "torture.py"


PARTS = ["journal", "evidence", "progress", "saves", "no_room", "panels", "closed"]


def test_a_small_storm_loses_nothing():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--share", "0.02", "--seed", "1", "--only", *PARTS],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unexpected" not in done.stderr
