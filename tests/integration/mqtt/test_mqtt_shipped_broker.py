"""The broker's configuration that is shipped (systemd/mosquitto), in a real mosquitto: who may do what, what is kept, how it starts."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from device.demo.broker import free_port
from device.mqtt.client import open_link
from device.settings.broker import BrokerSection
from tests.support.shipped_broker import SHIPPED, Peer, ShippedBroker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto is not installed (apt install mosquitto)"),
]
OWN = ("status", "summary", "review", "health", "event", "cmd/answer")


@pytest.fixture
def shipped(mosquitto: object, tmp_path: Path) -> ShippedBroker:
    return ShippedBroker(tmp_path)


def arrived(writer: Peer, receiver: Peer, topics: Sequence[str], allowed: str) -> set[str]:
    """Which of `topics` come through, of those sent before one that is allowed."""
    writer.publish_all([*[(topic, b"tried", 0) for topic in topics], (allowed, b"last", 1)])
    receiver.until(lambda: (allowed, b"last") in receiver.inbox, allowed)
    return {topic for topic, payload in receiver.inbox if payload == b"tried"}


def test_a_device_writes_its_own_topics_and_nothing_else(shipped: ShippedBroker) -> None:
    own, others = ([f"leukoscope/{device}/{kind}" for kind in OWN] for device in ("clinic-7", "clinic-8"))
    others += ["leukoscope/clinic-7/receipt", "leukoscope/clinic-7/cmd/resend", "leukoscope/summary"]
    with shipped.running() as broker, shipped.peer(broker, "clinic-7") as device, shipped.peer(broker, "supervisor") as supervisor:
        supervisor.subscribe("leukoscope/#")
        assert arrived(device, supervisor, [*others, *own], "leukoscope/clinic-7/summary") == set(own)
        assert device.publish("leukoscope/clinic-8/summary") == "Not authorized"
        assert device.farewells == 0  # as with `max_queued_messages 0`: mosquitto would break the connection with each refusal


def test_a_device_reads_what_is_said_to_it_and_no_slide(shipped: ShippedBroker) -> None:
    with (
        shipped.running() as broker,
        shipped.peer(broker, "clinic-7") as device,
        shipped.peer(broker, "clinic-8") as other,
        shipped.peer(broker, "supervisor") as supervisor,
    ):
        for wish in ("leukoscope/#", "leukoscope/clinic-8/receipt", "#"):
            device.subscribe(wish)
        other.publish_all([(f"leukoscope/clinic-8/{kind}", b"x", 1) for kind in OWN])
        supervisor.publish("leukoscope/clinic-8/receipt")
        device.publish("leukoscope/clinic-7/summary")
        for topic in ("leukoscope/clinic-7/receipt", "leukoscope/clinic-7/cmd/resend"):
            supervisor.publish(topic)
        device.until(lambda: {topic for topic, _ in device.inbox} >= {topic}, "what the supervisor says to this device")
        assert {topic for topic, _ in device.inbox} == {"leukoscope/clinic-7/receipt", "leukoscope/clinic-7/cmd/resend"}


def test_the_supervisor_reads_all_confirms_and_asks_but_writes_no_slide(shipped: ShippedBroker) -> None:
    with (
        shipped.running() as broker,
        shipped.peer(broker, "clinic-7") as device,
        shipped.peer(broker, "supervisor") as supervisor,
        shipped.peer(broker, "reader") as reader,
    ):
        supervisor.subscribe("leukoscope/#")
        reader.subscribe("leukoscope/#")
        device.publish_all([(f"leukoscope/clinic-7/{kind}", b"x", 1) for kind in OWN])
        wanted = {f"leukoscope/clinic-7/{kind}" for kind in OWN}
        for receiver in (supervisor, reader):
            receiver.until(lambda who=receiver: {topic for topic, _ in who.inbox} >= wanted, "every topic of the device")  # type: ignore[misc]
        of_the_device = [f"leukoscope/clinic-7/{kind}" for kind in OWN[:-1]]
        said = [f"leukoscope/clinic-7/{kind}" for kind in ("receipt", "cmd/resend")]
        assert arrived(supervisor, reader, [*of_the_device, *said], said[0]) == set(said)
        assert supervisor.publish(of_the_device[1]) == "Not authorized"
        assert {reader.publish(topic) for topic in (of_the_device[1], *said)} == {"Not authorized"}


@pytest.mark.parametrize(("user", "password"), [("", None), ("clinic-7", "wrong"), ("nobody", None)])
def test_who_is_not_known_is_refused(shipped: ShippedBroker, user: str, password: str | None) -> None:
    with (
        shipped.running() as broker,
        pytest.raises(PermissionError, match="Not authorized"),
        shipped.peer(broker, user, password=password),
    ):
        pass


def test_a_receiver_that_is_away_loses_no_summary_and_its_queue_holds_no_status(shipped: ShippedBroker) -> None:
    """mosquitto's own limit of 1,000 lost 501 of 1,500; statuses at QoS 0 are not kept for it, whatever their number."""
    wanted = [f"{number}".encode() for number in range(1500)]
    with shipped.running() as broker, shipped.peer(broker, "supervisor", stays=True) as supervisor:
        for kind in ("summary", "status"):
            supervisor.subscribe(f"leukoscope/+/{kind}")
        supervisor.leave()
        with shipped.peer(broker, "clinic-7") as device:
            summaries = [("leukoscope/clinic-7/summary", text, 1) for text in wanted]
            statuses = [("leukoscope/clinic-7/status", b"status", 0)] * 1440
            device.publish_all([*statuses, *summaries])
        broker_stopped = broker
    assert broker_stopped.pid is None  # the queue outlives its restart
    with shipped.running() as broker, shipped.peer(broker, "supervisor", stays=True) as supervisor:
        supervisor.until(lambda: len(supervisor.inbox) >= len(wanted), "the queue")
        assert supervisor.inbox == [("leukoscope/clinic-7/summary", text) for text in wanted]


