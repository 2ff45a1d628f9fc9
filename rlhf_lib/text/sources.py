"""A file's text, whatever its bytes are: gzip, byte order marks, encodings, or why it has none."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

MARKS = (  # longest first: UTF-32's begins with UTF-16's
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
LINE_END = re.compile(r"\r\n|\r|\n")
TO_CSV = 'to_csv("data.csv", index=False), and load "data.csv"'


class Source(NamedTuple):
    """The text of a file, and what was found about its bytes."""

    text: str
    guesses: tuple[str, ...]


def place_error(path: Path, line: int, reason: str, cure: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {reason} Do: {cure}")


def lines(text: str) -> list[str]:
    """Lines as an editor counts them; other breaks of Unicode (U+2028, form feed) are text."""
    return LINE_END.split(text)


def decode(path: Path, encoding: str | None = None) -> Source:
    """A file's text: UTF-8, or what its byte order mark says, or `encoding`; gzip is unpacked.

    Raises ValueError naming file, line and what to do for bytes that are no text in it, for NULs,
    and for archives, workbooks and tables of columns.
    """
    raw, guesses = path.read_bytes(), []
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a whole gzip file, got a damaged one ({error}). "
                "Do: copy it anew."
            ) from None
        guesses.append("unpacked by gzip")
    _refuse_binary(path, raw)
    marked = next((name for mark, name in MARKS if raw.startswith(mark)), None)
    name = encoding or marked or "utf-8"
    try:
        text = raw.decode(name)
    except LookupError:
        raise ValueError(
            f"encoding: expected a name that Python knows, as utf-8 or cp1252, got {encoding!r}."
        ) from None
    except UnicodeError as error:
        raise _undecodable(path, raw, name, getattr(error, "start", 0)) from None
    text = text.removeprefix("\ufeff")
    if encoding or marked:
        why = "as given" if encoding else "by its byte order mark"
        guesses.append(f"encoding {name.removesuffix('-sig')}, {why}")
    place = text.find("\0")
    if place >= 0:
        line = len(LINE_END.findall(text, 0, place)) + 1
        cure = "delete it"
        if text.count("\0") * 3 > len(text):  # each second byte of Latin letters
            cure = f'load_dataset(path, encoding="utf-16-{"be" if raw[0] == 0 else "le"}")'
        raise place_error(path, line, "there is a NUL character.", f"{cure}.")
    found = {"\r\n": "CR LF", "\r": "CR", "\n": "LF"}
    ends = [found[end] for end in dict.fromkeys(LINE_END.findall(text))]
    if len(ends) > 1:
        guesses.append(f"line ends of several kinds: {', '.join(ends)}")
    return Source(text, tuple(guesses))


def _undecodable(path: Path, raw: bytes, name: str, start: int) -> ValueError:
    line = raw.count(b"\n", 0, start) + 1
    if name != "utf-8":
        return place_error(path, line, f"these bytes are not {name.upper()}.", "save it as UTF-8.")
    if any(byte < 9 for byte in raw[:1024]):
        return ValueError(
            f"{path}: expected text, got bytes of another kind. Do: give a text file."
        )
    around = raw[max(raw.rfind(b"\n", 0, start) + 1, start - 20) : start + 20].split(b"\n")[0]
    shown = around.decode("cp1252", "replace").strip()
    cure = f'save it as UTF-8, or, if "{shown}" is right, load_dataset(path, encoding="cp1252")'
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        cure = "save the file as UTF-8, or give its encoding, as load_dataset(path, encoding=...)"
    return place_error(path, line, f"byte 0x{raw[start]:02x} is not UTF-8.", f"{cure}.")


def _refuse_binary(path: Path, raw: bytes) -> None:
    """ValueError with the way out for formats that are no text."""
    what = cure = None
    if raw.startswith(b"PK\x03\x04"):
        try:
            names = zipfile.ZipFile(io.BytesIO(raw)).namelist()
        except zipfile.BadZipFile:
            names = []
        if "xl/workbook.xml" in names:
            what = "an Excel workbook"
            cure = f"save the sheet as CSV UTF-8, or pandas.read_excel(path).{TO_CSV}"
        else:
            what = f"a zip archive of {', '.join(names[:5]) or 'nothing readable'}"
            cure = "unpack it (python -m zipfile -e FILE FOLDER), and load the file inside"
    elif raw.startswith(b"PAR1"):
        what, cure = "a Parquet file", f"pandas.read_parquet(path).{TO_CSV}"
    elif raw.startswith((b"ARROW1", b"FEA1")):
        what, cure = "an Arrow file", f"pandas.read_feather(path).{TO_CSV}"
    elif raw.startswith(b"\xd0\xcf\x11\xe0"):
        what, cure = "an old Excel workbook", "save the sheet as CSV UTF-8"
    elif raw.startswith((b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")):
        what, cure = "a compressed file", "unpack it, and load the file inside"
    elif raw.startswith(b"%PDF"):
        what, cure = "a PDF", "copy its texts into a CSV file"
    if what is not None:
        raise ValueError(f"{path}: expected text, got {what}. Do: {cure}.")
