"""An engine folder: written whole, opened with every fault named, found by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.bundle import GOLDEN_ANSWER, Bundle, golden_answer, resolve, write_bundle
from engines.detections import Detections
from engines.errors import BundleError
from engines.manifest import SCHEMA_VERSION, AttributeGraph, FileRecord, Input, Manifest, ThresholdsRecord
from engines.provenance import Training
from engines.taxonomy import LEUKEMIA_ATTRI

FILES = {"detector.onnx": b"detector", "attributes.onnx": b"64", "attributes-4.onnx": b"4"}


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "attridet-n",
        "version": "0.0.1",
        "created": "2026-01-01T00:00:00Z",
        "licence": "Apache-2.0",
        "input": Input(hw=(640, 640)),
        "thresholds": ThresholdsRecord(confidence=0.25, iou=0.45, max_detections=300),
        "taxonomy": LEUKEMIA_ATTRI.to_dict(),
        "attribute_graphs": (
            AttributeGraph(file="attributes.onnx", regions=64),
            AttributeGraph(file="attributes-4.onnx", regions=4),
        ),
        "training": Training(data=(), seed=0, command=""),
        "intended_use": "tests",
        "must_not_be_used_for": ("diagnosis",),
        "files": {name: FileRecord(bytes=0, sha256="0" * 64) for name in FILES},
    }
    return Manifest(**{**fields, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "engine", manifest(), FILES, loose={"README.md": b"card"})
    return tmp_path / "engine"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}, indent=2))


def test_what_was_written_is_what_is_opened(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.taxonomy == LEUKEMIA_ATTRI
    assert bundle.manifest.input.hw == (640, 640)
    assert bundle.manifest.decode_thresholds.confidence == 0.25
    assert bundle.detector_path.read_bytes() == b"detector"
    assert bundle.attribute_graph() == (folder / "attributes-4.onnx", 4)
    assert bundle.attribute_graph(largest=True) == (folder / "attributes.onnx", 64)
    assert bundle.golden() is None
    assert (folder / "README.md").read_bytes() == b"card" and "README.md" not in bundle.manifest.files


def test_the_digest_is_the_identity(folder: Path, tmp_path: Path) -> None:
    digest = Bundle.open(folder).digest
    assert digest == write_bundle(tmp_path / "again", manifest(), FILES).digest
    other = manifest(thresholds=ThresholdsRecord(confidence=0.3, iou=0.45, max_detections=300))
    assert digest != write_bundle(tmp_path / "other", other, FILES).digest


def test_a_missing_folder_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: no such engine folder. Give the folder of a bundle"):
        Bundle.open(tmp_path / "nowhere")


def test_the_pixel_aspect_that_it_was_made_for_is_stated_and_one_where_nothing_is(folder: Path, tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "squares", manifest(pixel_aspect=0.56), FILES)
    assert Bundle.open(made.path).manifest.pixel_aspect == 0.56
    file = folder / "manifest.json"
    before = json.loads(file.read_text())
    assert before.pop("pixel_aspect") == 1
    file.write_text(json.dumps(before))  # as manifests were written before
    assert Bundle.open(folder).manifest.pixel_aspect == 1
    for wrong in (0, -1, "round"):
        file.write_text(json.dumps(before | {"pixel_aspect": wrong}))
        with pytest.raises(BundleError, match="pixel_aspect"):
            Bundle.open(folder)


@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: .*missing.* Copy the whole folder again"):
        Bundle.open(folder)


def test_an_altered_file_is_named(folder: Path) -> None:
    (folder / "attributes.onnx").write_bytes(b"46")
    with pytest.raises(BundleError, match=r"attributes\.onnx: altered or incomplete .*attridet export"):
        Bundle.open(folder)
    assert Bundle.open(folder, verify=False).manifest.name == "attridet-n"


def test_a_newer_schema_asks_for_a_newer_program(folder: Path) -> None:
    edit(folder, schema_version=SCHEMA_VERSION + 1, something_new=True)
    with pytest.raises(BundleError, match=rf"schema {SCHEMA_VERSION + 1}, this program reads up to {SCHEMA_VERSION}. Update"):
        Bundle.open(folder)


def test_the_first_schema_is_still_read(folder: Path) -> None:
    edit(folder, schema_version=1)
    manifest = Bundle.open(folder).manifest
    assert manifest.gate is None and manifest.gate_fault is None  # it is float


def test_malformed_json_is_reported_with_its_line(folder: Path) -> None:
    path = folder / "manifest.json"
    lines = path.read_text().splitlines()
    lines[4] = lines[4].replace(":", "")
    path.write_text("\n".join(lines))
    with pytest.raises(BundleError, match=r"manifest\.json, line 5: not JSON"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, r"line \d+: surprise: Extra inputs"),
        ({"input": {"hw": [600, 640], "scale_up": True}}, r"input.hw: .*multiples of 32, not 600x640"),
        ({"thresholds": {"confidence": 2.0, "iou": 0.5, "max_detections": 3}}, r"thresholds.confidence: .*less than 1"),
        ({"taxonomy": {"classes": ["None"]}}, r"taxonomy: .*lacks 'attributes'"),
        ({"detector_graph": "other.onnx"}, r"other.onnx is not among the files"),
    ],
)
def test_a_wrong_value_is_reported_with_key_and_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(folder)


def test_the_line_of_a_wrong_value_is_its_line(folder: Path) -> None:
    edit(folder, thresholds={"confidence": 2.0, "iou": 0.5, "max_detections": 3})
    number = next(i for i, line in enumerate((folder / "manifest.json").read_text().splitlines(), 1) if "confidence" in line)
    with pytest.raises(BundleError, match=rf"manifest\.json, line {number}: thresholds.confidence"):
        Bundle.open(folder)


def test_a_file_outside_the_folder_is_refused(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    edit(folder, files={**files, "../secret": {"bytes": 1, "sha256": "0" * 64}})
    with pytest.raises(BundleError, match="outside the folder"):
        Bundle.open(folder)


def test_an_existing_folder_is_replaced_only_when_asked(folder: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(folder, manifest(), FILES)
    assert write_bundle(folder, manifest(version="2"), FILES, replace=True).manifest.version == "2"
    assert [p.name for p in folder.parent.iterdir()] == ["engine"]


def test_a_failed_write_leaves_nothing_new(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.onnx"):
        write_bundle(folder, manifest(), {**FILES, "detector.onnx": folder / "gone.onnx"}, replace=True)
    assert Bundle.open(folder).manifest.version == "0.0.1"
    assert [p.name for p in folder.parent.iterdir()] == ["engine"]


def test_golden_answers_are_read_back(folder: Path) -> None:
    found = Detections(
        np.array([[1.5, 2, 3, 4]], np.float32), np.array([0.87654], np.float32), np.array([3]), np.full((1, 15), 0.5, np.float32)
    )
    ok = np.full((8, 8, 3), 7, np.uint8)
    png = cv2.imencode(".png", ok)[1].tobytes()
    files = {**FILES, "golden.png": png, GOLDEN_ANSWER: golden_answer(found)}
    golden = write_bundle(folder, manifest(), files, replace=True).golden()
    assert golden is not None
    image, answer = golden
    np.testing.assert_array_equal(image, ok)
    np.testing.assert_allclose(answer.boxes_px, found.boxes_px)
    np.testing.assert_allclose(answer.scores, found.scores, atol=1e-5)
    assert answer.classes.tolist() == [3] and answer.attributes.shape == (1, 15)
    broken = {**files, GOLDEN_ANSWER: b'{"scores": [1]}'}
    with pytest.raises(BundleError, match=r"golden\.json: malformed"):
        write_bundle(folder, manifest(), broken, replace=True).golden()


def test_an_unknown_zoo_name_lists_the_known(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    zoo = folder.parent
    folder.rename(zoo / "attridet-n")
    monkeypatch.setattr("engines.bundle.ZOO", zoo)
    assert resolve("zoo:attridet-n") == zoo / "attridet-n"
    assert resolve("some/where") == Path("some/where")
    with pytest.raises(BundleError, match=r"Did you mean zoo:attridet-n\? There are: zoo:attridet-n"):
        resolve("zoo:atridet-n")
