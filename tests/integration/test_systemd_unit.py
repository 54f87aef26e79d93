"""The systemd unit and its companions, read by systemd's own tools; no service is started here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from device.app import _SETTLE_S
from tests.support.units import SYSTEMD, check_closed_off, complaints, needs_analyze, settings

UNIT = SYSTEMD / "leukoscope.service"
GROWING = SYSTEMD / "leukoscope.service.d" / "10-growing-pauses.conf"

pytestmark = pytest.mark.integration

needs_sysusers = pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs systemd-sysusers (Debian package systemd)")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to another user")


def systemd_version() -> int:
    told = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"systemd (\d+)", told)
    assert match, told
    return int(match[1])


@needs_analyze
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    assert complaints(UNIT.name, UNIT.read_text(), tmp_path) == []


@needs_analyze
def test_verify_sees_a_wrong_key_and_a_missing_program(tmp_path: Path) -> None:
    """Its exit code is 0 for an unknown key, so the test above reads its words."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert "WatchdogSecs" in "".join(complaints(UNIT.name, UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs="), tmp_path / "a"))
    assert "not executable" in "".join(
        complaints(UNIT.name, UNIT.read_text().replace("ExecStart=/usr", "ExecStart=/nowhere"), tmp_path / "b")
    )


def test_a_reload_first_asks_whether_the_configuration_can_be_used() -> None:
    reload = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecReload=")]
    assert reload == [
        "ExecReload=/usr/bin/leukoscope check-config /etc/leukoscope/device.yaml",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ]


@needs_analyze
def test_growing_pauses_are_known_to_systemd_254_and_named_once_by_older_ones(tmp_path: Path) -> None:
    said = complaints(UNIT.name, UNIT.read_text(), tmp_path, (GROWING.name, GROWING.read_text()))
    if systemd_version() >= 254:
        assert said == []
    else:
        assert len(said) == 2
        assert "RestartSteps" in said[0]
        assert "RestartMaxDelaySec" in said[1]


@needs_analyze
def test_the_service_is_closed_off_as_far_as_its_hardware_allows(tmp_path: Path) -> None:
    check_closed_off(UNIT, tmp_path, threshold=20)


def test_what_the_daemon_relies_on() -> None:
    service = settings(UNIT)["Service"]
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "30"
    assert service["Restart"] == "always"
    assert "RestartPreventExitStatus" not in service, "a clinic has nobody who starts it again"
    assert settings(UNIT)["Unit"]["StartLimitIntervalSec"] == "0"
    assert int(service["TimeoutStopSec"]) > _SETTLE_S + 15, "what a full disk refuses, then broker and devices"
    assert service["DeviceAllow"] == "char-* rw", "ProtectClock alone would close camera and GPU"
    assert service["User"] == "leukoscope"
    assert set(service["SupplementaryGroups"].split()) == {"video", "input", "render"}
    assert service["ExecStart"] == "/usr/bin/leukoscope run --config /etc/leukoscope/device.yaml --wait-for-devices"
    assert "Environment=ORT_DISABLE_TELEMETRY=1\n" in UNIT.read_text()
    assert f"/var/lib/{service['StateDirectory']}" == "/var/lib/leukoscope"  # the configuration's default state_dir


@pytest.mark.parametrize(
    "key",
    [
        "MemoryDenyWriteExecute",  # CUDA, TensorRT, Qt
        "PrivateDevices",
        "DevicePolicy",
        "PrivateTmp",  # the X server's socket
        "PrivateNetwork",
    ],
)
def test_nothing_hides_camera_gpu_screen_or_broker(key: str) -> None:
    assert key not in settings(UNIT)["Service"]


@needs_sysusers
def test_the_user_and_its_groups_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "leukoscope.sysusers")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    groups = {line.split(":")[0]: line.split(":")[3].split(",") for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert all("leukoscope" in groups[name] for name in ("video", "input", "render"))
    assert "leukoscope:x:" in (tmp_path / "etc/passwd").read_text()


@needs_sysusers
@needs_root
def test_only_the_service_may_read_the_brokers_password(tmp_path: Path) -> None:
    secret = tmp_path / "etc/leukoscope/broker.password"
    secret.parent.mkdir(parents=True)
    secret.write_text("hunter2")
    secret.chmod(0o644)
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "leukoscope.sysusers")], capture_output=True, check=True)
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(SYSTEMD / "leukoscope.tmpfiles")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    group = next(line for line in (tmp_path / "etc/group").read_text().splitlines() if line.startswith("leukoscope:"))
    assert secret.stat().st_mode & 0o777 == 0o640
    assert secret.stat().st_gid == int(group.split(":")[2])


@needs_analyze
def test_verify_has_nothing_to_say_about_the_lines_for_credentials(tmp_path: Path) -> None:
    text = (SYSTEMD / "leukoscope.service.d" / "30-credentials.conf").read_text()
    assert not [line for line in text.splitlines() if line and not line.startswith(("#", "["))], (
        "nothing is switched on by installing it"
    )
    used = re.sub(r"^#(LoadCredential\w*=)", r"\1", text, flags=re.MULTILINE)
    assert used.count("\nLoadCredential") == 3
    if systemd_version() < 250:
        used = re.sub(r"^LoadCredentialEncrypted=.*\n", "", used, flags=re.MULTILINE)
    assert complaints(UNIT.name, UNIT.read_text(), tmp_path, (GROWING.name, used)) == []
