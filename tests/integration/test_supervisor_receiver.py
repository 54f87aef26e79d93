"""The supervisor's reception with a real mosquitto and real databases: nothing lost, nothing doubled, whatever is away or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres import Cluster, cluster
from sqlalchemy import Engine, func, select
from ward import example, summary

from device.demo.broker import MosquittoBroker, find_mosquitto
from device.mqtt.client import Incoming, Link, open_link
from device.mqtt.receipt import read_receipt
from device.settings.broker import BrokerSection
from device.supervisor import queries
from device.supervisor.database import migrate, open_database, reading
from device.supervisor.receiver import Receiver, Reception
from device.supervisor.tables import Device, SentReceipt, Summary

pytestmark = pytest.mark.integration
PATIENCE_S = 90.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    store = tmp_path / "broker"
    store.mkdir()
    user = ("user root",) if os.geteuid() == 0 else ()
    lines = (*user, "allow_anonymous true", "max_queued_messages 0", "persistence true", f"persistence_location {store}/")
    with MosquittoBroker(lines=lines) as running:
        yield running


@pytest.fixture(scope="module")
def postgres() -> Iterator[Cluster]:
    with cluster() as running:
        yield running


@pytest.fixture
def fresh(postgres: Cluster) -> Cluster:
    """The cluster with an empty database."""
    engine = open_database(postgres.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/supervisor.sqlite"
    cluster: Cluster = request.getfixturevalue("fresh")
    return cluster.url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = open_database(url)
    migrate(made)
    yield made
    made.dispose()


def section(broker: MosquittoBroker) -> BrokerSection:
    return BrokerSection(host=broker.host, port=broker.port)


def until(happened: Callable[[], object], what: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < give_up_s, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.05)


def stored(engine: Engine) -> int:
    with reading(engine) as session:
        return session.scalar(select(func.count()).select_from(Summary)) or 0


def summaries(count: int, device: str = "clinic-7") -> list[dict[str, object]]:
    return [summary(device, f"slide-{number}", sequence=number) for number in range(1, count + 1)]


def publish(to: BrokerSection, documents: list[dict[str, object]], statuses: int = 0) -> None:
    """As devices do, each acknowledged by the broker before this returns."""
    status = {**example("status"), "device_id": "clinic-7"}
    with closing(open_link(to, "the-devices")) as link:
        for _ in range(statuses):
            link.publish("leukoscope/clinic-7/status", json.dumps(status).encode(), retain=True)
        for document in documents:
            link.publish(f"leukoscope/{document['device_id']}/summary", json.dumps(document).encode())
        _until_acked(link, len(documents) + statuses)


def _until_acked(link: Link, wanted: int) -> None:
    acked = 0
    give_up_s = time.monotonic() + PATIENCE_S
    while acked < wanted:
        link.service(0.05)
        acked += len(link.take_acks())
        assert time.monotonic() < give_up_s


class Confirmed:
    """A device's ear: the message ids that receipts name."""

    def __init__(self, to: BrokerSection) -> None:
        self.ids: list[str] = []
        self.receivers: set[str] = set()
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(to,))

    def _listen(self, to: BrokerSection) -> None:
        with closing(open_link(to, "ear", on_message=self._take)) as link:
            link.subscribe(["leukoscope/+/receipt"])
            self._ready.set()
            while not self._stop.is_set():
                link.service(0.1)

    def _take(self, incoming: Incoming) -> None:
        receipt = read_receipt(incoming.payload).payload
        self.receivers.add(receipt.receiver)
        self.ids += [str(one) for one in receipt.message_ids]

    def __enter__(self) -> Confirmed:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)


def away_and_back(engine: Engine, reception: Reception) -> None:
    """Make the durable session, then leave."""
    receiver = Receiver(engine, reception)
    receiver.start()
    assert receiver.ready.wait(PATIENCE_S)
    receiver.stop()


def test_1500_summaries_and_a_thousand_statuses_wait_for_a_supervisor_who_is_away(broker: MosquittoBroker, engine: Engine) -> None:
    to = section(broker)
    reception = Reception(to, "ward-1")
    away_and_back(engine, reception)
    whole = 1500 if engine.dialect.name == "sqlite" else 300  # PostgreSQL takes longer and tells nothing more
    sent = summaries(whole)
    publish(to, sent, statuses=1440)
    receiver = Receiver(engine, reception)
    with Confirmed(to) as confirmed:
        receiver.start()
        until(lambda: stored(engine) == whole, f"{whole} summaries")
        until(lambda: len(set(confirmed.ids)) == whole, f"{whole} receipts")
        receiver.stop()
    assert {document["message_id"] for document in sent} == set(confirmed.ids)
    assert confirmed.receivers == {"ward-1"}
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(SentReceipt).where(SentReceipt.sent_at.is_(None))) == 0
        assert session.get_one(Device, "clinic-7").state == "online"


RUN = """
import sys, time
from device.settings.broker import BrokerSection
from device.supervisor.database import open_database
from device.supervisor.receiver import Reception, Receiver
Receiver(open_database(sys.argv[1]), Reception(BrokerSection(port=int(sys.argv[2])), sys.argv[3], sys.argv[4])).start()
"""


