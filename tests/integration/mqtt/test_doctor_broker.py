"""The doctor's findings on the broker, against a real mosquitto with the configuration that is shipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from device.mqtt.outbox import OutboxMessage
from device.service.doctor_broker import broker_findings, outbox_finding
from device.service.finding import Finding
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, SimulatorCamera
from device.store import Store
from tests.support.shipped_broker import ShippedBroker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto is not installed (apt install mosquitto)"),
]
Configured = Callable[..., Config]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    def make(port: int, device: str = "clinic-7", user: str = "clinic-7", **more: Any) -> Config:
        password = tmp_path / "broker.password"
        password.write_text(f"of {user}\n")
        password.chmod(0o600)
        given = {"host": "127.0.0.1", "port": port, "username": user, "password_file": password, **more}
        return Config(
            camera=SimulatorCamera(kind="simulator"),
            device=DeviceSection(id=device, state_dir=tmp_path / "state"),
            broker=BrokerSection.model_validate(given),
        )

    return make


def named(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.part: finding for finding in findings}


def test_connection_certificate_and_rights(mosquitto: object, tmp_path: Path, configured: Configured) -> None:
    shipped = ShippedBroker(tmp_path)
    with shipped.running() as broker, shipped.peer(broker, "reader") as reader:
        reader.subscribe("leukoscope/#")
        found = named(broker_findings(configured(broker.port, tls=True, ca_file=shipped.ca_file)))
        assert found["Broker"].level == "ok" and "accepts us, MQTT 5, TLS, certificate valid until " in found["Broker"].seen
        assert found["Rights"].level == "ok" and "answers can be sent" in found["Rights"].seen
        reader.until(lambda: reader.inbox, "the answer that was tried")
        assert {topic for topic, _ in reader.inbox} == {"leukoscope/clinic-7/cmd/answer"}  # and nothing of a slide


def test_a_missing_right_is_named(mosquitto: object, tmp_path: Path, configured: Configured) -> None:
    shipped = ShippedBroker(tmp_path, "leukoscope-local.conf")
    with shipped.running() as broker:
        found = named(broker_findings(configured(broker.port, device="clinic-7", user="clinic-8")))
    assert found["Broker"].level == "ok"
    assert found["Rights"].level == "warn"
    assert "may not publish to leukoscope/clinic-7/cmd/answer (Not authorized)" in found["Rights"].seen
    assert "let it write leukoscope/clinic-7/" in found["Rights"].next_step


def test_a_certificate_that_ends_soon_and_an_open_file_are_told(mosquitto: object, tmp_path: Path, configured: Configured) -> None:
    shipped = ShippedBroker(tmp_path)
    ends = datetime.now(timezone.utc) + timedelta(days=12, hours=1)
    issued = shipped.authority.issue_cert("127.0.0.1", not_after=ends)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "leukoscope.pem")
    issued.private_key_pem.write_to_path(tmp_path / "leukoscope.key")
    with shipped.running() as broker:
        config = configured(broker.port, tls=True, ca_file=shipped.ca_file)
        assert config.broker.password_file is not None
        config.broker.password_file.chmod(0o644)
        found = named(broker_findings(config))["Broker"]
    assert found.level == "warn"
    assert f"the broker's certificate expires in 12 days ({ends:%Y-%m-%d}); renew it at the broker." in found.next_step
    assert "is open to others on this machine (mode 0644)" in found.next_step


def test_what_waits_is_told_from_the_record(configured: Configured) -> None:
    config = configured(1)
    assert outbox_finding(config).seen == "no slide was counted here yet"
    with Store.open(config.record_path) as store:
        assert outbox_finding(config).seen == "nothing waits"
        now = datetime.now(timezone.utc)
        store.put_message(OutboxMessage("m-1", "leukoscope/clinic-7/event", b"{}", now, "event"))
        assert (outbox_finding(config).level, outbox_finding(config).seen) == ("ok", "1 wait")
        store.taken("m-1", "nobody", now)
        store.put_aside_row("message", "m-2", "the broker hangs up at it")
    found = outbox_finding(config)
    assert found.level == "warn" and "1 reached the broker while nobody was subscribed" in found.seen
    assert "1 put aside (see Record)" in found.seen


def test_a_credential_of_the_unit_is_not_asked_of_a_shell(configured: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (found,) = broker_findings(configured(1, password_file=None, password_credential="broker-password"))
    assert found.level == "warn" and "leukoscope status --words" in found.next_step
