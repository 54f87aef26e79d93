"""What a field costs in memory, counted by allocations: ten thousand fields with five thousand cells may take 20 MB."""

from __future__ import annotations

import gc
import tracemalloc
from array import array
from pathlib import Path

import pytest

from device.slide import keyframes
from device.slide.keyframes import Pictures
from docs.experiments.long_slide import counted

TRACED, FROM, TO = 60, 120, 320  # what is replaced all the time is traced before it is measured


def test_a_field_holds_little() -> None:
    slide, held = None, 0
    try:
        for field, session in enumerate(counted(TO, array("d", [])), 1):
            if field == TRACED:
                tracemalloc.start()
            elif field == FROM:
                gc.collect()
                held = -tracemalloc.get_traced_memory()[0]
            elif field == TO:
                gc.collect()
                slide, held = session.slide, held + tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert slide is not None
    assert len(slide.fields) == TO and len(slide.cells) == TO // 2 and slide.charts == 1
    each = held / (TO - FROM)
    assert 200 < each < 2_000, f"{each:.0f} bytes a field: {each / 100:.0f} MB at 10,000"


def test_pictures_come_back_as_they_were_kept(tmp_path: Path) -> None:
    kept, pictures = Pictures(str(tmp_path)), [bytes([n]) * (1 + 97 * n) for n in range(60)]
    places = [kept.add(picture) for picture in pictures]
    assert [kept[at] for at in reversed(places)] == pictures[::-1]
    assert not list(tmp_path.iterdir()), "the file has no name"
    assert not kept._held


def test_without_a_file_or_with_a_full_disk_they_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere, full = Pictures(str(tmp_path / "missing")), Pictures(str(tmp_path))
    before = full.add(b"before")

    def no_room(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keyframes.os, "pwrite", no_room)
    for kept in (nowhere, full):
        assert [kept[at] for at in [kept.add(b"one"), kept.add(b"another")]] == [b"one", b"another"]
    monkeypatch.setattr(keyframes.os, "pwrite", lambda file, picture, at: len(picture) - 1)
    short = full.add(b"cut short")
    assert (full[before], full[short]) == (b"before", b"cut short")
