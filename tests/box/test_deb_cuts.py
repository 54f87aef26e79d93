"""dpkg killed at any moment: a version that starts is there, and the next dpkg completes; one package in the other's place."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from systemd.package.build import build
from tests.box.conftest import ROOT, Chroot
from tests.box.test_deb import configured, renumbered

log = logging.getLogger(__name__)

CUTS = int(os.environ.get("LEUKOSCOPE_CUTS", "0"))
"""How many moments more of an upgrade are cut, evenly by the clock; one costs about half a minute."""


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
    wheels, room = installed.folder / "usr/lib/leukoscope/wheels", installed.folder / "opt/leukoscope/venvs"
    started = time.monotonic()
    installed.run("dpkg", "-i", following)
    whole_s = time.monotonic() - started
    moments: list[tuple[str, Callable[[Path, set[Path]], bool]]] = [
        ("unpacking", lambda _current, _there: any(wheels.glob("*.dpkg-new"))),
        ("the new environment begun", lambda _current, there: bool(set(room.iterdir()) - there)),
        (
            "pip in the middle",
            lambda _current, there: any(any(new.glob("lib/python3*/site-packages/numpy")) for new in set(room.iterdir()) - there),
        ),
        ("just swapped", lambda current, _there: installed.current() != current),
    ]
    for name, reached in moments:
        before, there = installed.current(), set(room.iterdir())
        status = cut(installed, partial(reached, before, there), "dpkg", "-i", following)
        log.info("cut at %s: %s", name, status)
        assert reached(before, there), f"{name}: dpkg came to its end without it"
        assert "leukoscope install ok installed" not in status, f"{name}: cut too late"
        assert starts(installed, config), (name, status)
    for number in range(CUTS):
        status = cut(installed, whole_s * (number + 0.5) / CUTS, "dpkg", "-i", following)
        assert starts(installed, config), (number, status)
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
