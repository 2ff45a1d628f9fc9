"""Files that are whole whatever happens: written beside and renamed, one writer at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 60.0


@contextmanager
def replacing(path: str | os.PathLike) -> Generator[Path]:
    """A name beside `path` to write a file to, which takes the place of `path` at the block's end.

    After an error, a kill or a full disk, what stood at `path` stands there as before. Where `path`
    is a link, the file that it leads to is replaced.

    Raises OSError where the folder cannot be written to.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: expected the name of a file, got {path!r}")
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"path: expected the name of a file, got the folder {path}")
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        with part.open("rb+") as file:  # on the disk before the name leads to it
            os.fsync(file.fileno())
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike, seconds: float = LOCK_SECONDS) -> Generator[None]:
    """Keep other processes and threads out of blocks that name the same `path`.

    The lock is a file `.NAME.lock` beside it, which stays; a process that ends, or is killed, lets
    go of it. Raises OSError where the folder cannot be written to, or where another process has
    held the lock for so many seconds.
    """
    from filelock import FileLock, Timeout

    path = Path(os.path.realpath(path))
    place = path.with_name(f".{path.name}.lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.open("ab").close()  # filelock would wait where it cannot be made
    lock = FileLock(place, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise TimeoutError(
            f"{path} has been in use by another process for {seconds:g} s: wait for its end"
        ) from None
    try:
        yield
    finally:
        lock.release()
