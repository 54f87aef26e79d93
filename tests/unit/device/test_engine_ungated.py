"""An engine that passed no gate: refused, or, where the configuration says so, run with a warning on screen, log, status and doctor."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from device.app import run
from device.display.base import PartState
from device.pipeline import Pipeline
from device.rounds import Round
from device.service.doctor import examine
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, SimulatorCamera, SlideSection
from device.view import EngineStatus, engine_lamp, part_status
from engines.bundle import ZOO, Bundle, resolve, write_bundle
from engines.errors import BundleError

FAULT = "is int8 and was never compared with the float engine it was made from"


@pytest.fixture(scope="module")
def ungated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped float graphs under a manifest that calls them INT8, without a gate."""
    folder, source = tmp_path_factory.mktemp("ungated"), ZOO / "attridet-n"
    manifest = json.loads((source / "manifest.json").read_text()) | {"precision": "int8"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for name in manifest["files"]:
        (folder / name).symlink_to(source / name)
    assert Bundle.open(folder).manifest.gate_fault == FAULT
    return folder


def config_of(bundle: Path, state: Path, *, ungated: bool) -> Config:
    return Config(
        camera=SimulatorCamera(kind="simulator", width_px=640, height_px=360, fields=1, fps=120),
        device=DeviceSection(id="trial", state_dir=state),
        engine=EngineSection(bundle=str(bundle), runtime="onnx", ungated=ungated),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(enabled=False),
        slide=SlideSection(auto_start=True),
    )


def test_it_is_refused_unless_told_otherwise(ungated: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"{FAULT}.*attridet gate.*engine\\.ungated: true"):
        run(config_of(ungated, tmp_path, ungated=False), signals=False)
    finding = next(f for f in examine(config_of(ungated, tmp_path, ungated=False)) if f.part == "Engine")
    assert finding.level == "fail" and FAULT in finding.seen


def test_it_is_run_loudly_where_told_so(ungated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lamps = []

    def look(done: Round, pipeline: Pipeline) -> None:
        lamps.append(pipeline.lamps[1])

    with caplog.at_level(logging.WARNING):
        run(config_of(ungated, tmp_path, ungated=True), each_round=look, signals=False)
    assert lamps and all((lamp.level, lamp.text) == ("warn", "engine not gated, for trials only") for lamp in lamps)
    assert any(FAULT in record.getMessage() and "engine.ungated" in record.getMessage() for record in caplog.records)


def test_the_doctor_says_it(ungated: Path, tmp_path: Path) -> None:
    finding = next(f for f in examine(config_of(ungated, tmp_path, ungated=True)) if f.part == "Engine")
    assert finding.level == "warn"
    assert FAULT in finding.seen and "attridet gate" in finding.next_step


def test_the_status_says_why() -> None:
    lamp = engine_lamp(EngineStatus(frames=3, median_ms=40, fps=12, ungated=True))
    assert part_status(lamp, FAULT).text == f"engine not gated, for trials only: {FAULT}"
    assert engine_lamp(EngineStatus(frames=3, failures=1, failing="no", ungated=True)).level == "fail"  # the worse one is shown
    assert engine_lamp(EngineStatus(frames=3)).level == "ok"
    foreign = engine_lamp(EngineStatus(frames=3, foreign=True))
    assert (foreign.level, foreign.text) == ("warn", "foreign film, groups only")
    assert engine_lamp(EngineStatus(frames=3, foreign=True, unnamed=True)).level == "fail"


def test_the_lamp_says_the_worst_first() -> None:
    strange = EngineStatus(frames=3, non_finite=1, unchecked="no golden picture", foreign=True)
    assert (engine_lamp(strange).level, engine_lamp(strange).text) == ("warn", "1 value without meaning")
    assert engine_lamp(replace(strange, waits_s=3.4, failing="no")).text == "no answer for 3 s"
    assert engine_lamp(replace(strange, failures=2, failing="no")).text == "failing, 2 frames not read"
    unchecked = engine_lamp(EngineStatus(unchecked="no golden picture: the engine cannot be checked"))
    assert (unchecked.level, unchecked.text) == ("warn", "no golden picture, cannot be checked")


def test_a_bundle_without_a_golden_picture_is_told_by_run_lamp_and_doctor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle.open(resolve("zoo:attridet-n"))
    files: dict[str, bytes | Path] = {name: bundle.path / name for name in bundle.manifest.files if not name.startswith("golden")}
    write_bundle(tmp_path / "unchecked", bundle.manifest, files)
    lamps: list[PartState] = []

    def look(done: Round, pipeline: Pipeline) -> None:
        lamps.append(pipeline.lamps[1])

    config = config_of(tmp_path / "unchecked", tmp_path, ungated=False)
    with caplog.at_level(logging.WARNING):
        run(config, each_round=look, signals=False)
    assert lamps and all(lamp.level == "warn" and "no golden picture" in lamp.text for lamp in lamps)
    assert sum("has no golden picture" in record.getMessage() for record in caplog.records) == 1
    finding = next(f for f in examine(config) if f.part == "Engine")
    assert finding.level == "warn" and "no golden picture" in finding.seen
