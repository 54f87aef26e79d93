"""Passwords from files and from systemd's credentials, and what is told of carelessness: once, by file and with the next step."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from device.errors import ConfigError
from device.mqtt.credentials import careless, is_loopback, password
from device.mqtt.faults import BrokerRefusedError
from device.mqtt.publisher import Publisher
from device.mqtt.tls import tls_context
from device.settings.broker import BrokerSection
from device.settings.config_file import parse_config


def section(**given: Any) -> BrokerSection:
    return BrokerSection.model_validate({"host": "broker.example", "tls": True, "username": "clinic-7", **given})


def test_a_password_comes_from_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "broker.password"
    file.write_text("pass wörd \r\nsecond line\n")
    assert password(section(password_file=file)) == "pass wörd "
    file.write_bytes(b"\xef\xbb\xbfsecret\r\n")  # as Windows' editor writes it
    assert password(section(password_file=file)) == "secret"
    assert password(section()) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "its first line is empty"),
        (b"\nsecret\n", "its first line is empty"),
        (b"\xff\xfe\x00\x80", "it is not UTF-8 text"),
        (b"p" * 70_000, "longer than 65,535 bytes"),
        (b"a\0b\n", "or with a NUL"),
    ],
)
def test_a_password_that_cannot_be_sent_is_told_without_it(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "broker.password"
    file.write_bytes(content)
    with pytest.raises(BrokerRefusedError) as caught:
        password(section(password_file=file))
    assert str(file) in str(caught.value) and words in str(caught.value)
    assert "secret" not in str(caught.value) and "ppp" not in str(caught.value)


def test_a_password_comes_from_a_credential_of_systemds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = section(password_credential="broker-password")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(BrokerRefusedError, match=r"add LoadCredential=broker-password:FILE to the unit"):
        password(given)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(BrokerRefusedError, match="No such file"):
        password(given)
    (tmp_path / "broker-password").write_text("secret\n")
    assert password(given) == "secret"


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ("password_credential: ../x, username: a", "no path"),
        ("password_credential: x", "'password_credential' needs 'username'"),
        ("password_credential: x, password_file: y, username: a", "keep one"),
        ("tls: true, key_file: x", "'key_file' needs 'cert_file'"),
        ("cert_file: x", "'cert_file' is given but 'tls' is false"),
    ],
)
def test_settings_that_do_not_go_together(broker: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(f"camera: {{kind: simulator}}\nbroker: {{{broker}}}\n", "device.yaml", Path("/etc/leukoscope"))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.8.8", "::1"])
def test_what_stays_on_this_machine_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    assert careless(BrokerSection(host=host, username="a")) == []


def test_a_way_in_clear_is_told_with_and_without_a_user() -> None:
    assert not is_loopback("broker.example")
    (without,) = careless(BrokerSection(host="10.1.2.3"))
    assert without.startswith("results travel to 10.1.2.3 in clear") and "set broker.tls" in without
    (with_user,) = careless(BrokerSection(host="10.1.2.3", username="clinic-7"))
    assert with_user.startswith("results, username and password travel to")
    assert careless(section()) == []
    assert careless(BrokerSection(host="10.1.2.3", enabled=False)) == []


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o666, True), (0o660, True), (0o604, True)])
def test_a_file_of_secrets_that_others_may_read_is_named(tmp_path: Path, mode: int, told: bool) -> None:
    file = tmp_path / "broker.password"
    file.write_text("secret\n")
    file.chmod(mode)
    said = careless(section(password_file=file))
    assert bool(said) is told
    if told:
        assert f"{file} is open to others on this machine (mode {mode:04o}); chmod 600 {file}" in said[0]


def test_systemd_sees_to_the_mode_of_its_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "broker-key"
    key.write_text("x")
    key.chmod(0o644)
    given = section(cert_file=tmp_path / "cert.pem", key_file=key)
    assert len(careless(given)) == 1
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert careless(given) == []


def test_the_publisher_tells_it_once(caplog: pytest.LogCaptureFixture, repository: Path) -> None:
    from device.mqtt.device_status import read_status

    status = read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload
    publisher = Publisher(BrokerSection(host="192.0.2.1", keepalive_s=5), status, lambda: None)  # type: ignore[arg-type,return-value]
    with caplog.at_level(logging.WARNING), publisher:
        pass
    assert [record.message for record in caplog.records if "in clear" in record.message] == careless(BrokerSection(host="192.0.2.1"))


@pytest.mark.timeout(20)
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BrokerRefusedError, match="it is a named pipe"):
        password(section(password_file=pipe))
    with pytest.raises(BrokerRefusedError, match="it is a named pipe"):
        tls_context(section(ca_file=pipe))
