"""The doctor tries real parts: the good is called good, the broken is named with the next step, and it reaches the last part."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from device.service.doctor import _review, examine, print_findings
from device.service.doctor_record import look
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, ReplayCamera, SimulatorCamera
from device.slide.model import Slide, SlideState
from device.store import Store
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.kept import keep
from tests.support.provenance import provenance
from tests.support.review import BEGUN, slide

MODEL = EngineInfo("attridet-n", "2.0.0", "4b" * 32, "onnxruntime CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)


def test_what_is_good(tmp_path: Path) -> None:
    config = Config(
        camera=SimulatorCamera(kind="simulator", width_px=640, height_px=360),
        device=DeviceSection(id="doctor", state_dir=tmp_path / "state"),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(enabled=False),
    )
    levels = {finding.part: finding.level for finding in examine(config)}
    assert levels.pop("Clock") in ("ok", "warn")  # this machine's own
    assert levels == {
        "Packages": "ok",
        "Camera": "ok",
        "Engine": "ok",
        "Calibration": "warn",
        "Quality": "ok",
        "Review": "ok",
        "Display": "ok",
        "Disk": "ok",
        "Record": "ok",
        "Broker": "ok",
        "Outbox": "ok",
    }


def test_slides_that_wait_for_their_review_are_counted(tmp_path: Path) -> None:
    config = Config(camera=ReplayCamera(kind="replay", source=str(tmp_path)), device=DeviceSection(id="doctor", state_dir=tmp_path))
    assert _review(config).seen == "no slide was counted here yet"
    with Store.open(config.record_path) as store:
        assert _review(config).seen == "no slide waits for its review"
        for day, state in ((3, SlideState.SIGNED), (4, SlideState.REVIEW), (5, SlideState.ABORTED), (6, SlideState.REVIEW)):
            begun = datetime(2026, 3, day, 9, 30, tzinfo=timezone.utc)
            begun_slide = Slide(f"202603{day:02d}-093000-4f9a2c", begun, specimen="H26-104311")
            store.start_slide(begun_slide, provenance(MODEL))
            store.close_slide(replace(begun_slide, state=state, finished_at=begun), None)
    found = _review(config)
    assert (found.level, found.seen) == ("ok", "2 slides wait for review, begun from 2026-03-04 on")
    assert "leukoscope slides" in found.next_step


def test_of_the_record_it_tells_damage_quarantine_backup_and_rights(tmp_path: Path) -> None:
    record = tmp_path / "record.sqlite"
    keep(record, slide(("Lymphocyte",) * 3))
    level, seen, step = look(record)
    assert (level, seen) == ("warn", "1 slide with 1 field read; no backup yet")
    assert step == "leukoscope backup FOLDER, best on another disk"
    with Store.open(record) as store:
        store.put_fact("backup_at", BEGUN.isoformat())
    assert look(record, BEGUN + timedelta(days=3)) == ("ok", "1 slide with 1 field read; last backup 3 days ago", "")
    assert "backup FOLDER" in look(record, BEGUN + timedelta(days=40))[2]
    with Store.open(record) as store:
        store.put_aside_row("message", "m1", "topic with a wildcard")
        store._db.execute("UPDATE cells SET score = 0.25 WHERE position = 1")
    record.chmod(0o644)
    level, seen, step = look(record, BEGUN)
    assert level == "fail"
    for words in ("1 DAMAGED", "field 1 is not as it was written", "1 put aside: message m1", "everybody on this machine may read it"):
        assert words in seen
    for words in ("leukoscope verify", "leukoscope restore", "leukoscope quarantine", "chmod o="):
        assert words in step


def test_a_large_record_is_read_as_far_as_there_is_time(tmp_path: Path) -> None:
    record = tmp_path / "record.sqlite"
    keep(record, slide(("Lymphocyte",) * 3))
    assert "1 older slide not read, for want of time" in look(record, BEGUN, limit_s=-1.0)[1]


def test_what_is_broken_is_named_and_the_rest_is_still_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    config = Config(
        camera=ReplayCamera(kind="replay", source=str(tmp_path / "nowhere")),
        device=DeviceSection(id="doctor", state_dir=tmp_path / "state"),
        engine=EngineSection(bundle=str(tmp_path / "no-bundle")),
        display=DisplaySection(kind="screen"),
        broker=BrokerSection(host="127.0.0.1", port=9),
    )
    findings = {finding.part: finding for finding in examine(config)}
    assert [part for part, finding in findings.items() if finding.level == "fail"] == ["Camera", "Engine", "Display", "Broker"]
    assert "nowhere" in findings["Camera"].seen and findings["Camera"].next_step
    assert "no-bundle" in findings["Engine"].seen
    assert "127.0.0.1:9" in findings["Broker"].seen and "start it" in findings["Broker"].next_step
    console = Console(record=True, width=120)
    assert not print_findings(list(findings.values()), console)
    assert "nowhere" in console.export_text()
