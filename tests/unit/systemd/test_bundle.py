"""Keys and bundles, by the real rauc and openssl."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from systemd.image.bundle import make_bundle
from systemd.image.commands import MIB, ImageError, run
from systemd.image.keys import make_keys
from systemd.image.root import OVERLAY

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("rauc", "mksquashfs", "unsquashfs"))), reason="needs rauc and squashfs-tools"
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    make_keys(folder)
    return folder


def a_root(folder: Path, keyring: str, version: str = "1.6.0~dev3") -> Path:
    """A squashfs with what a bundle is named by."""
    tree = folder / "tree"
    for name, text in (
        ("usr/lib/os-release", f"ID=debian\nIMAGE_ID=leukoscope\nIMAGE_VERSION={version}\n"),
        ("etc/rauc/system.conf", "[system]\ncompatible=leukoscope-amd64\n"),
        ("etc/rauc/keyring.pem", keyring),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    run("mksquashfs", tree, folder / "root.squashfs", "-quiet", "-noappend", "-comp", "gzip")
    return folder / "root.squashfs"


def info(bundle: Path, keyring: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["rauc", "info", f"--keyring={keyring}", *more, str(bundle)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_bundle_says_what_its_root_is_and_only_our_roots_are_believed(tmp_path: Path, keys: Path) -> None:
    bundle = make_bundle(a_root(tmp_path, (keys / "keyring.pem").read_text()), keys, tmp_path / "out")
    assert bundle.name == "leukoscope-amd64-1.6.0~dev3.raucb"
    told = info(bundle, keys / "keyring.pem", "--output-format=shell")
    assert told.returncode == 0, told.stderr
    assert "RAUC_MF_COMPATIBLE='leukoscope-amd64'" in told.stdout and "RAUC_MF_VERSION='1.6.0~dev3'" in told.stdout
    make_keys(tmp_path / "foreign")
    assert info(bundle, tmp_path / "foreign/keyring.pem").returncode != 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [bundle.name]


def test_the_second_root_can_sign_the_next_signer(tmp_path: Path, keys: Path) -> None:
    second = tmp_path / "second"
    shutil.copytree(keys, second)
    for end in ("key", "pem"):
        (second / f"root-2.{end}").rename(second / f"root.{end}")
    make_keys(second, "next")
    bundle = make_bundle(a_root(tmp_path, (keys / "keyring.pem").read_text()), second, tmp_path / "out", "next")
    assert info(bundle, keys / "keyring.pem").returncode == 0


def test_keys_are_private_and_never_overwritten(keys: Path) -> None:
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    assert set(before) == {f"{name}.{end}" for name in ("root", "root-2", "signer") for end in ("key", "pem")} | {"keyring.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert make_keys(keys) == []
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before


def test_no_new_root_takes_the_place_of_one_that_is_kept_off_line(tmp_path: Path, keys: Path) -> None:
    online = tmp_path / "keys"
    online.mkdir()
    for name in ("keyring.pem", "root.pem", "signer.pem", "signer.key"):
        shutil.copyfile(keys / name, online / name)
    assert make_keys(online) == []
    with pytest.raises(ImageError, match=r"root\.key: absent; bring the root's key"):
        make_keys(online, "next")
    (online / "signer.pem").unlink()
    with pytest.raises(ImageError, match=r"signer\.key: its certificate signer\.pem is absent"):
        make_keys(online)


def test_refused_before_anything_is_made(tmp_path: Path, keys: Path) -> None:
    ring = (keys / "keyring.pem").read_text()
    root = a_root(tmp_path, ring)
    with pytest.raises(ImageError, match=r"a slot holds 0"):
        make_bundle(root, keys, tmp_path / "out", slot=1024)
    with pytest.raises(ImageError, match=r"next\.key: absent; `make keys`"):
        make_bundle(root, keys, tmp_path / "out", "next")
    old = tmp_path / "old"
    shutil.copytree(keys, old)
    make_keys(old, "last", signer_days=0)
    with pytest.raises(ImageError, match=r"last\.pem: ran out on .*make keys"):
        make_bundle(root, old, tmp_path / "out", "last")
    make_keys(tmp_path / "foreign")
    shutil.copyfile(keys / "keyring.pem", tmp_path / "foreign/keyring.pem")
    with pytest.raises(ImageError, match="is not signed by a root"):
        make_bundle(root, tmp_path / "foreign", tmp_path / "out", slot=MIB)
    with pytest.raises(ImageError, match="would never take an update again"):
        make_bundle(a_root(tmp_path, ""), keys, tmp_path / "out")
    with pytest.raises(ImageError, match="no such file; `make image`"):
        make_bundle(tmp_path / "absent", keys, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, for a clock of 1970")
def test_a_box_of_1970_takes_a_good_bundle_since_the_image_judges_by_the_day_of_signing(tmp_path: Path, keys: Path) -> None:
    bundle = make_bundle(a_root(tmp_path, (keys / "keyring.pem").read_text()), keys, tmp_path / "out")
    clock = tmp_path / "clock.c"
    clock.write_text("#include <time.h>\ntime_t time(time_t *at) { if (at) *at = 4000; return 4000; }\n")
    run("cc", "-shared", "-fPIC", "-o", tmp_path / "clock.so", clock)
    # The image's own file, with the keyring of this test.
    text = (OVERLAY / "etc/rauc/system.conf").read_text().replace("/etc/rauc/keyring.pem", str(keys / "keyring.pem"))
    text = text.replace("@ARCH@", "amd64").replace("/data/rauc.status", str(tmp_path / "rauc.status"))
    assert "use-bundle-signing-time=true" in text
    for name, content, ends in (
        ("image.conf", text, 0),
        ("now.conf", text.replace("use-bundle-signing-time=true", ""), 1),
    ):
        (tmp_path / name).write_text(content)
        told = subprocess.run(
            ["rauc", f"--conf={tmp_path / name}", "info", str(bundle)],
            env={**os.environ, "LD_PRELOAD": str(tmp_path / "clock.so")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (told.returncode, "not yet valid" in told.stderr) == (ends, bool(ends)), told.stderr
