"""`leukoscope-setup.yaml`: what is wrong in it has a line, what is right is applied once and wiped, and a cut loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
import yaml

from device.box import provisioning, sealing
from device.box.provisioning import RECEIPT, Places, last_receipt, provision
from device.box.setup_file import SetupError, read_setup
from device.box.sticks import SETUP as NAME
from device.mqtt import credentials
from device.mqtt.faults import BrokerRefusedError
from device.settings.broker import BrokerSection
from device.settings.config_file import load_config
from tests.support.box_commands import leukoscope

REPOSITORY = Path(__file__).parents[3]
GOOD = """timezone: Africa/Nairobi
device: {id: ward-3}
display: {language: sw}
broker:
  host: broker.example.org
  username: ward-3
  password: "s3cret: of the ward"
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A box of its own below a folder, with settings from before."""
    for folder in ("etc", "lib", "efi", "zones/Africa"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "zones/Africa/Nairobi").touch()
    (tmp_path / "etc/device.yaml").write_text("camera: {kind: simulator, seed: 3}\nbroker: {host: old, port: 1884}\n")
    return Places(
        tmp_path / "etc/device.yaml", tmp_path / "lib/provisioning", tmp_path / "etc/localtime", tmp_path / "zones", tmp_path / "efi"
    )


@pytest.fixture(autouse=True)
def no_sticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's own sticks are not looked at; nothing is sealed for this machine."""
    monkeypatch.setattr(provisioning, "sticks", list)
    monkeypatch.setattr(sealing.shutil, "which", lambda name: None)
    return None


def put(places: Places, text: str | bytes) -> Path:
    path = places.boot_partition / NAME
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


FAULTY = {
    "yaml": ("broker:\n\thost: x\n", ":2: a tab stands here"),
    "unknown-key": ("broker:\n  hots: x\n", ":2: broker.hots: unknown key; did you mean 'host'?"),
    "unknown-section": ("brooker: {host: x}\n", ":1: brooker: unknown key; did you mean 'broker'?"),
    "type": ("broker:\n  port: '1883'\n", ":2: broker.port: expected a whole number from 1 to 65535"),
    "port": ("broker: {port: 70000}\n", ":1: broker.port: expected a whole number from 1 to 65535"),
    "host": ("broker:\n  host: mqtt://broker.example.org\n", ":2: broker.host: a host name only"),
    "zone": ("device: {id: a}\ntimezone: Afrika/Nairobi\n", ":2: timezone: no such zone: Afrika/Nairobi"),
    "zone-out": ("timezone: ../../etc/passwd\n", ":1: timezone: no such zone"),
    "language": ("display:\n  language: es\n", ":2: display.language: expected"),
    "device-name": ("device:\n  id: Amina Yusuf\n", ":2: device.id: expected"),
    "password-number": ("broker:\n  username: a\n  password: 0123\n", ":3: broker.password: expected text; put it in quotes"),
    "password-alone": ("broker:\n  password: abc\n", ":1: broker: 'password_credential' needs 'username'"),
    "ca-absent": ("broker: {tls: true, ca_file: ca.pem}\n", ":1: broker.ca_file: ca.pem: No such file"),
    "ca-elsewhere": ("broker: {tls: true, ca_file: ../ca.pem}\n", ":1: broker.ca_file: the name of a file that lies beside"),
    "camera": ("camera: {kind: v4l}\n", ":1: camera.kind: expected one of"),
    "empty": ("", ":1: the file is empty"),
    "list": ("- broker\n", ":1: sections such as 'broker:' are expected"),
    "latin1": ("device: {id: a}\n# für\n".encode("latin-1"), ":2: not UTF-8 text"),
    "large": ("#" * 70_000, ":1: larger than 64 KiB"),
}


@pytest.mark.parametrize(("text", "said"), FAULTY.values(), ids=list(FAULTY))
def test_a_fault_is_told_with_its_line_and_nothing_is_changed(places: Places, text: str | bytes, said: str) -> None:
    path, before = put(places, text), places.config.read_bytes()
    done = provision(places)
    assert done.failed and not done.applied
    assert any(line.startswith(f"{NAME}{said}") for line in done.words.splitlines()), done.words
    assert "0123" not in done.words
    assert "Amina" not in json.dumps(last_receipt(places) or {})
    assert places.config.read_bytes() == before and path.exists() and not (places.config.parent / "credentials").exists()


