"""`leukoscope fleet-sim` with a real mosquitto and a real receiver: nothing lost or doubled when the broker goes; a stop in order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from device.demo.broker import MosquittoBroker, find_mosquitto
from device.fleet.messages import Voice
from device.mqtt.client import open_link
from device.settings.broker import BrokerSection
from device.supervisor.database import migrate, open_database, reading
from device.supervisor.receiver import Receiver, Reception
from device.supervisor.tables import Device, Gap, SentReceipt, Slide, Summary
from device.supervisor.taking import Taken

pytestmark = pytest.mark.integration
DEVICES, PATIENCE_S = 20, 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    user = ("user root",) if os.geteuid() == 0 else ()
    store = tmp_path / "broker"
    store.mkdir()
    lines = (*user, "allow_anonymous true", "max_queued_messages 100000", "persistence true", f"persistence_location {store}/")
    with MosquittoBroker(lines=lines) as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(f"sqlite:///{tmp_path}/supervisor.sqlite")
    migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def received(engine: Engine, broker: MosquittoBroker) -> Iterator[Receiver]:
    receiver = Receiver(engine, Reception(BrokerSection(host=broker.host, port=broker.port), "ward"))
    receiver.start()
    assert receiver.ready.wait(PATIENCE_S)
    yield receiver
    receiver.stop()


def fleet(broker: MosquittoBroker, folder: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "device", "fleet-sim", "--host", broker.host, "--port", str(broker.port), "--receiver", "ward"]
    words += ["--devices", str(DEVICES), "--processes", "2", "--result", str(folder / "result.json"), *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def count(engine: Engine, table: type[Device] | type[Summary], **values: object) -> int:
    with reading(engine) as session:
        return session.scalar(select(func.count()).select_from(table).filter_by(**values)) or 0


@pytest.mark.timeout(180)
def test_a_fleet_loses_its_broker_and_nothing_else(broker: MosquittoBroker, engine: Engine, received: Receiver, tmp_path: Path) -> None:
    child = fleet(broker, tmp_path, "--minutes", "0.15", "--slides-per-hour", "1200", "--reconnect-max", "2", "--burst", "2")
    until(lambda: count(engine, Summary) >= 3 * DEVICES)
    broker._end()
    time.sleep(1.0)
    broker._start()
    said, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, said
    figures = json.loads((tmp_path / "result.json").read_text())
    done = figures["summaries"]
    assert done["made"] > 3 * DEVICES and done["confirmed"] == done["delivered"] == done["made"] and not done["waiting"], said
    assert 0 < done["receipt_s"]["p50"] <= done["receipt_s"]["p99"] <= done["receipt_s"]["max"]
    (outage,) = figures["outages"]
    assert outage["lowest"] == 0 and outage["connects"] >= DEVICES and outage["all_back_s"] > 1.0
    assert f"{DEVICES} simulated devices" in said and "an outage: down to 0 connected" in said
    assert count(engine, Summary) == done["made"]
    with reading(engine) as session:
        assert session.scalar(select(func.count(Summary.message_id.distinct()))) == done["made"]
        assert not session.scalars(select(Gap).where(Gap.closed_at.is_(None))).all()
        assert set(session.scalars(select(Slide.simulated))) == {True}
    until(lambda: count(engine, Device, state="offline", offline_reason="stopped") == DEVICES)


@pytest.mark.timeout(120)
def test_ctrl_c_ends_all_in_order(broker: MosquittoBroker, engine: Engine, received: Receiver, tmp_path: Path) -> None:
    child = fleet(broker, tmp_path, "--minutes", "30", "--slides-per-hour", "600")
    until(lambda: count(engine, Device, state="online") == DEVICES)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0 and "Traceback" not in said, said
    assert json.loads((tmp_path / "result.json").read_text())["connected_at_once"] == DEVICES
    until(lambda: count(engine, Device, state="offline", offline_reason="stopped") == DEVICES)


def test_wrong_words_are_told_in_one_line(tmp_path: Path) -> None:
    for words, said in (
        (("--devices", "50000"), "at most 20000"),
        (("--prefix", "a/b"), "--prefix 'a/b'"),
        (("--receiver", "a b"), "--receiver 'a b'"),
        (("--result", f"{tmp_path}/none/x.json"), "there is no such folder"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "device", "fleet-sim", *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.timeout(120)
def test_a_long_queue_is_confirmed_while_it_is_taken(broker: MosquittoBroker, engine: Engine) -> None:
    """An ingester that only stored while a thousand devices waited for its receipts once had sent 128 of 5,000 after ten minutes."""
    section, counts = BrokerSection(host=broker.host, port=broker.port), []

    def told(taken: Sequence[Taken]) -> None:
        with reading(engine) as session:
            counts.append((len(taken), *session.execute(select(func.count(), func.count(SentReceipt.sent_at))).one()))

    first = Receiver(engine, Reception(section, "ward"))
    first.start()
    assert first.ready.wait(PATIENCE_S)
    first.stop()
    voices = [Voice(f"sim-{number}", "leukoscope", random.Random(number)) for number in range(100)]
    with closing(open_link(section, "many-devices")) as link:
        waiting = {link.publish(message.topic, message.payload) for _ in range(6) for message in (voice.summary() for voice in voices)}
        while waiting:
            link.service(0.1)
            waiting -= {ack.mid for ack in link.take_acks()}
    second = Receiver(
        engine, Reception(section, "ward"), lambda taken: told(taken) if any(one.kind == "summary" for one in taken) else None
    )
    second.start()
    try:
        until(lambda: count(engine, Summary) == 600)
        until(lambda: sum(taken for taken, _, _ in counts) >= 600)
    finally:
        second.stop()
    taken, stored, confirmed = counts[-1]
    assert len(counts) >= 3 and stored == 600
    assert confirmed >= (stored - taken) / 2, counts  # of those before the last transaction; on a quiet machine all
