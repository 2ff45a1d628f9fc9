"""What runs in the browser: the scripts and styles of the panels' widgets, a file each."""

from importlib.resources import files


def page(name: str) -> str:
    """The text of one of these files."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
