"""The broker is frozen, killed, slow, far away, deaf, too strict, and the receiver is not there."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from datetime import datetime, timezone
from uuid import uuid4

from device.mqtt.client import open_link
from device.mqtt.outbox import OutboxMessage
from device.mqtt.payloads import read_summary
from device.settings.broker import BrokerSection
from device.store import Store
from device.store.outbox import insert
from tests.faults.bench import Bench, Trial
from tests.faults.cases import case


def slides(bench: Bench, count: int) -> list[str]:
    """Finish so many, each with a field."""
    done = []
    for _ in range(count):
        bench.counts(1)
        done.append(bench.finish())
    bench.trial.hold(all(done), "a slide could not be finished")
    return [each for each in done if each]


def arrive(bench: Bench, finished: list[str], end_s: float, patience_s: float = 120.0) -> None:
    """Wait for all of them at the receiver: a recovery."""
    bench.trial.since(end_s, lambda: all(bench.has(each) for each in finished), "the summaries", patience_s)


@case(
    "broker-frozen",
    2,
    1,
    "broker frozen for 70 s, slides finished meanwhile",
    "While the broker is frozen the count goes on, and all arrives when it wakes",
)
def broker_frozen(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.start()
        count, frozen_s = (4, 70.0) if trial.tries > 1 else (2, 3.0)
        for _ in range(trial.tries):
            slides(bench, 1)
            bench.broker.signal(signal.SIGSTOP)
            frozen = time.monotonic()
            finished = slides(bench, count)
            time.sleep(max(0.0, frozen + frozen_s - time.monotonic()))
            bench.broker.signal(signal.SIGCONT)
            arrive(bench, finished, time.monotonic())
        bench.end()


@case(
    "broker-killed",
    32,
    1,
    "broker killed while a slide is sent, back after up to 2 s",
    "A broker that is killed and comes back loses nothing: each summary arrives, with one id",
)
def broker_killed(trial: Trial) -> None:
    with Bench(trial, pauses=3) as bench:
        bench.start()
        for _ in range(trial.tries):
            finished = slides(bench, 1)
            time.sleep(trial.chance.uniform(0.0, 0.3))
            bench.broker.kill()
            finished += slides(bench, 1)
            time.sleep(trial.chance.uniform(0.0, 1.0))
            bench.broker.start()
            arrive(bench, finished, time.monotonic())
        bench.end()
        trial.words = f"{len(bench.ward.slides)} slides; pauses of at most 3 s, sent again after 20 s"


@case(
    "broker-cut",
    50,
    1,
    "connection cut in the middle of a summary's packet",
    "A summary whose packet was cut is sent again with the same id and counted once",
)
def broker_cut(trial: Trial) -> None:
    with Bench(trial, pauses=2) as bench:
        bench.start()
        for _ in range(trial.tries):
            trial.wait(lambda: (bench.box.status() or {"broker": {"state": ""}})["broker"]["state"] == "connected", "a connection")
            bench.link.bytes_per_s = 6000.0
            upstream, cut_after = bench.link.upstream, trial.chance.randint(200, 2500)
            finished = slides(bench, 1)
            trial.wait(lambda: bench.link.upstream > upstream + cut_after or bench.has(finished[0]), "bytes")  # noqa: B023
            bench.link.hang_up()
            bench.link.bytes_per_s = 0.0
            arrive(bench, finished, time.monotonic())
        bench.end()
        trial.words = "pauses of at most 2 s"


@case("broker-slow", 3, 1, "512 bytes a second upstream", "A slow link delivers")
def broker_slow(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.link.bytes_per_s = 512.0 if trial.tries > 1 else 4096.0
        bench.start()
        for _ in range(trial.tries):
            finished = slides(bench, 1)
            arrive(bench, finished, time.monotonic())
        bench.end()
        trial.words = "from the finish to the receiver"


@case("broker-far", 2, 1, "round trip of 12 s", "A long link connects, in MQTT 5, and delivers")
def broker_far(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.link.delay_s = 6.0 if trial.tries > 1 else 0.75
        bench.start()
        finished = slides(bench, trial.tries)
        arrive(bench, finished, time.monotonic(), 300.0)
        status = bench.box.status()
        trial.hold(status is not None and status["broker"]["protocol"] == "5", "another version than MQTT 5")
        bench.link.delay_s = 0.0
        bench.end()
        trial.words = "from the finish to the receiver"


@case(
    "broker-deaf", 2, 1, "acknowledgements swallowed for 50 s", "What is not acknowledged is sent again, and the receiver takes it once"
)
def broker_deaf(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.start()
        for _ in range(trial.tries):
            slides(bench, 1)
            bench.link.answers = False
            deaf = time.monotonic()
            finished = slides(bench, 1)
            time.sleep(max(0.0, deaf + (50.0 if trial.tries > 1 else 3.0) - time.monotonic()))
            bench.link.answers = True
            arrive(bench, finished, time.monotonic())
            bench.drained()
        bench.end()


def one_summary(bench: Bench) -> OutboxMessage:
    """What the daemon made of a slide, to be multiplied while it does not run."""
    bench.start()
    slides(bench, 1)
    bench.drained()
    bench.box.end()
    with contextlib.closing(sqlite3.connect(bench.box.record)) as db:
        slide_id, content = db.execute("SELECT slide_id, summary FROM slides WHERE summary IS NOT NULL").fetchone()
    payload = content if isinstance(content, bytes) else str(content).encode()
    return OutboxMessage(str(uuid4()), "leukoscope/box/summary", payload, datetime.now(timezone.utc), slide_id=slide_id)


def more(bench: Bench, like: OutboxMessage, count: int) -> list[str]:
    """Put so many summaries of other slides into the record's outbox; their slides' ids."""
    summary, names = read_summary(like.payload).payload, []
    with Store.connect(bench.box.record) as store, store._transaction("a backlog") as db:
        for _ in range(count):
            another = summary.model_copy(update={"message_id": uuid4(), "slide_id": f"slide-{uuid4().hex[:8]}"})
            row = OutboxMessage(str(another.message_id), like.topic, another.to_bytes(), like.created_at, slide_id=another.slide_id)
            insert(db, row)
            names.append(another.slide_id)
    return names


@case(
    "supervisor-away",
    1500,
    60,
    "a backlog of summaries and a day of statuses while the receiver is away",
    "A receiver that was away misses nothing, however much came meanwhile",
)
def supervisor_away(trial: Trial) -> None:
    with Bench(trial) as bench:
        finished = more(bench, one_summary(bench), trial.tries)
        bench.ward.go()
        link = open_link(BrokerSection(host="127.0.0.1", port=bench.broker.port), "chatter")
        for _ in range(1440):
            link.publish("leukoscope/other/status", b"{}", retain=True, qos=0)
            link.service(0.0)
        bench.start()
        trial.wait(lambda: (bench.box.status() or {"unconfirmed": 0})["unconfirmed"] >= trial.tries, "all at the broker", 300.0)
        link.close()
        bench.ward.come()
        arrive(bench, finished, time.monotonic(), 300.0)
        trial.lost += len(set(finished) - set(bench.ward.slides))
        bench.drained()
        bench.end()
        trial.words = "1,440 statuses besides; until the last was there"


@case(
    "poison",
    6,
    2,
    "a waiting message with a damaged topic, a damaged text, no text",
    "A message that cannot be sent is put aside and named; the rest goes",
)
def poison(trial: Trial) -> None:
    damage = ("topic = 'leukoscope/+/summary'", "payload = CAST('{\"half' AS BLOB)", "payload = x''", "topic = ''")
    with Bench(trial) as bench:
        finished = more(bench, one_summary(bench), trial.tries + 5)
        with contextlib.closing(sqlite3.connect(bench.box.record)) as db, db:
            rows = [row[0] for row in db.execute("SELECT sequence FROM outbox ORDER BY sequence LIMIT ?", (trial.tries,))]
            for number, row in enumerate(rows):
                db.execute(f"UPDATE outbox SET {damage[number % 4]}, checksum = '' WHERE sequence = ?", (row,))
        began_s = time.monotonic()
        bench.start()
        arrive(bench, finished[trial.tries :], began_s)
        bench.drained()
        aside = bench.quarantined()
        trial.hold(aside == trial.tries, f"{aside} in quarantine")
        bench.end()
        trial.words = f"{trial.tries} put aside, 5 delivered"


@case(
    "broker-strict",
    3,
    1,
    "a summary above the broker's message_size_limit, at which it hangs up, before others",
    "A message that makes the broker hang up is found out, put aside and named; the rest goes",
)
def broker_strict(trial: Trial) -> None:
    with Bench(trial, pauses=2) as bench:
        like = one_summary(bench)
        summary = read_summary(like.payload).payload
        large = summary.model_copy(update={"skipped_pictures": 0, "description": summary.description * 40}).to_bytes()
        more(bench, OutboxMessage(like.message_id, like.topic, large, like.created_at, slide_id=like.slide_id), trial.tries)
        finished = more(bench, like, 5)
        bench.broker.kill()
        bench.broker.lines += (f"message_size_limit {len(like.payload) + 500}",)
        bench.broker.start()
        began_s = time.monotonic()
        bench.start()
        arrive(bench, finished, began_s)
        for _ in range(40):  # others must pass before one is condemned
            if bench.quarantined() >= trial.tries:
                break
            slides(bench, 1)
        trial.wait(lambda: bench.quarantined() == trial.tries, "the large ones in quarantine", 180.0)
        bench.end()
        trial.hold("message_size_limit" in bench.box.said, "the limit is not named")
        trial.words = f"{bench.quarantined()} of {trial.tries} with {len(large)} bytes put aside, limit {len(like.payload) + 500}"