def test_all_faults_are_told_at_once(places: Places) -> None:
    put(places, "timezone: Mars\nbroker: {port: 0, hots: x}\ndisplay: {language: es}\n")
    assert len(provision(places).words.splitlines()) == 4


def test_a_good_file_is_applied_wiped_and_receipted(places: Places) -> None:
    path = put(places, GOOD)
    done = provision(places)
    assert done.applied and not done.failed, done.words
    config = load_config(places.config)
    assert (config.device.id, config.display.language, config.broker.host, config.broker.port) == (
        "ward-3",
        "sw",
        "broker.example.org",
        1883,  # the port of the broker before was not of this one
    )
    assert config.camera.kind == "simulator"  # what the file leaves out stays
    assert places.localtime.readlink() == places.zones / "Africa/Nairobi"
    assert not path.exists()
    assert "broker, device, display" in (places.boot_partition / RECEIPT).read_text()
    assert (places.config.with_name("device.yaml.before")).read_text().startswith("camera: {kind: simulator, seed: 3}")
    assert "broker.host" in (last_receipt(places) or {})["keys"]


def test_the_password_is_in_no_file_but_its_own(places: Places, tmp_path: Path) -> None:
    put(places, GOOD)
    provision(places)
    holding = [each for each in tmp_path.rglob("*") if each.is_file() and b"s3cret" in each.read_bytes()]
    assert [each.name for each in holding] == ["broker.password"]
    assert holding[0].stat().st_mode & 0o007 == 0 and holding[0].parent.stat().st_mode & 0o007 == 0
    assert credentials.password(load_config(places.config).broker) == "s3cret: of the ward"


def test_where_systemd_seals_it_the_daemon_reads_a_credential(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def sealed(name: str, secret: bytes, folder: Path) -> bool:
        (folder / f"{name}.cred").write_bytes(secret[::-1])
        return True

    monkeypatch.setattr(provisioning, "seal", sealed)
    put(places, GOOD)
    assert provision(places).applied
    section = load_config(places.config).broker
    assert (section.password_credential, section.password_file) == ("broker-password", None)
    (tmp_path / "broker-password").write_bytes((places.credentials / "broker-password.cred").read_bytes()[::-1])
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert credentials.password(section) == "s3cret: of the ward"


def test_a_credential_that_was_never_sealed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broker-password").write_text("not-set")  # as SetCredential= of the unit gives it
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(BrokerRefusedError, match="no password was sealed on this box"):
        credentials.password(BrokerSection(username="a", password_credential="broker-password"))


def test_certificates_beside_the_file_go_along(places: Places) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("ward-3.example.org")
    folder = places.boot_partition
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "box.pem")
    issued.private_key_pem.write_to_path(folder / "box.key")
    text = "broker: {host: a.example.org, tls: true, ca_file: ca.pem, cert_file: box.pem, key_file: box.key}\n"
    put(places, text)
    assert provision(places).applied
    section = load_config(places.config).broker
    assert section.ca_file is not None and section.key_file is not None
    assert section.ca_file.read_bytes() == authority.cert_pem.bytes()
    assert section.key_file.stat().st_mode & 0o007 == 0
    assert sorted(each.name for each in folder.iterdir()) == [RECEIPT]  # the key is wiped, too

    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "box.pem")
    authority.issue_cert("other.example.org").private_key_pem.write_to_path(folder / "box.key")
    put(places, f"{text}#\n")
    assert f"{NAME}:1: broker.key_file: box.key does not belong to the certificate" in provision(places).words
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    put(places, f"{text}##\n")
    assert "broker.ca_file: ca.pem cannot be read as certificates" in provision(places).words


def test_the_same_file_is_never_applied_twice(places: Places, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / NAME).write_text(GOOD)
    assert provision(places, stick).applied
    places.config.write_text(places.config.read_text().replace("ward-3", "changed-by-hand"))
    (stick / NAME).write_text(GOOD)  # as on a stick that could not be wiped
    again = provision(places, stick)
    assert not again.applied and "was applied before" in again.words
    assert load_config(places.config).device.id == "changed-by-hand"