def ingester(url: str, broker: MosquittoBroker, name: str, shared: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, url, str(broker.port), name, shared])


def test_ingesters_killed_in_the_middle_lose_and_double_nothing(broker: MosquittoBroker, url: str, engine: Engine) -> None:
    to = section(broker)
    away_and_back(engine, Reception(to, "ward-1"))
    sent = summaries(whole := 600 if engine.dialect.name == "sqlite" else 250)
    publish(to, sent)
    with Confirmed(to) as confirmed:
        kills, seen = 0, -1
        while stored(engine) < whole:
            child = ingester(url, broker, "ward-1")
            before = stored(engine)
            until(lambda before=before: stored(engine) > before or stored(engine) == whole, "some more")  # type: ignore[misc]
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills, seen = kills + 1, stored(engine)
            assert kills < 100
        assert seen == whole
        child = ingester(url, broker, "ward-1")
        until(lambda: len(set(confirmed.ids)) == whole, "receipts, those of killed ingesters too")
        child.kill()
        child.wait()
    assert kills >= 1
    with reading(engine) as session:
        assert set(session.scalars(select(Summary.message_id))) == {document["message_id"] for document in sent}


def test_three_ingesters_share_the_messages_without_doubles(broker: MosquittoBroker, fresh: Cluster) -> None:
    engine, to = open_database(fresh.url), section(broker)
    migrate(engine)
    receivers = [Receiver(engine, Reception(to, f"ward-{number}", "ward")) for number in range(3)]
    for receiver in receivers:
        receiver.start()
        assert receiver.ready.wait(PATIENCE_S)
    sent = [document for number in range(3) for document in summaries(60, f"clinic-{number}")]
    with Confirmed(to) as confirmed:
        publish(to, sent + sent[:50])
        until(lambda: stored(engine) == 180, "all of them once")
        until(lambda: len(set(confirmed.ids)) == 180, "all receipts")
        for receiver in receivers:
            receiver.stop()
    assert confirmed.receivers == {"ward"}
    with reading(engine) as session:
        assert queries.open_gaps(session) == []
        assert {row.device_id: row.slides for row in queries.devices(session)} == {f"clinic-{number}": 60 for number in range(3)}
    engine.dispose()


def test_while_the_database_is_away_the_broker_keeps_what_comes(broker: MosquittoBroker, fresh: Cluster) -> None:
    engine, to = open_database(fresh.url), section(broker)
    migrate(engine)
    receiver = Receiver(engine, Reception(to, "ward-1"))
    receiver.start()
    assert receiver.ready.wait(PATIENCE_S)
    fresh.stop()
    with Confirmed(to) as confirmed:
        publish(to, summaries(30))
        until(lambda: receiver.database.words, "a word on the database")
        assert confirmed.ids == []
        fresh.start()
        until(lambda: len(set(confirmed.ids)) == 30, "receipts once it is back")
    assert stored(engine) == 30
    assert not receiver.database.words
    receiver.stop()
    engine.dispose()


def test_a_broker_that_dies_is_waited_for(broker: MosquittoBroker, tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/supervisor.sqlite")
    migrate(engine)
    receiver = Receiver(engine, Reception(section(broker), "ward-1"))
    receiver.start()
    assert receiver.ready.wait(PATIENCE_S)
    until(lambda: receiver.listening_since, "statuses heard")
    broker.kill()
    until(lambda: receiver.broker.words and receiver.listening_since is None, "a word on the broker")
    broker._end()
    broker._start()
    until(lambda: receiver.listening_since and not receiver.broker.words, "both sessions again")
    publish(section(broker), summaries(5))
    until(lambda: stored(engine) == 5, "what came after")
    assert not receiver.broker.words
    receiver.stop()
    engine.dispose()


def test_a_broker_that_refuses_statuses_or_receipts_is_told_and_summaries_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In MQTT 5 the broker says so; what it lets through goes on."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    rights = tmp_path / "acl"
    rights.write_text("topic read leukoscope/+/summary\ntopic read leukoscope/+/review\ntopic read leukoscope/+/event\n")
    rights.write_text(rights.read_text() + "topic write leukoscope/+/summary\n")
    rights.chmod(0o644)
    user = ("user root",) if os.geteuid() == 0 else ()
    engine = open_database(f"sqlite:///{tmp_path}/supervisor.sqlite")
    migrate(engine)
    with MosquittoBroker(lines=(*user, "allow_anonymous true", f"acl_file {rights}")) as broker:
        receiver = Receiver(engine, Reception(section(broker), "ward-1"))
        receiver.start()
        assert receiver.ready.wait(PATIENCE_S)
        publish(section(broker), summaries(3))
        until(lambda: stored(engine) == 3, "summaries")
        until(lambda: "receipt" in caplog.text, "a word on receipts")
        receiver.stop()
    assert caplog.text.count("let us write leukoscope/+/receipt") == 1
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(SentReceipt).where(SentReceipt.sent_at.is_(None))) == 3
    engine.dispose()
