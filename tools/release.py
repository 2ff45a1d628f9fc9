"""Builds sdist and wheel into dist, and checks them: python tools/release.py. Publishes nothing.

What has to agree stops it; what a maintainer still has to fill in is named at the end.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACEHOLDER = "//example.invalid/"


def version():
    """The version, from its one place."""
    return re.search(r'^__version__ = "(.*)"$', _text("rlhf_lib/__init__.py"), re.MULTILINE)[1]


def _text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def disagreements(wanted, citation, changelog):
    """What contradicts the version, one sentence each."""
    cited = re.search(r"^version: (.*)$", citation, re.MULTILINE)
    found = []
    if cited is None or cited[1] != wanted:
        found.append(f"CITATION.cff: expected version: {wanted}, got {cited and cited[1]}")
    if not re.search(rf"^## \[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        found.append(
            f"CHANGELOG.md: expected a heading '## [{wanted}] - YYYY-MM-DD' over what is released"
        )
    return found


def placeholders(pyproject):
    """Names of the project's addresses that are still to be filled in."""
    urls = tomllib.loads(pyproject)["project"].get("urls", {})
    return [name for name, url in urls.items() if PLACEHOLDER in url]


def main():
    wanted = version()
    if found := disagreements(wanted, _text("CITATION.cff"), _text("CHANGELOG.md")):
        raise SystemExit("\n".join(found))
    dist = ROOT / "dist"
    for old in [*dist.glob("rlhf_lib-*.whl"), *dist.glob("rlhf_lib-*.tar.gz")]:
        old.unlink()
    _run("build", "--no-isolation", "--outdir", dist, ROOT)
    made = sorted(dist.glob(f"rlhf_lib-{wanted}*"))
    if len(made) != 2:
        raise SystemExit(f"expected an sdist and a wheel of {wanted}, got {made}")
    _run("twine", "check", "--strict", *made)
    with tempfile.TemporaryDirectory() as folder:
        _run("pip", "install", "--quiet", "--no-deps", "--target", folder, made[0])
        code = "import rlhf_lib; print(rlhf_lib.__version__, rlhf_lib.__file__)"
        said = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={"PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    if said[0] != wanted or not said[1].startswith(folder):
        raise SystemExit(f"expected version {wanted} from the wheel, got {' '.join(said)}")
    for path in made:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")
    if left := placeholders(_text("pyproject.toml")):
        print(f"To fill in before it is published: {', '.join(left)} in pyproject.toml")


def _run(module, *arguments):
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
