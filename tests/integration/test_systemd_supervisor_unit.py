"""The supervisor's unit, read by systemd's own tools; nothing is started here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from device.cli import app
from device.supervise_command import default_database
from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT = SYSTEMD / "leukoscope-supervisor.service"

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    assert complaints(UNIT.name, UNIT.read_text(), tmp_path) == []


@needs_analyze
def test_it_is_closed_off(tmp_path: Path) -> None:
    check_closed_off(UNIT, tmp_path, threshold=15)


def test_it_starts_the_command_there_is_as_a_user_that_is_made_and_keeps_its_database_where_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = settings(UNIT)["Service"]
    assert shlex.split(service["ExecStart"]) == ["/usr/bin/leukoscope", "supervise", "$SUPERVISE_OPTIONS"]
    app.parse_args(["supervise"], exit_on_error=False)
    assert re.search(rf"^u {service['User']} ", (SYSTEMD / "leukoscope.sysusers").read_text(), re.M)
    assert service["RestartPreventExitStatus"] == "2"
    monkeypatch.setenv("STATE_DIRECTORY", f"/var/lib/{service['StateDirectory']}")
    assert default_database() == "sqlite:////var/lib/leukoscope-supervisor/supervisor.sqlite"
