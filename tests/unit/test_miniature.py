"""The miniature of LeukemiaAttri is what it says: the same cells in every spelling, known maps, train and test, and nobody's data."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.data import check_data, read_split
from engines.data.layout import find_subsets, patient_of
from tests.support.miniature import MOVED, PUBLISHED, Miniature, build


def test_twelve_subsets_with_train_and_test_and_one_of_them_empty(miniature: Miniature) -> None:
    found = {one.name.rpartition("/")[2]: one for one in find_subsets(miniature.root)}
    assert sorted([*found, "L_10X_C1"]) == sorted(PUBLISHED)
    assert list(miniature.subset("L_10X_C1").iterdir()) == []
    assert {tuple(split.name for split in one.splits) for one in found.values()} == {("test", "train")}
    sides = {name: {s.name: {patient_of(p.name) for p in s.pictures()} for s in one.splits} for name, one in found.items()}
    assert all((MOVED in sides[name]["train"]) == (name[0] == "H") for name in sides)
    assert all(not one["train"] & one["test"] for one in sides.values())


def test_every_spelling_gives_the_same_cells_where_the_map_puts_them(miniature: Miniature, tmp_path: Path) -> None:
    copy = shutil.copytree(miniature.root, tmp_path / "copy")
    unpacked = replace(miniature, root=copy).unpack()
    assert (unpacked / "json_labels").is_dir()
    high = {p.path.stem: p for p in read_split(copy / "H_100X_C2", "train")}
    for name in set(PUBLISHED) - {"L_10X_C1", "H_100X_C2"}:
        shown = read_split(replace(miniature, root=copy).subset(name), "train")
        for picture in shown:
            patient, field = picture.path.stem.split("_")[:2]
            same = next(p for stem, p in high.items() if stem.startswith(f"{patient}_{field}_"))
            matrix = miniature.maps[f"{name}/{picture.path.stem}"]
            whole = ((same.boxes_px > 1) & (same.boxes_px < 319)).all(1)
            middles = same.boxes_px.reshape(-1, 2, 2).mean(1) @ matrix[:, :2].T + matrix[:, 2]
            for middle, code in zip(middles[whole], same.classes[whole], strict=True):
                away = np.abs(picture.boxes_px.reshape(-1, 2, 2).mean(1) - middle).max(1)
                if ((middle > 40) & (middle < 280)).all():  # a cell at the rim may be half outside
                    assert away.min() < 2.5, f"{name}/{picture.path.name}: a cell is not where the map says"
                    assert picture.classes[away.argmin()] == code


def test_check_finds_what_was_planted_and_nothing_else(miniature: Miniature) -> None:
    faults = {fault.kind.slug for fault in check_data(miniature.root).faults}
    assert "patient-both-sides" in faults
    assert "labels-in-archive" in {found.kind.slug for found in check_data(miniature.root).findings}
    assert not faults & {"class-numbers", "box-convention", "unknown-class", "malformed-row", "image-missing", "row-twice"}


def test_drawn_again_it_is_the_same(miniature: Miniature, tmp_path: Path) -> None:
    again = build(tmp_path, fields=1, few=1)
    written = [p.relative_to(again.root) for p in again.root.rglob("*.txt")]
    assert len(written) == 2 * 6 + 6 + 6 + 6
    assert all((again.root / file).read_text() == (miniature.root / file).read_text() for file in written)
    assert all((matrix == miniature.maps[name]).all() for name, matrix in again.maps.items())
