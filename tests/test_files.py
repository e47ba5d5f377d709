"""Files in the cache: whole or not at all, and the first one stays."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoo.datasets.files import write_once, write_whole
from zoo.errors import InputError


def test_the_first_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.flac"
    write_once(file, b"first")
    before = file.stat()
    write_once(file, b"second")
    assert file.read_bytes() == b"first" and file.stat().st_ino == before.st_ino
    write_whole(file, b"third")
    assert file.read_bytes() == b"third"
    assert [*file.parent.iterdir()] == [file]


def test_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_once(tmp_path / "a", b"first")
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"first"]


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [bytes([i]) * 100_000 for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        [*pool.map(lambda i: write_once(tmp_path / str(i % 2), contents[i]), range(16))]
    assert {f.name for f in tmp_path.iterdir()} == {"0", "1"}
    assert all(f.read_bytes() in contents for f in tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_once(tmp_path / "file" / "a", b"")
