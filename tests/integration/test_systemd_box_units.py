"""The units of root's around the daemon on a box, read by systemd's own tools; nothing is started here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from device.box.progress import FOLDER
from device.box.provisioning import Places
from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

pytestmark = pytest.mark.integration


@needs_analyze
@pytest.mark.parametrize(("name", "threshold"), [("leukoscope-provision.service", 25), ("leukoscope-support-bundle.service", 55)])
def test_verify_has_nothing_to_say(tmp_path: Path, name: str, threshold: int) -> None:
    unit = SYSTEMD / name
    assert complaints(name, unit.read_text().replace("=/usr/bin/leukoscope", "=/bin/true"), tmp_path) == []
    check_closed_off(unit, tmp_path, threshold=threshold)


def test_settings_come_before_the_daemon_and_hold_it_up_for_a_while_only() -> None:
    unit = settings(SYSTEMD / "leukoscope-provision.service")
    assert "leukoscope.service" in unit["Unit"]["Before"]
    assert 0 < int(unit["Service"]["TimeoutStartSec"]) <= 90
    assert "RemainAfterExit" not in unit["Service"], "a stick that comes later would not be looked at"
    assert settings(SYSTEMD / "leukoscope-stick.service")["Unit"]["OnSuccess"] == "leukoscope-provision.service"


def test_a_request_of_the_screens_is_answered() -> None:
    path = settings(SYSTEMD / "leukoscope-support-bundle.path")["Path"]["PathExists"]
    words = shlex.split(settings(SYSTEMD / "leukoscope-support-bundle.service")["Service"]["ExecStart"])
    assert path == "/run/leukoscope/requests/support-bundle.json"
    assert words == ["/usr/bin/leukoscope", "box", "support-bundle"]


def test_settings_are_written_to_their_places_only() -> None:
    """All that provisioning writes lies below a folder that the unit may write."""
    service = settings(SYSTEMD / "leukoscope-provision.service")["Service"]
    writable = [Path(each.removeprefix("-")) for each in service["ReadWritePaths"].split()]
    places = Places()
    written = (
        places.config,
        places.receipts,
        places.localtime,
        places.boot_partition,
        FOLDER,
        Path("/var/lib/systemd/credential.secret"),
    )
    assert service["ProtectSystem"] == "strict"
    assert [each for each in (*written, Path("/data/etc/localtime")) if not any(each.is_relative_to(root) for root in writable)] == []


@pytest.mark.parametrize("name", ["leukoscope-provision.service", "leukoscope-support-bundle.service"])
def test_sticks_are_not_closed_off_with_the_clock(name: str) -> None:
    """ProtectClock allows the clock's device, and thereby forbids all that are not named."""
    assert "DeviceAllow=block-* rw\n" in (SYSTEMD / name).read_text()