def test_the_largest_message_is_told_beforehand(shipped: ShippedBroker) -> None:
    with shipped.running() as broker, shipped.peer(broker, "clinic-7") as device:
        assert device.largest == 4194304


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_devices_own_connection_is_accepted(shipped: ShippedBroker, protocol: str) -> None:
    password = shipped.folder / "clinic-7.password"
    password.write_text("of clinic-7\n")
    given = {"tls": True, "ca_file": shipped.ca_file, "username": "clinic-7", "password_file": password, "protocol": protocol}
    with shipped.running() as broker:
        link = open_link(BrokerSection.model_validate({"host": broker.host, "port": broker.port, **given}), "leukoscope-clinic-7")
        assert link.version in ("5", "3.1.1")
        link.close()


def test_the_broker_of_one_clinic_listens_on_the_loopback_with_passwords_and_the_same_rights(mosquitto: object, tmp_path: Path) -> None:
    shipped = ShippedBroker(tmp_path, "leukoscope-local.conf")
    listeners = [line for line in (SHIPPED / shipped.file).read_text().splitlines() if line.startswith("listener ")]
    assert listeners == ["listener 1883 127.0.0.1"]
    with shipped.running() as broker:
        with shipped.peer(broker, "clinic-7") as device:
            assert device.publish("leukoscope/clinic-7/summary") == "No matching subscribers"
            assert device.publish("leukoscope/clinic-8/summary") == "Not authorized"
        with pytest.raises(PermissionError, match="Not authorized"), shipped.peer(broker, ""):
            pass


def test_devices_with_certificates_of_their_own(shipped: ShippedBroker) -> None:
    """The two lines that leukoscope.conf has commented out."""
    text = (SHIPPED / shipped.file).read_text()
    assert "#cafile /etc/mosquitto/certs/leukoscope-ca.pem\n#require_certificate true\n" in text
    more = (f"cafile {shipped.ca_file}", "require_certificate true")
    issued = shipped.authority.issue_cert("clinic-7")
    cert, key = shipped.folder / "clinic-7.pem", shipped.folder / "clinic-7.key"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    context = shipped.context()
    with shipped.running(more) as broker:
        context.load_cert_chain(cert, key)
        with Peer(broker.port, "clinic-7", context, False) as device:
            assert device.publish("leukoscope/clinic-7/summary") == "No matching subscribers"


def test_debians_own_configuration_reads_it(shipped: ShippedBroker, tmp_path: Path) -> None:
    """Its mosquitto.conf sets persistence too, and takes ours from conf.d: no option stands in its way twice."""
    debian = Path("/etc/mosquitto/mosquitto.conf")
    if not debian.is_file():
        pytest.skip("no mosquitto of Debian's here")
    folder, port = tmp_path / "conf.d", free_port()
    folder.mkdir()
    lines = [line for line in shipped.lines if not line.startswith(("persistence_location", "user"))]
    (folder / "leukoscope.conf").write_text("\n".join([f"listener {port} 127.0.0.1", *lines]))
    text = debian.read_text().replace("/etc/mosquitto/conf.d", str(folder))
    for path in ("/run/mosquitto/", "/var/lib/mosquitto/", "/var/log/mosquitto/"):
        text = text.replace(path, f"{tmp_path}/")
    main = tmp_path / "mosquitto.conf"
    main.write_text(text + ("\nuser root\n" if os.geteuid() == 0 else ""))
    with subprocess.Popen(["mosquitto", "-c", str(main)], stderr=subprocess.PIPE) as broker:
        try:
            Peer.until(lambda: broker.poll() is not None or _listens(port), "mosquitto to listen")
            assert broker.poll() is None, broker.stderr and broker.stderr.read()
            with Peer(port, "clinic-7", shipped.context(), False) as device:
                assert device.publish("leukoscope/clinic-7/summary") == "No matching subscribers"
        finally:
            broker.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def test_the_certificates_of_the_page_are_made_by_its_own_commands(shipped: ShippedBroker, repository: Path) -> None:
    """docs/broker.md: an authority, the broker's certificate, a device's; mosquitto and the device take all three."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (repository / "docs/broker.md").read_text(), re.M | re.S)
    script = "".join(blocks).replace("broker.example", "localhost").replace("10.1.2.3", "127.0.0.1")
    assert script.count("openssl ") == 5
    subprocess.run(["sh", "-e", "-c", script], cwd=shipped.folder, check=True, capture_output=True)
    own = {"cert_file": shipped.folder / "clinic-7.pem", "key_file": shipped.folder / "clinic-7.key"}
    (password := shipped.folder / "password").write_text("of clinic-7\n")
    given = {"tls": True, "ca_file": shipped.folder / "ca.pem", "username": "clinic-7", "password_file": password, **own}
    with shipped.running((f"cafile {shipped.folder}/ca.pem", "require_certificate true")) as broker:
        for host in ("localhost", "127.0.0.1"):
            open_link(BrokerSection.model_validate({"host": host, "port": broker.port, **given}), "leukoscope-clinic-7").close()
