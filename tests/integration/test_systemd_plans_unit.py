"""The unit that compiles plans before the daemon starts, read by systemd's own tools; nothing is started here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from engines.commands.build import APPLIANCE_PLANS, RUNTIMES, BuildRequest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = SYSTEMD / "leukoscope-plans.service"

pytestmark = pytest.mark.integration

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian package systemd)")


def settings(unit: Path = UNIT) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case: configparser's documented way
    parser.read(unit)
    return parser


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=/opt/leukoscope/bin/attridet ", "ExecStart=/bin/true "))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    assert [line for line in (run.stdout + run.stderr).splitlines() if "leukoscope" in line] == []


@needs_analyze
def test_it_is_closed_off_as_far_as_a_gpu_allows(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    shutil.copy(UNIT, copy)
    command_line = ["systemd-analyze", "security", "--offline=yes", "--threshold=25", str(copy)]
    run = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not loaded (needs 250)")
    assert run.returncode == 0, run.stdout[-400:] + run.stderr


def test_what_it_starts_is_the_command_there_is() -> None:
    """Options by their names, values by the defaults that the unit itself sets."""
    text = UNIT.read_text()
    values = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    words = [re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], word) for word in shlex.split(settings()["Service"]["ExecStart"])]
    assert words[:2] == ["/opt/leukoscope/bin/attridet", "build"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert set(options) == {"--plans", "--runtime"} and {name[2:] for name in options} <= set(BuildRequest.__annotations__)
    assert options["--plans"] == str(APPLIANCE_PLANS) and options["--runtime"] in RUNTIMES


def test_the_daemon_waits_for_it_but_starts_without_it() -> None:
    unit, daemon = settings(), settings(SYSTEMD / "leukoscope.service")
    assert unit["Unit"]["Before"] == "leukoscope.service"
    assert unit["Install"]["WantedBy"] == "leukoscope.service"  # wanted and not required
    assert "leukoscope-plans" not in daemon["Unit"].get("Requires", "")
    assert unit["Service"]["User"] == daemon["Service"]["User"]
    assert unit["Service"]["StateDirectory"] == daemon["Service"]["StateDirectory"] == "leukoscope"
    assert int(unit["Service"]["TimeoutStartSec"]) >= 1800


@pytest.mark.parametrize("key", ["MemoryDenyWriteExecute", "PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock"])
def test_nothing_hides_the_gpu(key: str) -> None:
    assert key not in settings()["Service"]
