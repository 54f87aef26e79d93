"""Reviewed cells as labels: the laboratory's own check accepts them, what nobody looked at is no label, and nobody is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import StoreError
from device.report.case import Case
from device.report.labels import ground, write_labels
from device.slide.model import Field, Slide
from device.store import StoredSlide
from engines.data.check import check
from engines.data.leukemiaattri import read_split
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.review import ordinary
from tests.support.signed import Desk, signed

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
SPECIMEN = "26-004711"


def with_pictures(slide: Slide, folder: Path) -> StoredSlide:
    """The slide with a picture of each field, as the record keeps them."""
    (folder / slide.slide_id).mkdir(parents=True)

    def kept(field: Field) -> Field:
        name = f"{slide.slide_id}/field-{field.index:06d}.jpg"
        image = np.random.default_rng(field.index).integers(0, 255, (*field.size_px[::-1], 3), np.uint8)
        assert cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 85])
        return replace(field, picture=name)

    slide = replace(slide, specimen=SPECIMEN, operator="KM", fields=tuple(map(kept, slide.fields)))
    return StoredSlide(slide, provenance(MODEL), None)


def test_the_laboratory_reads_what_was_reviewed(tmp_path: Path) -> None:
    desk = Desk(with_pictures(ordinary("Myeloblast", "", "", "Promonocyte", "blasts", "None"), tmp_path / "pictures"))
    for cell_id in (1, 2, 101, 104, 105):
        desk.act(desk.review.open(cell_id))
    desk.act(desk.review.name([101], "Monoblast"))
    desk.act(desk.review.name([102], "smudge"))
    desk.act(desk.review.name([103], "not_classed"))
    desk.act(desk.review.add(2, (900.0, 500.0, 960.0, 570.0), "Eosinophil"))
    desk.sign()
    written = write_labels([desk.case()], tmp_path / "pictures", tmp_path / "out")
    assert (written.slides, written.fields, written.cells) == (1, 2, 6)
    assert written.cells_without_type == 2  # "blasts", whose kind nobody said, and one that was not classed
    report = check(tmp_path / "out")
    faults = [fault for fault in report.findings if fault.kind.level.value == "fault"]
    assert {fault.kind.slug for fault in faults} <= {"image-blank"}, report.findings  # the fields of this test are flat drawings
    data = read_split(tmp_path / "out", "train")
    names = sorted(LEUKEMIA_ATTRI.classes[code] for image in data for code in image.classes)
    assert names == ["Eosinophil", "Lymphocyte", "Lymphocyte", "Monoblast", "None", "Promonocyte"]
    for image in data:
        assert (image.attributes == -1).all()
        mask = np.zeros(image.size_hw, np.uint8)
        for x1, y1, x2, y2 in image.ignored_px.astype(int):
            mask[y1:y2, x1:x2] += 1
        for x1, y1, x2, y2 in image.boxes_px.astype(int):
            assert not mask[y1:y2, x1:x2].any()
            mask[y1:y2, x1:x2] = 1
        assert mask.max() == 1 and (mask == 0).mean() < 0.001


def test_nobody_is_named(tmp_path: Path) -> None:
    case = signed(with_pictures(ordinary("Myeloblast"), tmp_path / "pictures"))
    write_labels([case], tmp_path / "pictures", tmp_path / "out")
    text = (tmp_path / "out/json_labels/train.json").read_text()
    names = " ".join(path.name for path in (tmp_path / "out").rglob("*"))
    for identity in (SPECIMEN, '"AB"', "KM", "specimen", "who"):
        assert identity not in text.replace("who ", "") and identity not in names
    one = json.loads(text)["annotations"][0]["provenance"]
    said = {"act": "opened", "said": "Lymphocyte", "before_review": "Lymphocyte", "box_by": "network"}
    assert one == {"slide": case.slide.slide_id, "cell": 1, **said}


def test_two_slides_of_a_specimen_are_one_patient(tmp_path: Path) -> None:
    first, other, third = (replace(ordinary("Myeloblast"), slide_id=f"20261123-18151{n}-aaaaaa") for n in (1, 2, 3))
    cases = [signed(with_pictures(slide, tmp_path / "pictures")) for slide in (first, other, third)]
    apart = replace(cases[2].stored, slide=replace(cases[2].stored.slide, specimen=""))
    write_labels([*cases[:2], Case(apart)], tmp_path / "pictures", tmp_path / "out")
    assert check(tmp_path / "out").splits[0].patients == {"s20261123181511aaaaaa": 4, "s20261123181513aaaaaa": 2}


def test_unsigned_slides_and_fields_without_a_picture_give_no_labels(tmp_path: Path) -> None:
    stored = with_pictures(ordinary("Myeloblast"), tmp_path / "pictures")
    with pytest.raises(StoreError, match="no signed slide to take labels from"):
        write_labels([Case(stored)], tmp_path / "pictures", tmp_path / "out")
    with pytest.raises(StoreError, match="2 fields have no stored picture"):
        write_labels([signed(stored)], tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(StoreError, match="exists already"):
        write_labels([signed(stored)], tmp_path / "pictures", tmp_path / "out")


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    stored = with_pictures(ordinary("Myeloblast"), tmp_path / "pictures")
    cv2.imwrite(str(tmp_path / "pictures" / stored.slide.fields[0].picture), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(StoreError, match="is no picture of 1920 x 1080 px"):
        write_labels([signed(stored)], tmp_path / "pictures", tmp_path / "out")
    assert not (tmp_path / "out").exists()


corner = st.tuples(st.floats(0, 90), st.floats(0, 60), st.floats(4, 40), st.floats(4, 40))


@given(st.lists(corner, max_size=7))
def test_ground_and_boxes_share_no_pixel_and_leave_none_but_thin_strips(corners: list[tuple[float, float, float, float]]) -> None:
    boxes = [(x, y, min(x + w, 100.0), min(y + h, 70.0)) for x, y, w, h in corners]
    covered = np.zeros((70, 100), int)
    for x1, y1, x2, y2 in boxes:
        covered[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = 1
    for x1, y1, x2, y2 in ground((100, 70), boxes):
        assert not covered[y1:y2, x1:x2].any()
        covered[y1:y2, x1:x2] = 1
    free = cv2.morphologyEx((covered == 0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    assert not free.any()
