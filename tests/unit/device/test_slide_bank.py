"""Crops at every edge, and the bank's order and bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from device.slide.bank import LONGEST_PX, crop_jpeg, morphology_bank
from device.slide.model import Cell, Field, Slide
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def picture() -> Image:
    across = np.linspace(0, 255, 900, dtype=np.float32)
    return np.repeat(np.repeat(across[None, :, None], 600, axis=0), 3, axis=2).astype(np.uint8)


def decoded(data: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_a_crop_has_a_margin_and_the_pixels_of_its_place(picture: Image) -> None:
    crop = decoded(crop_jpeg(picture, (400.0, 200.0, 480.0, 260.0), 95))
    assert crop.shape == (100, 120, 3)
    assert abs(int(crop[50, 60, 0]) - int(picture[230, 440, 0])) <= 3


@pytest.mark.parametrize(
    ("box", "shape"),
    [((0.0, 0.0, 40.0, 40.0), (50, 50, 3)), ((860.0, 560.0, 900.0, 600.0), (50, 50, 3)), ((-30.0, 10.0, 10.0, 50.0), (60, 20, 3))],
)
def test_crops_end_at_the_frames_edges(picture: Image, box: tuple[float, float, float, float], shape: tuple[int, ...]) -> None:
    assert decoded(crop_jpeg(picture, box, 90)).shape == shape


def test_large_crops_are_reduced_and_impossible_ones_empty(picture: Image) -> None:
    assert max(decoded(crop_jpeg(picture, (0.0, 0.0, 900.0, 300.0), 90)).shape) == LONGEST_PX
    assert crop_jpeg(picture, (2000.0, 10.0, 2010.0, 20.0), 90) == b""


def test_the_bank_is_ordered_and_bounded() -> None:
    def cell(name: str, score: float, identified: bool = True, crop: bytes = b"jpeg") -> Cell:
        return Cell(TAXONOMY.classes.index(name), score, identified, (0, 0, 9, 9), np.zeros(15, np.float32), crop)

    first = (cell("Monocyte", 0.5), cell("Myeloblast", 0.6), cell("None", 0.9), cell("Basophil", 0.2, False))
    third = (cell("Myeloblast", 0.9), cell("Myeloblast", 0.7), cell("Myeloblast", 0.95, crop=b""))
    fields = (Field(1, NOW, "t", (9, 9), 1.0, first), Field(3, NOW, "t", (9, 9), 1.0, third))
    rows = morphology_bank(Slide("s", NOW, fields=fields), TAXONOMY, per_type=2)
    assert [(r.name, r.count) for r in rows] == [("Myeloblast", 4), ("Monocyte", 1), ("Unidentified", 1)]
    assert [(c.field_index, c.cell.score) for c in rows[0].cells] == [(1, 0.6), (3, 0.7), (3, 0.9)]  # a person confirms each
    assert [r.told for r in rows] == [TAXONOMY.classes.index("Myeloblast"), TAXONOMY.classes.index("Monocyte"), ""]


def named(name: str, group: str, blast: float, identified: bool = False) -> Cell:
    kind = TAXONOMY.classes.index(name)
    return Cell(kind, 0.9, identified, (0, 0, 9, 9), np.zeros(15, np.float32), b"jpeg", group, 0.8, blast, 0.5)


def test_what_needs_a_persons_eye_stands_first() -> None:
    others = [named("Neutrophil", "others", blast / 100, identified=True) for blast in range(20)]
    blasts = [named("Myeloblast", "blasts", blast) for blast in (0.99, 0.6, 0.8)]
    sure = [named("Monoblast", "blasts", 0.9, identified=True)]
    slide = Slide("s", NOW, fields=(Field(1, NOW, "t", (9, 9), 1.0, (*others, named("Monocyte", "", 0.4), *blasts, *sure)),))
    rows = morphology_bank(slide, TAXONOMY)
    assert [(r.name, len(r.cells)) for r in rows] == [
        ("Blast or equivalent, kind uncertain", 3),
        ("Monoblast", 1),
        ("Neutrophil", 12),
        ("Unidentified", 1),
    ]
    assert [c.cell.blast_probability for c in rows[0].cells] == [0.6, 0.8, 0.99]
    assert [c.cell.blast_probability for c in rows[2].cells][:2] == [0.19, 0.18]
    foreign = morphology_bank(replace(slide, foreign=True), TAXONOMY)
    assert [(r.told, len(r.cells)) for r in foreign] == [("blasts", 4), ("others", 20), ("", 1)]  # all, by group


def test_an_empty_slide_has_an_empty_bank() -> None:
    assert morphology_bank(Slide("s", NOW), TAXONOMY) == ()
