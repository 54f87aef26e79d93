"""An update asked for: what is refused, what is installed. Signatures are judged by the real rauc; what it does to a slot needs
device-mapper, which only the box in QEMU has, so a script stands in for `rauc status` and `rauc install` here."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from device import box_command
from device.box import progress, update
from device.box.slots import slots_of
from device.box.sticks import Stick
from device.box.update import Asked, Bundle, UpdateError, offered, refusal, take_request
from device.clock import SystemClock
from device.mqtt.client import Incoming
from device.settings.config import Config
from device.status import remote_of
from systemd.image.bundle import make_bundle
from systemd.image.commands import run
from systemd.image.keys import make_keys
from tests.unit.device.test_box_slots import told

needs_rauc = pytest.mark.skipif(
    not all(map(shutil.which, ("rauc", "mksquashfs", "openssl"))), reason="needs rauc, squashfs-tools, openssl"
)
RAUC = """#!/bin/sh
case $1 in
info) exec {rauc} --keyring={here}/keyring.pem "$@" ;;
status) [ "$2" = mark-bad ] && echo "$3" > {here}/marked || cat {here}/status.json ;;
install) [ -e {here}/broken ] && {{ echo "LastError: Failed mounting bundle: I/O error"; exit 1; }}
  echo installing; echo " 40% Copying image to rootfs.1"; cp {here}/after.json {here}/status.json; echo "100% Installing done." ;;
esac
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, and a stick's folder with bundles of several versions."""
    here = tmp_path_factory.mktemp("made")
    make_keys(here / "keys")
    make_keys(here / "foreign")
    for version, keys, arch in (
        ("1.7.0", "keys", "amd64"),
        ("1.4.0", "keys", "amd64"),
        ("1.7.0", "foreign", "amd64"),
        ("1.7.0", "keys", "arm64"),
    ):
        tree = here / "tree"
        for name, text in (
            ("usr/lib/os-release", f"IMAGE_VERSION={version}\n"),
            ("etc/rauc/system.conf", f"compatible=leukoscope-{arch}\n"),
            ("etc/rauc/keyring.pem", (here / "keys/keyring.pem").read_text()),
        ):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        root = here / "root.squashfs"
        root.unlink(missing_ok=True)
        run("mksquashfs", tree, root, "-quiet", "-noappend")
        make_bundle(root, here / keys, here / "new").rename(here / f"{version}-{keys}-{arch}.raucb")
    return here


