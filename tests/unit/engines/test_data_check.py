"""Each fault planted into a clean data set is found, alone, with its file and line; and the clean one is clean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import planted_labels  # noqa: F401 - adds its plants
import planted_looks  # noqa: F401 - adds its plants
import planted_pictures  # noqa: F401 - adds its plants
import pytest
from labelled import BLAST, Cell, picture, write_subset, write_txt
from planted import PLANTS, TRAIN, VAL, Plant, annotation, only_json

from engines.data.check import Checked, check
from engines.data.faults import Kind, Level
from engines.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_subset(tmp_path / "H_100X_C1", {"train": TRAIN, "val": VAL})


BESIDES: dict[str, set[Kind]] = {
    "labels_in_an_archive": {Kind.SPLIT_UNLABELLED, Kind.NO_LABELS},
    "a_copy_that_an_exporter_renamed": {Kind.PATIENT_UNKNOWN},
    "labels_of_another_program": {Kind.SPLIT_UNLABELLED},
    "a_part_of_the_download_that_was_left_out": {Kind.IMAGE_MISSING},
    "squeezed_pictures": {Kind.BOXES_MISPLACED},
    "a_wrong_statement": {Kind.BOXES_MISPLACED},
}
"""Faults that a planted one brings with it."""


def checked(root: Path) -> Checked:
    return check(root.parent)


def test_a_clean_data_set_is_clean(root: Path) -> None:
    found = checked(root)
    assert found.findings == ()
    train, val = found.splits
    assert (train.label, train.images, train.labelled, train.empty, train.cells) == ("H_100X_C1/train", 3, 3, 1, 3)
    assert train.classes[:4] == (1, 1, 0, 1) and sum(train.classes) == 3
    assert train.patients == {"1": 2, "2": 1} and train.diagnoses == {"ALL": 2, "AML": 1}
    assert train.attributes["cell_size"] == {2: 1, 1: 1, -2: 1}
    assert train.sources == ("JSON", "TXT 12")
    assert found.total.cells == 5 and val.cells == 2


def test_every_kind_has_its_plant() -> None:
    assert {kind for kind, _ in PLANTS} == set(Kind)


@pytest.mark.parametrize(("kind", "plant"), PLANTS, ids=[f"{kind.slug}-{plant.__name__}" for kind, plant in PLANTS])
def test_a_planted_fault_is_found_alone_and_in_its_place(root: Path, kind: Kind, plant: Plant) -> None:
    file, line = plant(root)
    found = checked(root)
    assert {fault.kind for fault in found.findings} - BESIDES.get(plant.__name__, set()) == {kind}
    fault = next(fault for fault in found.findings if fault.kind is kind)
    assert (fault.place.file, fault.place.line) == (file, line), str(fault)
    assert len([f for f in found.findings if f.kind is kind]) == 1
    besides = BESIDES.get(plant.__name__, set())
    assert any(fault.kind not in besides for fault in found.faults) == (kind.level is not Level.NOTE)


def test_json_on_one_line_is_placed_by_its_column(root: Path) -> None:
    file = only_json(root, lambda d: annotation(d, 2, category_name="Erythroblast"))
    text = json.dumps(json.loads(file.read_text()))
    file.write_text(text)
    (fault,) = checked(root).faults
    assert fault.place.line == 1
    assert text[fault.place.column - 1 :].startswith('{"id": 2, "image_id": 1')
    assert str(fault).startswith(f"{file}:1:{fault.place.column}: 1_1_1000_ALL.png, annotation 2: unknown class")


@pytest.mark.parametrize("columns", [5, 11])
def test_columns_that_are_not_there_do_not_disagree(root: Path, columns: int) -> None:
    write_txt(root, "train", TRAIN, columns)
    write_txt(root, "val", VAL, columns)
    assert checked(root).findings == ()


def test_rounding_to_three_decimals_does_not_disagree(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    cells = [Cell(1, (float(x), 3, 7.77, 9.13)) for x in (rng.uniform(0, 5), rng.uniform(20, 25), rng.uniform(40, 45))]
    root = write_subset(tmp_path / "set", {"train": {"1_1_1000_ALL.png": cells}})
    file = root / "txt_labels/AttriDet/train/1_1_1000_ALL.txt"
    file.write_text(
        "\n".join(" ".join(f"{float(w):.3f}" if "." in w else w for w in line.split()) for line in file.read_text().splitlines())
    )
    assert check(root).faults == ()


def test_one_box_of_two_classes_in_another_order_does_not_disagree(root: Path) -> None:
    pair = [BLAST, Cell(8, BLAST.box, BLAST.values)]
    write_subset(root, {"train": TRAIN | {"1_2_1000_ALL.png": pair}})
    write_txt(root, "train", TRAIN | {"1_2_1000_ALL.png": pair[::-1]})
    assert {f.kind for f in checked(root).findings} == {Kind.BOX_TWO_CLASSES}


def test_overlapping_cells_are_no_fault(root: Path) -> None:
    write_subset(root, {"train": TRAIN | {"1_2_1000_ALL.png": [BLAST, Cell(3, (8, 6, 20, 18))]}})
    assert checked(root).findings == ()


def test_unlabelled_pictures_of_a_side_belong_to_it(root: Path) -> None:
    picture(root / "Images/train_unlabelled/1_8_1000_ALL.png")
    assert {f.kind for f in checked(root).findings} == {Kind.SPLIT_UNLABELLED}
    picture(root / "Images/val_unlabelled/1_9_1000_ALL.png")
    assert Kind.PATIENT_BOTH_SIDES in {f.kind for f in checked(root).findings}


def test_progress_counts_pictures(root: Path) -> None:
    calls: list[tuple[int, int]] = []
    check(root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 4) for n in range(1, 5)]


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    with pytest.raises(DataError, match="no data set"):
        check(tmp_path)
