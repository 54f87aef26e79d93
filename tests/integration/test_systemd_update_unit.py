"""The units of updates, read by systemd's own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.units import SYSTEMD, complaints, needs_analyze, settings

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    unit = SYSTEMD / "leukoscope-update.service"
    assert complaints(unit.name, unit.read_text().replace("=/usr/bin/leukoscope", "=/bin/true"), tmp_path) == []


def test_a_request_starts_it_and_the_mounted_stick_is_seen_by_rauc() -> None:
    path, service = (settings(SYSTEMD / f"leukoscope-update.{kind}") for kind in ("path", "service"))
    assert path["Path"]["PathExists"] == "/run/leukoscope/requests/update.json"
    for name in ("PrivateMounts", "PrivateTmp", "ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateDevices"):
        assert name not in service["Service"], f"{name} would hide the stick from RAUC's service"
