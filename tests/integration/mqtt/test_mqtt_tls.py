"""Each way in which TLS to a broker goes wrong is told by its cause, with the next step; a real mosquitto wherever one can show it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme

from device.clock import SystemClock
from device.demo.broker import MosquittoBroker
from device.errors import BrokerError
from device.mqtt import tls
from device.mqtt.client import open_link
from device.mqtt.faults import BrokerRefusedError
from device.settings.broker import BrokerSection

pytestmark = pytest.mark.integration
NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


class Town:
    """An authority, and brokers that it signed for."""

    def __init__(self, folder: Path, lines: tuple[str, ...]) -> None:
        self.folder, self.lines, self.authority = folder, lines, trustme.CA()
        self.ca_file = self.pem("ca.pem", self.authority.cert_pem)

    def pem(self, name: str, *blobs: trustme.Blob) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    @contextmanager
    def broker(self, *names: str, more: tuple[str, ...] = (), **dates: datetime) -> Iterator[MosquittoBroker]:
        issued = self.authority.issue_cert(*(names or ("127.0.0.1", "localhost")), **dates)
        cert = self.pem("broker.pem", *issued.cert_chain_pems)
        key = self.pem("broker.key", issued.private_key_pem)
        lines = ("allow_anonymous true", f"certfile {cert}", f"keyfile {key}", *self.lines, *more)
        with MosquittoBroker(lines=lines) as broker:
            yield broker

    def client(self, name: str, authority: trustme.CA | None = None, **dates: datetime) -> dict[str, Path]:
        issued = (authority or self.authority).issue_cert(name, **dates)
        return {
            "cert_file": self.pem(f"{name}.pem", *issued.cert_chain_pems),
            "key_file": self.pem(f"{name}.key", issued.private_key_pem),
        }

    def section(self, broker: MosquittoBroker, **more: Any) -> BrokerSection:
        given = {"host": broker.host, "port": broker.port, "tls": True, "ca_file": self.ca_file, **more}
        return BrokerSection.model_validate(given)

    def told(self, broker: MosquittoBroker, **more: Any) -> str:
        with pytest.raises(BrokerError) as caught:
            open_link(self.section(broker, **more), "leukoscope-test")
        return str(caught.value)


@pytest.fixture
def town(mosquitto: tuple[str, ...], tmp_path: Path) -> Town:
    return Town(tmp_path, mosquitto)


@pytest.fixture
def clock_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock; it is believed from 2025 on, whatever this machine thinks of its own."""
    monkeypatch.setattr(tls, "time_trusted", lambda now: now.year >= 2025)
    return lambda at: monkeypatch.setattr(SystemClock, "now", lambda self: at)


def test_a_broker_of_our_authority_is_trusted_by_name_and_address(town: Town) -> None:
    with town.broker() as broker:
        for host in ("127.0.0.1", "localhost"):
            open_link(town.section(broker, host=host), "test").close()


def test_an_unknown_authority_is_named(town: Town) -> None:
    other = town.pem("other.pem", trustme.CA(organization_name="another town").cert_pem)
    with town.broker() as broker:
        said = town.told(broker, ca_file=other)
        assert f"not in broker.ca_file {other}" in said and "set broker.ca_file to that authority's certificate" in said
        assert "not in the system's authorities" in town.told(broker, ca_file=None)


def test_a_certificate_that_signed_itself(town: Town) -> None:
    cert, key = own_signature(town.folder)
    with MosquittoBroker(lines=("allow_anonymous true", f"certfile {cert}", f"keyfile {key}", *town.lines)) as broker:
        said = town.told(broker, ca_file=None)
        assert "signed by itself" in said and "compare its SHA-256 at the broker (" in said and "set broker.ca_file to it" in said
        open_link(town.section(broker, ca_file=cert), "test").close()


def test_an_expired_certificate_tells_its_date(town: Town, clock_at: Callable[[datetime], None]) -> None:
    ended = NOW - 3 * DAY
    with town.broker(not_before=NOW - 30 * DAY, not_after=ended) as broker:
        said = town.told(broker)
        assert f"it expired on {ended:%Y-%m-%d}, and this box's clock says {NOW:%Y-}" in said and "renew it at the broker" in said
        clock_at(datetime(2024, 1, 1, tzinfo=timezone.utc))  # a clock that nobody can believe
        assert "set the clock" in town.told(broker)


def test_not_yet_valid_is_the_clock_of_a_box_without_a_battery(town: Town, clock_at: Callable[[datetime], None]) -> None:
    begins = NOW + 9 * DAY
    with town.broker(not_before=begins, not_after=begins + 90 * DAY) as broker:
        said = town.told(broker)
        assert f"it is valid from {begins:%Y-%m-%d} on, and this box's clock says {NOW:%Y-}" in said
        assert "set the clock or wait for time sync" in said and "ca_file" not in said
        clock_at(datetime(2000, 1, 1, tzinfo=timezone.utc))
        assert "this box's clock says 2000-01-01 00:00 UTC; set the clock or wait for time sync" in town.told(broker)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_wrong_host_name_shows_the_names_that_are_right(town: Town, host: str) -> None:
    with town.broker("broker.example", "10.1.2.3") as broker:
        said = town.told(broker, host=host)
        assert f"it is for broker.example, 10.1.2.3, not for '{host}'" in said and "broker.host" in said and "ca_file" not in said


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_a_broker_that_demands_a_certificate_says_so_and_takes_it(town: Town, version: str, protocol: str) -> None:
    more = (f"cafile {town.ca_file}", "require_certificate true", f"tls_version {version}")
    with town.broker(more=more) as broker:
        said = town.told(broker, protocol=protocol)
        assert "demands a certificate of ours" in said and "set broker.cert_file and broker.key_file" in said
        open_link(town.section(broker, protocol=protocol, **town.client("clinic-7")), "test").close()


