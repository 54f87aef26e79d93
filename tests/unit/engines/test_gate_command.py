"""`attridet gate` as a person meets it: verdict, exit code, what it keeps in the bundle and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import standin_plans
from onnx import numpy_helper
from told import told_split

from engines import build_plans as build_plans_module
from engines.build_plans import build_plans
from engines.bundle import MANIFEST, Bundle, write_bundle
from engines.cli import main
from engines.detections import Image
from engines.errors import BundleError, RuntimeUnavailableError
from engines.gate.record import write_record
from engines.gate.request import folder_and_split
from engines.manifest import GateRecord
from engines.runtime.factory import open_engine
from engines.taxonomy import LEUKEMIA_ATTRI

README = b"# The card\n"


def gated(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of one call."""
    monkeypatch.setattr(sys, "argv", ["attridet", "gate", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def film(bundle: Bundle, frame: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn field, labelled with what the bundle tells of it: its network is random, so no other truth would be found."""
    return told_split(tmp_path_factory.mktemp("data") / "film", bundle, frame)


def claimed(bundle: Bundle, folder: Path, damage: float = 0.0) -> Bundle:
    """The bundle as one that says int8: its detector another file, every weight of whose first layers is damaged by a share."""
    model = onnx.load(bundle.detector_path)
    model.doc_string = "another file of the same network"
    for weight in model.graph.initializer:
        if damage and weight.name.startswith(("model.0.", "model.1.")) and len(weight.dims) == 4:
            values = numpy_helper.to_array(weight)
            noise = np.random.default_rng(0).normal(1, damage, values.shape).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values * noise, weight.name))
    files: dict[str, bytes | Path] = {name: bundle.path / name for name in bundle.manifest.files}
    files[bundle.manifest.detector_graph] = model.SerializeToString()
    return write_bundle(folder, bundle.manifest.model_copy(update={"precision": "int8"}), files, loose={"README.md": README})


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != MANIFEST}


def test_a_passed_gate_lets_the_bundle_be_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    candidate = claimed(bundle, tmp_path / "int8")
    before = contents(candidate.path)
    with pytest.raises(BundleError, match="was never compared"):
        open_engine(candidate.path)
    options = ("--runtime", "onnx", "--page", tmp_path / "page", "--threads", 1)
    assert gated(monkeypatch, candidate.path, "--reference", bundle.path, "--data", film, *options) == 0
    kept = Bundle.open(candidate.path)
    assert contents(kept.path) == before and before["README.md"] == README
    record = kept.manifest.gate
    assert record is not None and record.passed and record.fault == "" and kept.digest != candidate.digest
    assert (record.reference, record.data, record.split, record.images) == (bundle.digest, "film", "val", 1)
    assert record.runtime.startswith("onnxruntime") and (record.map_loss_points, record.shift_px) == (0, 0)
    with open_engine(candidate.path) as engine:
        assert engine.info.digest == kept.digest
    printed = capsys.readouterr().out
    words = re.sub(r"\s+", " ", printed)
    assert f"digest is now {kept.digest[:8]} (was {candidate.digest[:8]})" in words and "Passed: mAP50-95 stays" in words
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines() if not line.startswith(("/", "written", "Passed")))
    assert (
        re.search(r"mAP50-95, COCO (\d+\.\d\d) \1 0\.00 1 ", words)
        and "\N{HORIZONTAL ELLIPSIS}" not in words
        and "not a diagnosis" in words
    )
    assert kept.digest in (tmp_path / "page/index.html").read_text(encoding="utf-8")


def test_a_weak_reference_ends_with_3_in_other_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    """The same picture with its labels turned round: what was told as a blast is labelled a neutrophil, all else a myeloblast."""
    turned = shutil.copytree(film, tmp_path / "turned")
    labels = json.loads((turned / "json_labels/val.json").read_text())
    for cell in labels["annotations"]:
        cell["category_id"] = 3 if LEUKEMIA_ATTRI.is_blast(cell["category_id"]) else 1
        cell["category_name"] = LEUKEMIA_ATTRI.classes[cell["category_id"]]
    (turned / "json_labels/val.json").write_text(json.dumps(labels))
    candidate = claimed(bundle, tmp_path / "int8")
    asked = (candidate.path, "--reference", bundle.path, "--data", turned, "--runtime", "onnx", "--threads", 1)
    assert gated(monkeypatch, *asked) == 3
    words = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "Passes against its reference; the reference tells no blast as a blast" in words and "Passed" not in words
    manifest = Bundle.open(candidate.path).manifest
    assert manifest.gate_fault is None and manifest.gate_caution.startswith("tells no blast as a blast")


def test_a_failed_gate_is_kept_too_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    candidate = claimed(bundle, tmp_path / "int8", damage=0.1)
    asked = (candidate.path, "--reference", bundle.path, "--data", f"{film}:val", "--runtime", "onnx", "--threads", 1)
    assert gated(monkeypatch, *asked) == 1
    record = Bundle.open(candidate.path).manifest.gate
    assert record is not None and not record.passed and record.map_loss_points > 2 and "mAP50-95 (COCO) falls by" in record.fault
    assert "golden picture" in record.fault and "Not passed: mAP50-95" in capsys.readouterr().out
    with pytest.raises(BundleError, match="did not pass its gate: mAP50-95"):
        open_engine(candidate.path)
    assert (
        gated(monkeypatch, *asked, "--map-points", 100, "--f1-points", 100, "--youden-points", 200, "--shift-px", 1000) == 1
    )  # the golden picture is left
    again = Bundle.open(candidate.path).manifest.gate
    assert again is not None and again.fault.startswith("the golden picture") and again.limits.shift_px == 1000


def test_on_a_board_the_candidate_runs_by_its_plans(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(build_plans_module, "kernel_for", lambda _arch: standin_plans.CUBIN)
    name, version, told = "tensorrt_rtx", "1.7.1", "TensorRT for RTX 1.7.1 on Stand-in"
    machine = standin_plans.machine(monkeypatch, name, version)
    candidate = claimed(bundle, tmp_path / "int8")
    build_plans(candidate, tmp_path / "plans", name)
    asked = (candidate.path, "--reference", bundle.path, "--data", film, "--runtime", name, "--threads", 1)
    machine.ran.clear()
    assert gated(monkeypatch, *asked, "--plans", tmp_path / "plans") == 0
    kept = Bundle.open(candidate.path)
    record = kept.manifest.gate
    assert machine.ran.count("execute") >= 2 and record is not None and record.passed and record.runtime.startswith(told)
    assert record.covers(name, "int8") and not record.covers("tensorrt", "int8")
    with open_engine(kept.path, name, plans=tmp_path / "plans", ungated=False):  # its plan still fits: the graphs are the same
        pass
    machine.bends = 0.5
    assert gated(monkeypatch, *asked, "--plans", tmp_path / "plans") == 1


def test_without_a_driver_or_a_plan_the_gate_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    candidate = claimed(bundle, tmp_path / "int8")
    asked = (candidate.path, "--reference", bundle.path, "--data", film, "--runtime", "tensorrt", "--plans", tmp_path / "none")

    def no_driver() -> None:
        raise RuntimeUnavailableError("there is no NVIDIA driver on this machine (libcuda.so.1).")

    with monkeypatch.context() as without:
        without.setattr("engines.runtime.tensorrt.driver.library", no_driver)
        assert gated(monkeypatch, *asked) == 2
        said = capsys.readouterr().err.strip()
        assert "no NVIDIA driver" in said and "\n" not in said
    standin_plans.machine(monkeypatch)
    assert gated(monkeypatch, *asked) == 2
    said = capsys.readouterr().err
    assert "has no plan of attridet-test int8 for this device" in said and "Run: attridet build" in said
    assert Bundle.open(candidate.path).digest == candidate.digest


def test_what_is_refused_is_named_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Bundle, film: Path, tmp_path: Path
) -> None:
    candidate = claimed(bundle, tmp_path / "int8")
    (tmp_path / "file").write_text("")
    for arguments, words in (
        ((candidate.path, "--reference", candidate.path, "--data", film), "was never compared"),
        ((bundle.path, "--reference", bundle.path, "--data", film), "is the reference itself"),
        ((tmp_path / "away", "--reference", bundle.path, "--data", film), "no such engine folder"),
        ((candidate.path, "--reference", bundle.path, "--data", f"{film}:train"), "no Images/train; splits there: val"),
        ((candidate.path, "--reference", bundle.path, "--data", film, "--runtime", "onyx"), "Did you mean 'onnx'?"),
        ((candidate.path, "--reference", bundle.path, "--data", film, "--page", candidate.path / "page"), "lies in the bundle"),
        ((candidate.path, "--reference", bundle.path, "--data", film, "--page", tmp_path / "file"), "a file of that name"),
    ):
        assert gated(monkeypatch, *arguments) == 2, words
        assert words in capsys.readouterr().err
    (candidate.path / "page").mkdir()
    assert gated(monkeypatch, candidate.path, "--reference", bundle.path, "--data", film) == 2
    assert "a bundle holds no folders" in capsys.readouterr().err
    assert Bundle.open(candidate.path).digest == candidate.digest


def test_a_bundle_changed_meanwhile_is_not_written_over(bundle: Bundle, tmp_path: Path) -> None:
    candidate = claimed(bundle, tmp_path / "int8")
    fields = {"reference": bundle.digest, "runtime": "r", "data": "d", "split": "s", "images": 1, "cells": 1}
    record = GateRecord(passed=True, **fields, map_loss_points=0.0, f1_loss_points=0.0, shift_px=0.0)
    first = write_record(candidate, record)
    assert first.manifest.gate == record.model_copy(update={"subject": first.manifest.subject})
    with pytest.raises(BundleError, match="was changed while it was being judged"):
        write_record(candidate, record)
    assert write_record(replace(first, path=first.path), record).digest == first.digest  # the same verdict is the same bundle


def test_folder_and_split(tmp_path: Path) -> None:
    assert folder_and_split("data/pbc") == (Path("data/pbc"), "val")
    assert folder_and_split("data/pbc:test") == (Path("data/pbc"), "test")
    (tmp_path / "a:b").mkdir()
    assert folder_and_split(f"{tmp_path}/a:b") == (tmp_path / "a:b", "val")