@pytest.mark.parametrize("changed", ["host: other.example.org", "host: other.example.org\n  tls: false", "tls: false"])
def test_a_stick_does_not_carry_the_password_to_another_broker(places: Places, changed: str) -> None:
    places.config.write_text(
        "camera: {kind: simulator}\nbroker: {host: clinic, port: 8883, tls: true, username: u, password_credential: broker-password}\n"
    )
    put(places, f"broker:\n  {changed}\n")
    assert provision(places).applied
    section = load_config(places.config).broker
    assert (section.username, section.password_credential, section.password_file) == (None, None, None)


@pytest.mark.parametrize("kind", ["setup", "beside"])
def test_a_link_on_a_stick_leads_nowhere(places: Places, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.pem"
    secret.write_text("-----BEGIN CERTIFICATE-----\n" if kind == "beside" else "device: {id: a}\n")
    before = secret.read_bytes()
    if kind == "setup":
        (places.boot_partition / NAME).symlink_to(secret)
        assert not provision(places).applied
    else:
        (places.boot_partition / "ca.pem").symlink_to(secret)
        put(places, "broker: {tls: true, ca_file: ca.pem}\n")
        assert "ca.pem: is a link, which is not followed" in provision(places).words
    assert secret.read_bytes() == before


def test_comments_of_the_configuration_stay(places: Places) -> None:
    places.config.write_text((REPOSITORY / "device/settings/device.example.yaml").read_text())
    put(places, GOOD)
    assert provision(places).applied
    text = places.config.read_text()
    assert "# A USB microscope camera" in text and "  language: sw" in text and text.count("\nbroker:") == 1
    assert load_config(places.config).device.id == "ward-3"


@pytest.mark.parametrize("step", range(1, 16))
def test_a_cut_at_any_step_leaves_the_former_settings_or_the_new_ones(
    places: Places, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The process ends at the n-th change of the disk; the next start does the whole."""

    class CutError(BaseException):
        pass

    count = 0

    def counted(name: str) -> None:
        real = getattr(os, name)

        def change(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise CutError
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, change)

    put(places, GOOD)
    for name in ("replace", "unlink", "fsync", "rename", "symlink"):
        counted(name)
    with suppress(CutError):
        provision(places)
    monkeypatch.undo()
    monkeypatch.setattr(provisioning, "sticks", list)
    monkeypatch.setattr(sealing.shutil, "which", lambda name: None)
    config = load_config(places.config)
    assert config.device.id in ("leukoscope", "ward-3")
    decided = places.ready.is_dir() or config.device.id == "ward-3"
    if gone := step % 2 == 0:  # somebody took the stick along meanwhile
        (places.boot_partition / NAME).unlink(missing_ok=True)
    provision(places)
    config = load_config(places.config)
    if decided or not gone:
        assert (config.device.id, credentials.password(config.broker)) == ("ward-3", "s3cret: of the ward")
    else:
        assert (config.device.id, config.broker.host) == ("leukoscope", "old")
        assert not (places.credentials / "broker.password").exists()
    assert not (places.boot_partition / NAME).exists() and not places.ready.exists()


def test_a_box_without_a_file_says_how_it_stands(places: Places) -> None:
    assert provision(places).words == f"Not set up by a file; {NAME} on a stick does it."
    put(places, GOOD)
    provision(places)
    assert provision(places).words.startswith("Set up on 2")


def test_the_shipped_example_is_good(places: Places) -> None:
    text = (REPOSITORY / "systemd/leukoscope-setup.example.yaml").read_text()
    put(places, text)
    assert provision(places).applied
    every = text.replace("\n#camera:", "\ncamera:").replace("\n#  ", "\n  ")
    assert {"camera", "broker", "device", "timezone"} <= set(yaml.safe_load(every))


def test_a_broken_configuration_does_not_stand_in_the_way(places: Places) -> None:
    places.config.write_text("camera: [\n")
    with pytest.raises(SetupError, match="camera: missing"):
        read_setup(put(places, "device: {id: a}\n"), {}, places.zones)
    put(places, "camera: {kind: simulator}\n")
    assert provision(places).applied
    assert load_config(places.config).camera.kind == "simulator"


def test_the_command_says_the_fault_and_ends_with_two(places: Places, tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / NAME).write_text("broker: {port: 0}\n")
    done = leukoscope("box", "provision", tmp_path / "stick", "--config", places.config)
    assert done.code == 2
    assert f"{NAME}:1: broker.port: expected a whole number from 1 to 65535, got 0" in done.text
