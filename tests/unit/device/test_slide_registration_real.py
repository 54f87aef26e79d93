"""Real fields that overlap (40x, labelled twice by their makers) are joined as the labels say; others of the same patients never."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.slide.motion import FieldPicture
from device.slide.registration import Registration

pytestmark = pytest.mark.shared
PAIRS = 2000


@pytest.fixture(scope="module")
def fields(shared_data: Path) -> dict[str, Path]:
    """Name → file of the fields, 640 x 640 px, squeezed by their makers from the camera's frames."""
    return {path.name: path for path in sorted((shared_data / "lld_40x" / "Images").glob("*/*.jpg"))}


@pytest.fixture(scope="module")
def overlapping(shared_data: Path) -> list[dict[str, object]]:
    path = shared_data.parent / "cases" / "technician" / "real_overlapping_fields.json"
    if not path.is_file():
        pytest.skip("needs ../shared/cases/technician")
    return list(json.loads(path.read_text()))


@cache
def picture(path: Path) -> FieldPicture:
    image = cv2.imread(str(path))
    assert image is not None
    return FieldPicture.of(np.asarray(image, np.uint8))


def test_overlapping_fields_lie_where_their_labels_say(fields: dict[str, Path], overlapping: list[dict[str, object]]) -> None:
    assert len(overlapping) == 8
    for pair in overlapping:
        registration = Registration(640)
        first = registration.observe(picture(fields[str(pair["a"])]), True).place
        fix = registration.observe(picture(fields[str(pair["b"])]), True)
        assert first and fix.place and fix.place.chart == first.chart, pair
        assert fix.sure > 0.2
        shift = first.x_px - fix.place.x_px, first.y_px - fix.place.y_px
        assert np.hypot(shift[0] - float(str(pair["dx_px"])), shift[1] - float(str(pair["dy_px"]))) < 4, pair


def test_no_other_fields_of_the_same_patients_are_joined(fields: dict[str, Path], overlapping: list[dict[str, object]]) -> None:
    real = {frozenset((str(pair["a"]), str(pair["b"]))) for pair in overlapping}
    by_patient = defaultdict(list)
    for name in fields:
        by_patient[name.split("_")[0]].append(name)
    others = [p for names in by_patient.values() for p in combinations(names, 2) if frozenset(p) not in real]
    picked = np.random.default_rng(14).permutation(len(others))[:PAIRS]
    assert len(picked) == PAIRS
    joined = []
    for pair in (others[i] for i in picked):
        registration = Registration(640)
        registration.observe(picture(fields[pair[0]]), True)
        if registration.observe(picture(fields[pair[1]]), True).state != "new chart":
            joined.append(pair)
    assert not joined
