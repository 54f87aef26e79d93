"""The unit that compiles plans while the daemon counts on the processor, read by systemd's own tools; nothing is started here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from engines.commands.build import BuildRequest
from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT = SYSTEMD / "leukoscope-plans.service"

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    assert complaints(UNIT.name, UNIT.read_text(), tmp_path) == []


@needs_analyze
def test_it_is_closed_off_as_far_as_a_gpu_allows(tmp_path: Path) -> None:
    check_closed_off(UNIT, tmp_path, threshold=15)


def test_what_it_starts_is_the_command_there_is() -> None:
    words = shlex.split(settings(UNIT)["Service"]["ExecStart"])
    assert words[:2] == ["/usr/bin/attridet", "build"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options == {"--config": "/etc/leukoscope/device.yaml", "--progress": "/run/leukoscope-boot/engine.json"}
    assert {name[2:] for name in options} <= set(BuildRequest.__annotations__)


def test_the_configuration_alone_says_what_is_built() -> None:
    assert "Environment" not in settings(UNIT)["Service"] and "EnvironmentFile" not in settings(UNIT)["Service"]
    assert settings(SYSTEMD / "leukoscope.service")["Service"]["ExecStart"].split()[2:4] == ["--config", "/etc/leukoscope/device.yaml"]


def test_the_daemon_does_not_wait_for_it() -> None:
    unit, daemon = settings(UNIT), settings(SYSTEMD / "leukoscope.service")
    assert "leukoscope.service" not in unit["Unit"].get("Before", "") and "leukoscope-plans" not in daemon["Unit"].get("After", "")
    assert unit["Install"]["WantedBy"] == "leukoscope.service"  # wanted and not required
    assert "leukoscope-plans" not in daemon["Unit"].get("Requires", "")
    assert unit["Service"]["User"] == daemon["Service"]["User"]
    assert unit["Service"]["StateDirectory"] == daemon["Service"]["StateDirectory"] == "leukoscope"
    assert int(unit["Service"]["TimeoutStartSec"]) >= 1800


@pytest.mark.parametrize("key", ["MemoryDenyWriteExecute", "PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock"])
def test_nothing_hides_the_gpu(key: str) -> None:
    assert key not in settings(UNIT)["Service"]