@pytest.fixture
def box(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A box that runs 1.6.0 from A, with a stick in it."""
    there, stick = tmp_path / "box", Stick("/dev/sdz1", "vfat", uuid="12AB-34CD")
    (there / "stick").mkdir(parents=True)
    (there / "boot").mkdir()
    slot = there / "slot"
    slot.write_bytes(bytes(8192))
    for file, version in (("status", "1.5.0"), ("after", "1.7.0")):
        said = told("A", version)
        for entry in said["slots"]:  # type: ignore[attr-defined]
            for each in entry.values():
                each["device"] = str(slot)
        (there / f"{file}.json").write_text(json.dumps(said))
    (there / "rauc").write_text(RAUC.format(rauc=shutil.which("rauc"), here=there))
    (there / "rauc").chmod(0o755)
    shutil.copyfile(made / "keys/keyring.pem", there / "keyring.pem")
    config = there / "device.yaml"
    config.write_text(f"device: {{id: box-1, state_dir: {there}}}\ncamera: {{kind: simulator}}\n")
    monkeypatch.setenv("PATH", f"{there}:{os.environ['PATH']}")
    monkeypatch.setattr("device.box.slots.running_version", lambda release: "1.6.0")
    found = [stick]
    monkeypatch.setattr(update, "sticks", lambda: list(found))

    @contextmanager
    def mounted(stick: Stick) -> Iterator[Path]:
        yield there / "stick"

    monkeypatch.setattr(update, "mounted", mounted)

    def ask(bundle: str, name: str = stick.uuid) -> tuple[int, progress.Step]:
        shutil.copyfile(made / bundle, there / "stick" / bundle)
        (there / "request.json").write_text(json.dumps({"bundle": bundle, "stick": name}))
        code = box_command.update(request=there / "request.json", folder=there / "boot", config=config)
        assert not (there / "request.json").exists()
        step = progress.read_step("update", there / "boot")
        assert step is not None
        return code, step

    return SimpleNamespace(there=there, ask=ask, sticks=found, slot=slot)


@needs_rauc
def test_a_newer_version_is_installed_and_waits_for_a_person(box: SimpleNamespace) -> None:
    code, step = box.ask("1.7.0-keys-amd64.raucb")
    assert (code, step.state, step.words) == (0, progress.DONE, "Version 1.7.0 is installed; restart the box to use it.")
    code, step = box.ask("1.7.0-keys-amd64.raucb", "/dev/sdz1")
    assert (code, step.words) == (2, "Version 1.7.0 is installed already; restart the box to use it.")


@needs_rauc
@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        ("1.4.0-keys-amd64.raucb", "older than 1.6.0 that runs here"),
        ("1.7.0-foreign-amd64.raucb", "is not signed by those who may update this box"),
        ("1.7.0-keys-arm64.raucb", r"for another kind of box \(leukoscope-arm64\)"),
    ],
)
def test_refused_with_a_sentence_and_the_slot_untouched(box: SimpleNamespace, bundle: str, words: str) -> None:
    before = (box.there / "status.json").read_bytes()
    code, step = box.ask(bundle)
    assert (code, step.state) == (2, progress.FAILED)
    assert re.search(words, step.words)
    assert (box.there / "status.json").read_bytes() == before


@needs_rauc
def test_too_large_broken_pulled_and_changed_under_way(box: SimpleNamespace) -> None:
    box.slot.write_bytes(b"small")
    assert "a slot of this box holds 0" in box.ask("1.7.0-keys-amd64.raucb")[1].words
    box.slot.write_bytes(bytes(8192))
    (box.there / "broken").touch()
    assert "is damaged or could not be written" in box.ask("1.7.0-keys-amd64.raucb")[1].words
    (box.there / "broken").unlink()
    shutil.copyfile(box.there / "status.json", box.there / "after.json")  # the stick gave an older one to the installer
    assert "it will not be booted" in box.ask("1.7.0-keys-amd64.raucb")[1].words
    assert (box.there / "marked").read_text() == "other\n"
    box.sticks.clear()
    assert "was pulled" in box.ask("1.7.0-keys-amd64.raucb")[1].words


@needs_rauc
def test_never_while_a_slide_is_open(box: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.box.restart.ask_status", lambda path: {"slide": {"slide_id": "x"}})
    assert box.ask("1.7.0-keys-amd64.raucb")[1].words == "A slide is open; close it first, then ask for the update again."


def test_versions_and_slots_that_are_refused() -> None:
    def why(version: str, other: str | None = "1.5.0", good: str = "good") -> str:
        return refusal(Bundle("leukoscope-amd64", version, 10), slots_of(told("A", other, good), "1.6.0"), 100)

    assert why("1.6.0") == "Version 1.6.0 is what this box runs already."
    assert "older than 1.6.0 that runs here" in why("1.6.0~dev9")
    assert "older than 1.8.0 in the other slot" in why("1.7.0", "1.8.0")
    assert why("1.7.0") == why("1.7.0", None) == why("1.7.0", "1.7.0", "bad") == ""
    with pytest.raises(UpdateError, match="flash it anew"):
        refusal(Bundle("leukoscope-amd64", "2", 1), slots_of(told("nfs"), "1.6.0"), 100)


@pytest.mark.parametrize(
    "said",
    ["", "[]", "{}", '{"bundle": "../x.raucb", "stick": "/dev/sdb1"}', '{"bundle": "x.sh", "stick": ""}', '{"url": 3}', "{" * 5000],
)
def test_a_request_that_cannot_be_read_is_removed_and_told(tmp_path: Path, said: str) -> None:
    path = tmp_path / "update.json"
    path.write_text(said)
    with pytest.raises(UpdateError, match="ask again on the screen"):
        take_request(path)
    assert not path.exists()
    with pytest.raises(UpdateError, match="Nobody asked"):
        take_request(path)
    path.symlink_to("/etc/passwd")
    with pytest.raises(UpdateError, match="cannot be read"):
        take_request(path)
    assert not path.is_symlink()


def test_only_the_address_that_was_offered_and_only_https(tmp_path: Path) -> None:
    offer = tmp_path / "update-offer.json"
    for text, url in (("", "https://a/x"), ('{"url": "https://a/x"}', "https://b/x"), ('{"url": "http://a/x"}', "http://a/x")):
        offer.write_text(text)
        with pytest.raises(UpdateError, match="was not offered"):
            offered(url, offer)
    offer.write_text('{"url": "https://a/x"}')
    assert offered("https://a/x", offer) == "https://a/x"
    (tmp_path / "r").write_text('{"url": "https://a/x"}')
    assert take_request(tmp_path / "r") == Asked(url="https://a/x")


def test_what_is_offered_over_the_broker_is_what_may_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.model_validate({"device": {"id": "box-1", "state_dir": str(tmp_path)}, "camera": {"kind": "simulator"}})
    request = Incoming("leukoscope/box-1/cmd/update", b'{"url": "https://updates.example/x.raucb", "by": "supervisor-1"}')
    status = SimpleNamespace(clock=SystemClock())
    assert b"no flashed box" in (remote_of(config, status)(request) or b"")  # type: ignore[arg-type]
    assert not config.update_offer_path.exists()
    (tmp_path / "system.conf").touch()
    monkeypatch.setattr("device.status._SLOTS", tmp_path / "system.conf")
    assert b'"ok":true' in (remote_of(config, status)(request) or b"").replace(b" ", b"")  # type: ignore[arg-type]
    assert json.loads(config.update_offer_path.read_bytes())["by"] == "supervisor-1"
    assert offered("https://updates.example/x.raucb", config.update_offer_path)
