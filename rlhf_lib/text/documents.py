"""Plain texts: a file of lines or paragraphs, a folder of files, a folder of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .labels import SPELLINGS, Doubt, class_names
from .sources import Source, decode, lines
from .tables import table_width
from .texts import TextDataset

UNITS = ("lines", "paragraphs", "file")


def split_documents(text: str, unit: str | None) -> tuple[list[str], str]:
    """Texts of a file, none blank, and the unit: paragraphs where a blank line is, else lines."""
    rows = [line.rstrip() for line in lines(text)]
    blocks = "\n".join(rows).strip()
    unit = unit or ("paragraphs" if "\n\n" in blocks else "lines")
    if unit == "file":
        return [text.strip()] if text.strip() else [], unit
    if unit == "lines":
        return [row.strip() for row in rows if row.strip()], unit
    return [block.strip("\n") for block in blocks.split("\n\n") if block.strip()], unit


def read_documents(path: Path, source: Source, unit: str | None = None) -> TextDataset:
    """A plain text as texts without labels.

    Raises ValueError for one without a text, and for what seems to be a table.
    """
    width = 0 if unit else table_width(path, source.text)
    if width:
        raise ValueError(
            f"{path}, line 1: this looks like a table of {width} columns without the names text "
            "and label. Do: name its columns by text_column= and label_column=, write a first line "
            'with the names if there is none, or documents="lines" if each line is a text.'
        )
    texts, found = split_documents(source.text, unit)
    if not texts:
        raise ValueError(f"{path}, line 1: there is no text. Do: write one text a line.")
    guess = {"lines": "a text a line", "paragraphs": "blank lines between texts", "file": "a text"}
    said = f"plain text, {guess[found]}" + ("" if unit else f': documents="{found}"')
    return TextDataset(tuple(texts), (), (), path.name, guesses=(*source.guesses, said))


def read_folder(
    path: Path, unit: str | None, encoding: str | None, label_names: Sequence[str] | None = None
) -> TextDataset:
    """A folder of .txt files as texts without labels, or of folders of them, a class each.

    Raises ValueError naming what is in the folder that does not fit.
    """
    inside = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
    folders = [p for p in inside if p.is_dir()]
    files = [p for p in inside if p.suffix.lower() == ".txt" and p.is_file()]
    if folders and files:
        raise ValueError(
            f"{path}: expected .txt files or folders of them, a class each, got both, as "
            f"{files[0].name} and {folders[0].name}. Do: move one kind elsewhere."
        )
    if folders and all(folder.name.lower() in SPELLINGS for folder in folders):
        raise ValueError(
            f"{path}: expected a folder a class, got a folder a part, as {folders[0].name}. Do: "
            f"load each, as load_dataset({str(folders[0])!r}), with the label_names of the first."
        )
    parts = {folder.name: sorted(folder.glob("*.txt")) for folder in folders} or {"": files}
    empty = next((folder for folder, found in parts.items() if not found), None)
    if empty is not None:
        there = ", ".join(p.name for p in sorted((path / empty).iterdir())[:5]) or "nothing"
        raise ValueError(
            f"{path / empty}: expected files .txt, got {there}. Do: give a folder of texts, of "
            "folders with the texts of a class each, or one of the files."
        )
    texts: list[str] = []
    labels: list[str] = []
    for folder, found in parts.items():
        for file in found:
            new, _ = split_documents(decode(file, encoding).text, unit or "file")
            if not new:
                raise ValueError(f"{file}, line 1: there is no text. Do: delete the file.")
            texts += new
            labels += [folder] * len(new)
    said = f"{sum(map(len, parts.values()))} files, {unit or 'a text each'}"
    there = [p for folder in folders for p in folder.iterdir()] if folders else inside
    other = sum(not p.name.startswith(".") and p.suffix.lower() != ".txt" for p in there)
    guesses = [said, *([f"{other} other files are left out"] if other else [])]
    numbers: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    if folders:
        try:
            names = tuple(label_names or class_names(labels))
        except Doubt as doubt:
            raise ValueError(f"{path}: {doubt.args[1]} Do: rename the folders.") from None
        if len(names) < 2:
            raise ValueError(f"{path}: expected folders of two classes, got {labels[0]} alone.")
        other_names = {*parts} - {*names}
        if other_names:
            raise ValueError(
                f"{path}: expected folders out of {list(names)}, got {min(other_names)}. "
                "Do: move it elsewhere, or give other label_names."
            )
        numbers = tuple(names.index(label) for label in labels)
        guesses.append("a class a folder")
    return TextDataset(tuple(texts), numbers, names, path.name, guesses=tuple(guesses))