def test_a_certificate_of_ours_that_the_broker_refuses(town: Town) -> None:
    more = (f"cafile {town.ca_file}", "require_certificate true")
    with town.broker(more=more) as broker:
        said = town.told(broker, **town.client("stranger", trustme.CA()))
        assert "does not know the authority that signed broker.cert_file" in said
        old = town.client("old", not_before=NOW - 9 * DAY, not_after=NOW - 2 * DAY)
        said = town.told(broker, **old)
        assert f"{old['cert_file']} has expired (here: valid until {NOW - 2 * DAY:%Y-%m-%d})" in said


def test_tls_and_plain_ports_mixed_up(town: Town) -> None:
    with town.broker() as broker:
        assert "speaks TLS; set broker.tls: true" in town.told(broker, tls=False, ca_file=None)
    with MosquittoBroker() as plain:
        said = town.told(plain)
        assert "is it a TLS port (often 8883)?" in said


def test_a_port_that_is_no_broker_at_all(town: Town) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        section = BrokerSection(host="127.0.0.1", port=server.getsockname()[1])
        with pytest.raises(BrokerError, match=r"is it a broker, and no TLS port\?"):
            open_link(section, "test")
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "no such file"),
        ("empty", "it is empty"),
        ("truncated", "it is cut short"),
        ("damaged", "it is damaged"),
        ("key", "it holds a private key, no certificate"),
        ("leaf", "it is the certificate of 127.0.0.1, not of an authority; name that of '"),
        ("text", "it holds no certificate"),
        ("der", "it is DER, not PEM; convert it: openssl x509"),
        ("folder", "Is a directory"),
    ],
)
def test_a_file_of_authorities_that_is_something_else(tmp_path: Path, name: str, words: str) -> None:
    authority, path = trustme.CA(), tmp_path / name
    issued = authority.issue_cert("127.0.0.1")
    pem = authority.cert_pem.bytes()
    contents = {
        "empty": b"\n",
        "truncated": pem[: len(pem) // 2],
        "damaged": pem.replace(pem[100:140], b"A" * 40),
        "key": issued.private_key_pem.bytes(),
        "leaf": issued.cert_chain_pems[0].bytes(),
        "text": b"my authority\n",
        "der": ssl.PEM_cert_to_DER_cert(pem.decode()),
    }
    if name == "folder":
        path.mkdir()
    elif name != "missing":
        path.write_bytes(contents[name])
    with pytest.raises(BrokerRefusedError) as caught:
        open_link(BrokerSection(host="127.0.0.1", port=1, tls=True, ca_file=path), "test")
    assert f"cannot use broker.ca_file {path}: {words}" in str(caught.value)


def test_a_key_that_does_not_fit(town: Town) -> None:
    mine, other = town.client("mine"), town.client("other")
    locked, password = town.folder / "locked.key", town.folder / "key.password"
    encrypt(mine["key_file"], locked, b"correct")
    password.write_text("wrong\n")
    for given, words in (
        ({**mine, "key_file": other["key_file"]}, "it belongs to another certificate"),
        ({**mine, "key_file": town.ca_file}, "it holds no private key"),
        ({**mine, "key_file": locked}, "it is encrypted; write its password into a file"),
        ({**mine, "key_file": locked, "key_password_file": password}, "the password in broker.key_password_file does not open it"),
        ({**mine, "key_password_file": password}, "it is not encrypted; remove broker.key_password_file"),
        ({**mine, "cert_file": town.folder / "nothing"}, "cannot use broker.cert_file"),
    ):
        section = BrokerSection.model_validate({"host": "127.0.0.1", "port": 1, "tls": True, "ca_file": town.ca_file, **given})
        with pytest.raises(BrokerRefusedError) as caught:
            open_link(section, "test")
        assert words in str(caught.value)
    password.write_text("correct\n")
    with town.broker(more=(f"cafile {town.ca_file}", "require_certificate true")) as broker:
        open_link(town.section(broker, **{**mine, "key_file": locked, "key_password_file": password}), "test").close()


def own_signature(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key, as `openssl req -x509` makes them."""
    import subprocess

    cert, key = folder / "own.pem", folder / "own.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker.example",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def encrypt(key: Path, into: Path, password: bytes) -> None:
    from cryptography.hazmat.primitives import serialization as form

    read = form.load_pem_private_key(key.read_bytes(), None)
    into.write_bytes(read.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(password)))
