"""Files written beside and renamed, and one writer at a time."""

import os
import threading

import pytest

from rlhf_lib.disk import locked, replacing


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path):
    path, link = tmp_path / "kept", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with pytest.raises(OSError, match="full"), replacing(link) as part:
        part.write_text("ha")
        raise OSError("disk full")
    assert path.read_text() == "old"
    with replacing(link) as part:
        part.write_text("new")
    assert path.read_text() == "new" and link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["kept", "link"]


def test_a_lock_keeps_others_out_and_says_so(tmp_path):
    path, said = tmp_path / "a.json", []

    def other():
        try:
            with locked(path, 0.05):
                said.append("in")
        except TimeoutError as error:
            said.append(str(error))

    with locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(said) == 1 and "in use by another process" in said[0]
    other()
    assert said[1] == "in" and not path.exists()
