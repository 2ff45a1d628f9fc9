import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from rlhf_course import doctor
from rlhf_course.doctor import FAIL, NOTE, OK, Check

PINS = Path(__file__).resolve().parents[2] / "requirements.txt"


def test_a_package_off_its_pin_is_named(monkeypatch):
    assert doctor.check_packages(PINS).status == OK
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "plotly" else real(name))
    found = doctor.check_packages(PINS)
    assert found.status == FAIL
    assert "plotly 0.1 (pinned: " in found.detail and "make setup" in found.cure


def test_without_pins_the_ranges_of_the_package_count(monkeypatch):
    found = doctor.check_packages()
    assert found.status == OK and "ranges" in found.detail
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "plotly" else real(name))
    found = doctor.check_packages()
    assert found.status == FAIL and "plotly 0.1 (asked for: >=" in found.detail


def test_widgets_that_do_not_fit_each_other_are_named(monkeypatch):
    assert doctor.check_widgets().status == OK
    real = doctor.version
    monkeypatch.setattr(
        doctor, "version", lambda name: "1.0" if name == "jupyterlab_widgets" else real(name)
    )
    found = doctor.check_widgets()
    assert found.status == FAIL and "jupyterlab_widgets" in found.detail


def test_a_missing_front_end_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(tmp_path)])
    found = doctor.check_widgets()
    assert found.status == FAIL and "jupyterlab-manager" in found.detail


def test_a_damaged_model_is_reported_with_its_own_cure(monkeypatch):
    def damaged():
        raise RuntimeError("other bytes. Do this.")

    monkeypatch.setattr("rlhf_lib.text.models.verify_embedded", damaged)
    found = doctor.check_model()
    assert (found.status, found.detail) == (FAIL, "other bytes. Do this.")


@pytest.mark.parametrize(
    "answer, status",
    [
        (lambda: time.sleep(20), NOTE),
        (lambda: (_ for _ in ()).throw(OSError("no route")), NOTE),
        (lambda: None, OK),
    ],
)
def test_the_hub_check_never_hangs(monkeypatch, answer, status):
    class Response:
        def close(self):
            pass

    def urlopen(*_, **__):
        answer()
        return Response()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    start = time.perf_counter()
    assert doctor.check_hub(seconds=1.0).status == status
    assert time.perf_counter() - start < 10


def test_being_offline_by_choice_is_said(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in doctor.check_hub().detail


def test_a_chosen_chromium_comes_first(monkeypatch, tmp_path):
    program = tmp_path / "my-chromium"
    program.touch(mode=0o755)
    monkeypatch.setenv("RLHF_CHROMIUM", str(program))
    assert doctor.find_chromium() == str(program)
    monkeypatch.setenv("RLHF_CHROMIUM", str(tmp_path / "none"))
    assert doctor.find_chromium() is None
    assert doctor.check_chromium().status == NOTE


def broken():
    raise ImportError("half a package")


@pytest.mark.parametrize(
    "checks, code",
    [
        ({"a": lambda: Check("a", OK, "fine")}, 0),
        ({"a": lambda: Check("a", NOTE, "none")}, 0),
        ({"a": broken, "b": lambda: Check("b", OK, "fine")}, 1),
    ],
)
def test_the_exit_code_and_the_two_forms_agree(monkeypatch, capsys, checks, code):
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.main([]) == code
    lines = capsys.readouterr().out.splitlines()
    assert doctor.main(["--json"]) == code
    objects = json.loads(capsys.readouterr().out)
    assert len(lines) == len(objects) == len(checks)
    for line, found in zip(lines, objects, strict=True):
        assert line.startswith(f"{found['status']}  {found['name']}: {found['detail']}")
        assert (found["status"] == FAIL) <= bool(found["cure"])


@pytest.mark.parametrize("torch", [None, "raise OSError('libtorch.so: no such file')"])
def test_without_torch_it_names_that_and_what_to_do(tmp_path, torch):
    if torch:
        (tmp_path / "torch.py").write_text(torch)
    hide = "import sys; sys.modules['torch'] = None\n" if torch is None else "import sys\n"
    code = f"{hide}sys.path.insert(0, {str(tmp_path)!r})\n" + (
        "from rlhf_course import doctor\n"
        "for name in ('Model hub', 'Chromium', 'Python'): doctor.CHECKS.pop(name)\n"
        "sys.exit(doctor.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "Threads" in line]
    assert line.startswith(FAIL) and "torch" in line and "make setup" in line
