"""`leukoscope learn` on slides that a person reviewed and signed: a real record with pictures, the shipped engine's second look."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from device.cli import call
from device.review.review import Review
from device.service.layers import chosen_layer
from device.settings.config_file import load_config
from device.slide.model import Cell, Field, Slide, SlideState
from device.store import Store
from engines.bundle import Bundle, resolve
from engines.data.leukemiaattri import read_split
from engines.naming import NamingLayer
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.provenance import provenance
from tests.support.stained_cells import write_stained

pytestmark = pytest.mark.integration
BEGUN = datetime(2026, 3, 2, 10, 0, tzinfo=timezone.utc)
UNKNOWN = np.full(15, np.nan, np.float32)


def write_config(folder: Path) -> Path:
    path = folder / "device.yaml"
    settings = {
        "camera": {"kind": "replay", "source": "pictures"},
        "device": {"id": "clinic-7", "state_dir": str(folder)},
        "engine": {"bundle": "zoo:attridet-n", "runtime": "onnx", "threads": 1},
        "broker": {"enabled": False},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def signed_slides(folder: Path, patients: tuple[str, ...]) -> None:
    """One slide a patient, counted where the drawn cells are, each named by a person as it was drawn, signed."""
    drawn = write_stained(folder / "drawn", patients, 3)
    info = Bundle.open(resolve("zoo:attridet-n"), verify=False).manifest
    engine = EngineInfo(info.name, info.version, "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
    with Store.open(folder / "record.sqlite") as store:
        for patient in patients:
            slide = Slide(f"20260302-10000{patient}-aaaaaa", BEGUN, operator="KM", specimen=f"26-00471{patient}")
            store.start_slide(slide, provenance(engine))
            truth: dict[int, str] = {}
            for picture in read_split(drawn, "train"):
                if picture.path.name.startswith(f"{patient}_"):
                    slide = slide.with_field(counted_field(folder, slide, len(slide.fields) + 1, picture.path, picture, truth))
            store.put_fields(slide.slide_id, slide.fields)
            closed = replace(slide, state=SlideState.REVIEW, finished_at=BEGUN)
            store.close_slide(closed, None)
            review = Review(closed, LEUKEMIA_ATTRI, who="AB")
            for cell_id, name in truth.items():
                review = review.after(review.open(cell_id))
                review = review.after(review.name([cell_id], name))
            review = review.after(review.sign(why="few cells"))
            store.put_review(slide.slide_id, review.entries, review.slide, None)


def counted_field(folder: Path, slide: Slide, index: int, path: Path, picture: object, truth: dict[int, str]) -> Field:
    image = cv2.imread(str(path))
    name = f"{slide.slide_id}/field-{index:06d}.jpg"
    (folder / "pictures" / slide.slide_id).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "pictures" / name), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    cells = []
    for box, kind in zip(picture.boxes_px.tolist(), picture.classes.tolist(), strict=True):  # type: ignore[attr-defined]
        cell_id = len(truth) + 1
        truth[cell_id] = LEUKEMIA_ATTRI.classes[kind]
        cells.append(Cell(3, 0.5, False, tuple(box), UNKNOWN, cell_id=cell_id))
    size = (image.shape[1], image.shape[0])
    return Field(index, BEGUN, "camera", size, 1.0, tuple(cells), picture=name)


def test_what_was_signed_becomes_a_layer_that_a_person_activates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path)
    signed_slides(tmp_path, ("1", "2", "3"))
    assert call(["learn", "--config", str(config), "--fewest", "20"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "54 cells on 9 fields of 3 slides" in said
    assert "On 3 slides of this microscope, each left out of the fit in turn" in said
    assert "is not in use. To activate it: leukoscope layer use" in said
    layer = NamingLayer.read(tmp_path / "learnt" / "site-clinic-7.npz")
    assert layer.site
    assert [(source["name"], source["patients"]) for source in layer.card["sources"] if source["name"].startswith("site ")] == [
        ("site record", 3)
    ]
    drawn = (tmp_path / "learnt" / "site-clinic-7.html").read_text()
    assert drawn.count("<circle") == 3
    assert "26-00471" not in drawn + said + str(layer.card)
    assert chosen_layer(load_config(config)) is None
    assert call(["learn", "--config", str(config), "--fewest", "20", "--activate"]) == 0
    assert "is activated" in " ".join(capsys.readouterr().out.split())
    activated = chosen_layer(load_config(config))
    assert activated is not None
    assert NamingLayer.read(activated).version == "2"


def test_nothing_is_learnt_from_what_nobody_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path)
    assert call(["learn", "--config", str(config)]) == 2
    assert "there is none yet" in capsys.readouterr().err
    with Store.open(tmp_path / "record.sqlite"):
        pass
    assert call(["learn", "--config", str(config)]) == 2
    assert "no signed slide to take labels from" in capsys.readouterr().err
