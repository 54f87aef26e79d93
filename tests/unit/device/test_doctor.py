"""The doctor tries real parts: the good is called good, the broken is named with the next step, and it reaches the last part."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from device.service.doctor import examine, print_findings
from device.settings.config import BrokerSection, Config, DeviceSection, DisplaySection, EngineSection, ReplayCamera, SimulatorCamera


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
        "Camera": "ok",
        "Engine": "ok",
        "Calibration": "warn",
        "Quality": "ok",
        "Display": "ok",
        "Disk": "ok",
        "Broker": "ok",
    }


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
