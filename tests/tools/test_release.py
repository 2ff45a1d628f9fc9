"""The version has one place, and what a release has to agree on is checked before it is built."""

import tomllib
from pathlib import Path

import rlhf_lib
from tools.release import disagreements, placeholders, version
from tools.site.links import project_urls

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_the_version_has_one_place_and_the_citation_has_the_same():
    settings = tomllib.loads(PYPROJECT)
    assert settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "rlhf_lib.__version__"}
    assert version() == rlhf_lib.__version__
    assert f"\nversion: {version()}\n" in (ROOT / "CITATION.cff").read_text()


def test_what_contradicts_a_version_is_named():
    good = "version: 1.2.0\n", "## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n"
    assert disagreements("1.2.0", *good) == []
    found = disagreements("1.2.1", "title: x\nversion: 1.2.0\n", good[1].replace("1.2.0", "1x2.1"))
    assert ["expected version: 1.2.1, got 1.2.0" in found[0], "'## [1.2.1] -" in found[1]] == [
        True
    ] * 2


def test_placeholders_are_named_and_no_page_links_them():
    assert not set(placeholders(PYPROJECT)) & project_urls().keys()
    filled = PYPROJECT.replace("https://example.invalid/rlhf_lib/issues", "https://a.example/i")
    assert set(placeholders(PYPROJECT)) - set(placeholders(filled)) <= {"Issues"}
