"""Copies of one field are told by name and by looks, whatever was done to them, and no two fields are taken for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled import BLAST, write_subset

from engines.data.check import check
from engines.data.faults import Kind
from engines.data.look_alikes import field_units, look_alikes, thumbnail
from engines.data.origin import source_name
from engines.data.splits import plan
from engines.detections import Image
from engines.errors import DataError
from engines.film.optics import Microscope
from engines.film.slide import Film


@pytest.fixture(scope="module")
def fields() -> list[Image]:
    """Twelve fields of one rendered film."""
    film = Film(7, "AML", (1200.0, 900.0))
    scope = Microscope("H", "C1", 40, unit=1, width_px=1920)
    places = [(200.0 + 160 * (n % 4), 200.0 + 150 * (n // 4)) for n in range(12)]
    return [film.view(place, scope, (320, 320), 0.0, noise_seed=n)[0] for n, place in enumerate(places)]


def recoloured(image: Image) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int)
    hsv = np.stack([(hsv[..., 0] + 6) % 180, np.clip(hsv[..., 1] * 1.2, 0, 255), hsv[..., 2] * 0.85], -1)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR), np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "saved anew": lambda image: np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [1, 60])[1], 1), np.uint8),
    "resized and squeezed": lambda image: np.asarray(cv2.resize(image, (170, 210), interpolation=cv2.INTER_AREA), np.uint8),
    "recoloured": recoloured,
    "mirrored": lambda image: np.asarray(cv2.flip(image, 1), np.uint8),
    "turned": lambda image: np.asarray(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE), np.uint8),
    "grey": lambda image: np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8),
}


def test_no_two_fields_are_taken_for_one(fields: list[Image]) -> None:
    assert list(look_alikes([thumbnail(image) for image in fields])) == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_copy_is_found_alone(fields: list[Image], change: Callable[[Image], Image]) -> None:
    assert list(look_alikes([thumbnail(image) for image in (*fields, change(fields[3]))])) == [(3, 12)]


def test_blank_pictures_resemble_nothing() -> None:
    assert list(look_alikes([np.full((64, 64), value, np.uint8) for value in (0, 200, 200)])) == []


def test_a_copy_on_the_other_side_is_named(fields: list[Image], tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": {"1_1_1000_ALL.png": [BLAST]}, "val": {"3_1_1000_CML.png": [BLAST]}})
    cv2.imwrite(str(root / "Images/train/1_1_1000_ALL.png"), fields[0][:48, :64])
    cv2.imwrite(str(root / "Images/val/3_1_1000_CML.png"), recoloured(fields[0][:48, :64]))
    (fault,) = check(root).faults
    assert fault.kind is Kind.COPY_BOTH_SIDES and fault.place.file.name == "3_1_1000_CML.png"
    assert "1_1_1000_ALL.png by its looks, which is on another side (set/train)" in fault.message


def test_copies_of_one_field_are_one_unit(fields: list[Image], tmp_path: Path) -> None:
    names = [
        "field_1_jpg.rf.0f3ae152aa.jpg",
        "field_1_jpg.rf.9be1e152aa.jpg",
        "other.png",
        "same.png",
        "4_29_1000_ALL.png",
        "copy of it.png",
    ]
    for name, number in zip(names, (0, 1, 2, 2, 3, 3), strict=True):
        cv2.imwrite(str(tmp_path / name), fields[number])
    first, second, third, fourth, *patients = field_units([tmp_path / name for name in names])
    assert first == second != third == fourth and patients == ["4", "4"]


def test_a_split_keeps_copies_together_and_a_patient_whole(fields: list[Image], tmp_path: Path) -> None:
    names = {f"field{n}_jpg.rf.{letter * 8}.jpg": [BLAST] for n in range(6) for letter in "abc"}
    root = write_subset(tmp_path / "set", {"train": names})
    sides = plan(root, {"train": 0.66, "val": 0.34}, 0).sides
    where = {name: {source_name(picture.path.name) for _, picture in placed} for name, placed in sides.items()}
    assert len(where["train"]) == 4 and len(where["val"]) == 2 and not where["train"] & where["val"]
    one = write_subset(tmp_path / "one", {"train": {f"7_{n}_1000_ALL_jpg.rf.{x * 8}.jpg": [BLAST] for n in range(3) for x in "ab"}})
    with pytest.raises(DataError, match="patient 7 cannot be divided into train, val; a patient stays whole"):
        plan(one, {"train": 0.66, "val": 0.34}, 0)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("1500001_1_1_400_MIXED_jpg.rf.0f3ae152aa.jpg", "1500001_1_1_400_MIXED.jpg"),
        ("a1b2c3d4-4_29_1000_ALL.png", "4_29_1000_ALL.png"),
        ("12345678-4_29_1000_ALL.png", "4_29_1000_ALL.png"),
        ("M%C3%BCller_1.jpg", "Müller_1.jpg"),
        ("Mu\u0308ller_1.jpg", "Müller_1.jpg"),
        ("4_29_1000_ALL (1).png", "4_29_1000_ALL.png"),
        ("4_29_1000_ALL - Copy (2).png", "4_29_1000_ALL.png"),
        ("4_29_1000_ALL_aug_3.png", "4_29_1000_ALL.png"),
        ("4_29_1000_ALL_flip_rot90_jpg.rf.0f3ae152aa.jpg", "4_29_1000_ALL.jpg"),
        ("slide (2).jpg", "slide (2).jpg"),
        ("20231005-101112.jpg", "20231005-101112.jpg"),
        ("d56c5586-4f1b-53c0-bfa7-fe5db1b5a967.jpg", "d56c5586-4f1b-53c0-bfa7-fe5db1b5a967.jpg"),
        ("photocopy.png", "photocopy.png"),
    ],
)
def test_what_others_added_to_a_name_is_undone(name: str, source: str) -> None:
    assert source_name(name) == source
