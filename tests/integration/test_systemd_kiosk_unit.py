"""The units of the screen, read by systemd's own tools; under a real compositor they are tried in tests/box."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT, PATH = SYSTEMD / "leukoscope-kiosk.service", SYSTEMD / "leukoscope-kiosk.path"

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("=/usr/bin/cage -d", "=/bin/true -d")
    assert complaints(UNIT.name, text, tmp_path) == []
    assert complaints(PATH.name, PATH.read_text(), tmp_path) == []
    assert "Restrat" in "".join(complaints(UNIT.name, text.replace("Restart=", "Restrat="), tmp_path))


@needs_analyze
def test_the_screen_is_closed_off_further_than_the_daemon(tmp_path: Path) -> None:
    check_closed_off(UNIT, tmp_path, threshold=11)


def test_what_the_daemon_and_the_field_team_rely_on() -> None:
    service, daemon = settings(UNIT)["Service"], settings(SYSTEMD / "leukoscope.service")
    assert service["Restart"] == "always" and settings(UNIT)["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["User"] == "kiosk" and service["UMask"] == "0007" and service["RuntimeDirectoryMode"] == "0750"
    folder = f"/run/{service['RuntimeDirectory']}"
    assert f"WAYLAND_DISPLAY={folder}/wayland-0" in (SYSTEMD / "leukoscope.service").read_text()
    assert f"XDG_RUNTIME_DIR={folder} " in UNIT.read_text()
    assert UNIT.name in daemon["Unit"]["After"] and "Requires" not in daemon["Unit"], "a box without a screen counts"
    assert settings(PATH)["Path"]["PathExistsGlob"] == "/dev/dri/card*"
    assert "Install" not in settings(UNIT), "the path unit starts it where there is a card"
    assert "m leukoscope kiosk\n" in (SYSTEMD / "leukoscope.sysusers").read_text()
    assert daemon["Service"]["ReadWritePaths"] == "-/run/leukoscope-boot"
