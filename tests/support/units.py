"""The shipped systemd units as systemd's own tools read them; nothing is started."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian package systemd)")


def settings(unit: Path) -> ConfigParser:
    """Its sections and keys."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case: configparser's documented way
    parser.read(unit)
    return parser


def complaints(name: str, text: str, folder: Path, drop_in: tuple[str, str] | None = None) -> list[str]:
    """What `systemd-analyze verify` says of a unit of this name; drop_in: name and text.

    Our programs are not installed here, so the copy in `folder` starts another one.
    """
    unit = folder / name
    unit.write_text(re.sub("=/usr/bin/(leukoscope|attridet) ", "=/bin/true ", text))
    if drop_in is not None:
        (folder / f"{name}.d").mkdir()
        (folder / f"{name}.d" / drop_in[0]).write_text(drop_in[1])
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in (run.stdout + run.stderr).splitlines() if "leukoscope" in line]  # other units of this machine apart
    return said if run.returncode == 0 or said else [f"exit code {run.returncode}: {run.stderr}"]


def check_closed_off(unit: Path, folder: Path, threshold: int) -> None:
    """`systemd-analyze security` rates it at most so (tenths of its points), or the test fails."""
    copy = folder / unit.name
    shutil.copy(unit, copy)
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={threshold}", str(copy)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not loaded (needs 250)")
    assert run.returncode == 0, run.stdout[-400:] + run.stderr
