"""Labels in a zip beside their pictures are read where they lie; a damaged archive is named, and nothing leaves its folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from labelled import NEUTROPHIL, write_subset

from engines.data.layout import find_subsets
from engines.data.leukemiaattri import read_split
from engines.data.packed import label_folder
from engines.errors import DataError


def pack(root: Path, below: str = "", extra: str = "") -> Path:
    """Move the labels of a subset into its labels.zip."""
    files = [file for file in sorted(root.rglob("*")) if file.suffix in (".json", ".txt")]
    with zipfile.ZipFile(root / "labels.zip", "w") as archive:
        for file in files:
            archive.write(file, f"{below}{file.relative_to(root)}")
            file.unlink()
        if extra:
            archive.writestr(extra, "{}")
    return root / "labels.zip"


@pytest.mark.parametrize("below", ["", "labels/"])
def test_packed_labels_are_those_that_were_packed(tmp_path: Path, below: str) -> None:
    root = write_subset(tmp_path / "L", {"train": {"1_1_1000_AML.png": [NEUTROPHIL], "2_1_1000_AML.png": [NEUTROPHIL, NEUTROPHIL]}})
    before = read_split(root, "train")
    pack(root, below)
    after = read_split(root, "train")
    assert [p.path for p in after] == [p.path for p in before] and len(after) == 2
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.boxes_px, other.boxes_px)
        np.testing.assert_array_equal(one.attributes, other.attributes)
    assert find_subsets(root)[0].packed == ()
    assert sorted(path.name for path in root.iterdir() if path.is_file()) == ["labels.zip"], "nothing is unpacked there"


def test_what_would_leave_the_folder_is_not_unpacked(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "L", {"train": {"1_1_1000_AML.png": [NEUTROPHIL]}})
    folder = label_folder(pack(root, extra="../../outside.json"))
    assert not list(folder.parent.glob("outside.json")) and not list(tmp_path.rglob("outside.json"))
    assert len(list(folder.rglob("*.json"))) + len(list(folder.rglob("*.txt"))) >= 1


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "L", {"train": {"1_1_1000_AML.png": [NEUTROPHIL]}})
    archive = pack(root)
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"labels\.zip: cannot be unpacked"):
        label_folder(archive)
