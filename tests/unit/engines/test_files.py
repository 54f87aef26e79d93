"""Files that are there complete or not at all, and checksums."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from engines.errors import DataError
from engines.files import atomic_folder, atomic_write, sha256_of, write_result


def test_an_atomic_write_leaves_the_former_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    atomic_write(path, "the former µ")
    assert path.read_text(encoding="utf-8") == "the former µ" and path.stat().st_mode & 0o777 == 0o644
    atomic_write(path, lambda file: file.write(b"by a function"))
    assert path.read_bytes() == b"by a function"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"result\.json: cannot be written \(No space left on device\)"):
        write_result(path, b"new")
    assert path.read_bytes() == b"by a function" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replace", [False, True])
def test_an_atomic_folder_is_complete_or_leaves_the_former_one(tmp_path: Path, replace: bool) -> None:
    out = tmp_path / "set"
    with atomic_folder(out) as folder:
        (folder / "below").mkdir()
        (folder / "below/a.txt").write_text("former")
        assert not out.exists()
    if not replace:
        with pytest.raises(DataError, match="exists already"), atomic_folder(out) as folder:
            pass
    else:
        with pytest.raises(DataError, match=r"gone\.txt: cannot be written or read"), atomic_folder(out, replace=True) as folder:
            (tmp_path / "gone.txt").read_bytes()
        with atomic_folder(out, replace=True) as folder:
            (folder / "b.txt").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert sorted(p.name for p in out.rglob("*.txt")) == (["b.txt"] if replace else ["a.txt"])


def test_a_checksum_is_that_of_all_bytes(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 7)
    (tmp_path / "large").write_bytes(data)
    assert sha256_of(tmp_path / "large") == hashlib.sha256(data).hexdigest()
