"""The supervisor's unit, read by systemd's own tools; nothing is started here."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from device.cli import app
from device.supervise_command import default_database

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = SYSTEMD / "leukoscope-supervisor.service"

pytestmark = pytest.mark.integration

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian package systemd)")


def settings() -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case: configparser's documented way
    parser.read(UNIT)
    return parser


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=/opt/leukoscope/bin/leukoscope ", "ExecStart=/bin/true "))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    assert [line for line in (run.stdout + run.stderr).splitlines() if "leukoscope" in line] == []


@needs_analyze
def test_it_is_closed_off(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    shutil.copy(UNIT, copy)
    command_line = ["systemd-analyze", "security", "--offline=yes", "--threshold=15", str(copy)]
    run = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not loaded (needs 250)")
    assert run.returncode == 0, run.stdout[-400:] + run.stderr


def test_it_starts_the_command_there_is_as_a_user_that_is_made_and_keeps_its_database_where_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = settings()["Service"]
    assert shlex.split(service["ExecStart"]) == ["/opt/leukoscope/bin/leukoscope", "supervise", "$SUPERVISE_OPTIONS"]
    app.parse_args(["supervise"], exit_on_error=False)
    assert re.search(rf"^u {service['User']} ", (SYSTEMD / "leukoscope.sysusers").read_text(), re.M)
    assert service["RestartPreventExitStatus"] == "2"
    monkeypatch.setenv("STATE_DIRECTORY", f"/var/lib/{service['StateDirectory']}")
    assert default_database() == "sqlite:////var/lib/leukoscope-supervisor/supervisor.sqlite"
