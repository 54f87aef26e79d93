"""The units of updates, read by systemd's own tools."""

from __future__ import annotations

import os
import re
import subprocess
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


@needs_analyze
@pytest.mark.parametrize(("more", "cycle"), [("", False), ("After=late.service\n", True)])
def test_the_judgement_closes_no_ordering_cycle_with_multi_user_target(tmp_path: Path, more: str, cycle: bool) -> None:
    text = (SYSTEMD / "leukoscope-good.service").read_text()
    (tmp_path / "multi-user.target.wants").mkdir()
    for name, content in (("leukoscope-good.service", text), ("leukoscope.service", (SYSTEMD / "leukoscope.service").read_text())):
        changed = content.replace("[Unit]\n", f"[Unit]\n{more if 'good' in name else ''}", 1)
        (tmp_path / name).write_text(re.sub("=/usr/bin/leukoscope ", "=/bin/true ", changed))
        (tmp_path / "multi-user.target.wants" / name).symlink_to(tmp_path / name)
    (tmp_path / "late.service").write_text("[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/bin/true\n")
    (tmp_path / "multi-user.target.wants" / "late.service").symlink_to(tmp_path / "late.service")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "multi-user.target"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    assert ("ordering cycle" in said) == cycle, said
    assert cycle or "leukoscope-good" not in said
