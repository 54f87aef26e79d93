"""dpkg killed at any moment: a version that starts is there, and the next dpkg completes; one package in the other's place."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from systemd.package.build import build
from tests.box.conftest import ROOT, Chroot
from tests.box.test_deb import configured, renumbered

log = logging.getLogger(__name__)

CUTS = int(os.environ.get("LEUKOSCOPE_CUTS", "6"))
"""How many moments of an upgrade are cut; one costs about half a minute."""


def cut(box: Chroot, when: float | Callable[[], bool], *words: str) -> str:
    """Start a command, kill all of it after so many seconds or once `when()` holds; what dpkg then says of the package."""
    running = subprocess.Popen(box.command(*words), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + (when if isinstance(when, float) else 300)
    while time.monotonic() < end and running.poll() is None and not (callable(when) and when()):
        time.sleep(0.05)
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    return box.run("dpkg-query", "-W", "-f", "${Package} ${Status}\n", "leukoscope*").stdout


def starts(box: Chroot, config: str) -> bool:
    """Whether the commands of the package work."""
    told = box.run("leukoscope", "--version", check=False).stdout
    return told.startswith("leukoscope ") and box.run("leukoscope", "check-config", config, check=False).returncode == 0


def venvs(box: Chroot) -> int:
    return len(list((box.folder / "opt/leukoscope/venvs").iterdir()))


def test_a_cut_at_any_moment_of_an_upgrade_leaves_a_version_that_starts(installed: Chroot, deb: Path, tmp_path: Path) -> None:
    config = configured(installed)
    following = installed.put(renumbered(deb, tmp_path, "99.3"), "next.deb")
    installed.run("dpkg", "-i", following)
    started = time.monotonic()
    installed.run("dpkg", "-i", following)  # the second time, as the ones that are cut
    whole_s = time.monotonic() - started
    seen = set()
    for number in range(CUTS):
        cut_s = whole_s * (number + 0.5) / CUTS
        status = cut(installed, cut_s, "dpkg", "-i", following)
        seen.add(status)
        log.info("cut at %.1f of %.1f s: %s", cut_s, whole_s, status)
        assert starts(installed, config), status
    assert len(seen) > 1, "every cut fell into the same state: none was in the middle"
    installed.run("dpkg", "--configure", "-a")
    installed.run("dpkg", "-i", following)
    assert venvs(installed) == 1


def test_the_cuts_would_see_a_package_that_removes_the_old_version_first(installed: Chroot, deb: Path, tmp_path: Path) -> None:
    config = configured(installed)
    bad = installed.put(renumbered(deb, tmp_path, "99.4", "#!/bin/sh\nrm -rf /opt/leukoscope\n"), "bad.deb")
    assert starts(installed, config)
    cut(installed, lambda: not (installed.folder / "opt/leukoscope").exists(), "dpkg", "-i", bad)
    assert not starts(installed, config)


@pytest.mark.parametrize("gone", ["usr/bin/leukoscope", "opt/leukoscope/current"])
def test_a_removal_that_was_cut_off_is_completed_or_taken_back(installed: Chroot, gone: str) -> None:
    config = installed.folder / configured(installed).lstrip("/")
    cut(
        installed,
        lambda: not (installed.folder / gone).is_symlink() and not (installed.folder / gone).exists(),
        "dpkg",
        "-r",
        "leukoscope",
    )
    if gone == "usr/bin/leukoscope":
        installed.run("dpkg", "-r", "leukoscope")
        assert not (installed.folder / "opt/leukoscope").exists()
    installed.run("dpkg", "-i", "/tmp/leukoscope.deb")
    assert starts(installed, f"/{config.relative_to(installed.folder)}")
    assert venvs(installed) == 1


def test_without_a_screen_takes_the_place_of_with_one_and_back(installed: Chroot, tmp_path: Path) -> None:
    """The later purge of the one that went must not take what the other one now uses."""
    config = configured(installed)
    kept = (installed.folder / config.lstrip("/")).read_text()
    before = installed.current()
    headless = installed.put(build("bookworm", "amd64", False, ROOT / "build" / "deb", fast=True), "headless.deb")
    status = cut(installed, lambda: len(list((installed.folder / "opt/leukoscope/venvs").iterdir())) > 1, "dpkg", "-i", headless)
    assert starts(installed, config), status
    assert installed.current() == before
    installed.run("dpkg", "--configure", "-a")
    assert installed.current() != before
    assert not list((installed.folder / installed.current()).glob("lib/python3*/site-packages/PySide6"))
    installed.run("dpkg", "--purge", "leukoscope")
    assert starts(installed, config)
    assert (installed.folder / config.lstrip("/")).read_text() == kept
    installed.run("apt-get", "install", "-y", "/tmp/leukoscope.deb")
    assert starts(installed, config)
    assert list((installed.folder / installed.current()).glob("lib/python3*/site-packages/PySide6"))
