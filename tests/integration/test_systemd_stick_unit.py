"""The unit that looks at sticks and the rule that starts it, read by systemd's own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT, RULE = SYSTEMD / "leukoscope-stick.service", SYSTEMD / "80-leukoscope-stick.rules"

pytestmark = pytest.mark.integration


@needs_analyze
def test_verify_has_nothing_to_say_and_it_is_closed_off(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("=/usr/bin/leukoscope", "=/bin/true")
    assert complaints(UNIT.name, text, tmp_path) == []
    check_closed_off(UNIT, tmp_path, threshold=40)


def test_the_rule_starts_the_unit_without_waiting() -> None:
    lines = [line for line in RULE.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 1 and lines[0].endswith(f'RUN+="/bin/systemctl --no-block start {UNIT.name}"')
    assert "remove" in lines[0], "a stick that is gone is told too"
    service = settings(UNIT)["Service"]
    assert service["Type"] == "oneshot" and service["PrivateMounts"] == "yes" and service["DeviceAllow"] == "block-* r"
    assert "Install" not in settings(UNIT), "the rule starts it"
