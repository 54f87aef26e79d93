"""The units that restart a box, read by systemd's own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.box.restart import REQUEST
from device.desk.service_room import Places
from systemd.image.root import OURS
from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT, PATH = SYSTEMD / "leukoscope-restart.service", SYSTEMD / "leukoscope-restart.path"

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say_and_it_is_closed_off(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("=/usr/bin/leukoscope", "=/bin/true")
    assert complaints(UNIT.name, text, tmp_path) == []
    check_closed_off(UNIT, tmp_path, threshold=30)


def test_the_path_waits_for_what_the_service_page_writes() -> None:
    assert settings(PATH)["Path"]["PathExists"] == str(REQUEST) == str(Places().requests / "restart.json")
    assert settings(PATH)["Path"]["Unit"] == UNIT.name and PATH.name in OURS and "Install" not in settings(UNIT)
