"""The package in a clean Debian 12 without a network: installed, upgraded, cut off, removed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from tests.box.conftest import Chroot

SIMULATED = {"kind": "simulator", "objective": 100}


def renumbered(deb: Path, folder: Path, version: str, preinst: str = "") -> Path:
    """The same package under another version, packed without compression. preinst: a script of its own."""
    tree = folder / f"tree-{version}"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = [f"Version: {version}" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    (tree / "usr/lib/leukoscope/version").write_text(f"{version}\n")
    if preinst:
        (tree / "DEBIAN/preinst").write_text(preinst)
        (tree / "DEBIAN/preinst").chmod(0o755)
    made = folder / f"leukoscope_{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made], check=True, capture_output=True)
    shutil.rmtree(tree)
    return made


def configured(box: Chroot) -> str:
    """A device.yaml of the simulated camera; its path inside."""
    path = box.folder / "etc/leukoscope/device.yaml"
    config = yaml.safe_load(path.read_text())
    config["camera"] = SIMULATED
    config["display"] = {"kind": "none"}
    path.write_text(yaml.safe_dump(config))
    return "/etc/leukoscope/device.yaml"


def test_it_installs_without_a_network_and_works(installed: Chroot, deb: Path) -> None:
    version = subprocess.run(["dpkg-deb", "-f", deb, "Version"], capture_output=True, text=True, check=True).stdout.strip()
    assert installed.run("leukoscope", "--version").stdout.strip() == f"leukoscope {version.replace('~', '.')}"
    assert installed.run("attridet", "--help").stdout
    for path in (
        *("usr/lib/systemd/system/leukoscope.service", "usr/lib/sysusers.d/leukoscope.conf", "usr/lib/tmpfiles.d/leukoscope.conf"),
        *("usr/share/leukoscope/device.example.yaml", "usr/share/doc/leukoscope/field-team.md", "etc/leukoscope/device.yaml"),
    ):
        assert (installed.folder / path).is_file(), path
    assert "leukoscope:" in (installed.folder / "etc/passwd").read_text()
    config = configured(installed)
    assert installed.run("leukoscope", "check-config", config).returncode == 0
    told = installed.run("leukoscope", "doctor", "--config", config, check=False)
    bad = [line for line in told.stdout.splitlines() if " fail " in line.lower()]
    assert all("roker" in line for line in bad), told.stdout  # no broker runs in there


def test_a_plain_user_may_start_it(installed: Chroot) -> None:
    installed.run("runuser", "-u", "leukoscope", "--", "leukoscope", "--version")


def test_an_upgrade_replaces_and_removal_leaves_what_is_the_clinics(installed: Chroot, deb: Path, tmp_path: Path) -> None:
    record = installed.folder / "var/lib/leukoscope/record.sqlite"
    record.write_text("the clinic's")
    config = installed.folder / configured(installed).lstrip("/")
    before, first = config.read_text(), (installed.folder / "opt/leukoscope/current").readlink()
    installed.run("dpkg", "-i", installed.put(renumbered(deb, tmp_path, "99.1"), "next.deb"))
    after = (installed.folder / "opt/leukoscope/current").readlink()
    assert after != first
    assert [each.name for each in (installed.folder / "opt/leukoscope/venvs").iterdir()] == [after.name]
    assert (record.read_text(), config.read_text()) == ("the clinic's", before)
    installed.run("apt-get", "remove", "-y", "leukoscope")
    assert not (installed.folder / "opt/leukoscope").exists()
    assert (record.exists(), config.exists()) == (True, True)
    installed.run("apt-get", "purge", "-y", "leukoscope")
    assert (record.exists(), config.exists()) == (True, False)


def test_a_version_that_cannot_start_never_comes_into_use(installed: Chroot, deb: Path, tmp_path: Path) -> None:
    broken = renumbered(deb, tmp_path, "99.2", "#!/bin/sh\n")
    tree = tmp_path / "broken"
    subprocess.run(["dpkg-deb", "-R", broken, tree], check=True)
    next((tree / "usr/lib/leukoscope/wheels").glob("numpy-*.whl")).unlink()
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, broken], check=True, capture_output=True)
    assert installed.run("dpkg", "-i", installed.put(broken, "broken.deb"), check=False).returncode != 0
    configured(installed)
    installed.run("leukoscope", "check-config", "/etc/leukoscope/device.yaml")
    assert len(list((installed.folder / "opt/leukoscope/venvs").iterdir())) == 1
    installed.run("dpkg", "-i", "/tmp/leukoscope.deb")
