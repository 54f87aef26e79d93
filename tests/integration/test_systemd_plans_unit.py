"""The unit that compiles plans before the daemon starts, read by systemd's own tools; nothing is started here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from engines.commands.build import APPLIANCE_PLANS, RUNTIMES, BuildRequest
from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT = SYSTEMD / "leukoscope-plans.service"

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    assert complaints(UNIT.name, UNIT.read_text(), tmp_path) == []


@needs_analyze
def test_it_is_closed_off_as_far_as_a_gpu_allows(tmp_path: Path) -> None:
    check_closed_off(UNIT, tmp_path, threshold=25)


def test_what_it_starts_is_the_command_there_is() -> None:
    """Options by their names, values by the defaults that the unit itself sets."""
    text = UNIT.read_text()
    values = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    words = [re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], word) for word in shlex.split(settings(UNIT)["Service"]["ExecStart"])]
    assert words[:2] == ["/usr/bin/attridet", "build"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert set(options) == {"--plans", "--runtime"} and {name[2:] for name in options} <= set(BuildRequest.__annotations__)
    assert options["--plans"] == str(APPLIANCE_PLANS) and options["--runtime"] in RUNTIMES


def test_the_daemon_waits_for_it_but_starts_without_it() -> None:
    unit, daemon = settings(UNIT), settings(SYSTEMD / "leukoscope.service")
    assert unit["Unit"]["Before"] == "leukoscope.service"
    assert unit["Install"]["WantedBy"] == "leukoscope.service"  # wanted and not required
    assert "leukoscope-plans" not in daemon["Unit"].get("Requires", "")
    assert unit["Service"]["User"] == daemon["Service"]["User"]
    assert unit["Service"]["StateDirectory"] == daemon["Service"]["StateDirectory"] == "leukoscope"
    assert int(unit["Service"]["TimeoutStartSec"]) >= 1800


@pytest.mark.parametrize("key", ["MemoryDenyWriteExecute", "PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock"])
def test_nothing_hides_the_gpu(key: str) -> None:
    assert key not in settings(UNIT)["Service"]
