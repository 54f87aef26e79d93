"""The simulated devices' outbox keeps the record's rules, their messages are real ones, and the figures are right."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from device.fleet.figures import busiest, connected, outages, spread, summaries
from device.fleet.messages import Voice
from device.fleet.outbox import Journey, MemoryOutbox
from device.mqtt.health import read_health
from device.mqtt.outbox import Outbox, OutboxMessage
from device.mqtt.payloads import read_summary
from device.store.record import Store

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=timezone.utc)
BOTH, ALL = frozenset({"ward", "lab"}), True


@pytest.fixture(params=["memory", "record"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Outbox:
    messages = [OutboxMessage(key, "leukoscope/sim-1/summary", b"{}", NOW, slide_id=f"slide-{key}") for key in "abcd"]
    if request.param == "memory":
        memory = MemoryOutbox(lambda journey: None)
        for message in messages:
            memory.put(message)
        return memory
    store = Store.open(tmp_path / "record.sqlite")
    request.addfinalizer(store.close)
    for message in messages:
        store.put_message(message)
    return store


def ids(outbox: Outbox, after: int = 0) -> list[str]:
    return [head.message_id for head in outbox.heads(after, 10)]


def test_the_outbox_in_memory_has_the_rules_of_the_record(outbox: Outbox) -> None:
    assert ids(outbox) == ["a", "b", "c", "d"] and ids(outbox, 2) == ["c", "d"] and len(outbox.heads(0, 3)) == 3
    outbox.taken("a", "sent", NOW)
    outbox.taken("b", "nobody", NOW)
    head = outbox.heads(0, 1)[0]
    assert (head.attempts, head.said, head.sent_at) == (1, "sent", NOW)
    figures = outbox.figures(NOW - timedelta(minutes=1))
    assert (figures.pending, figures.unconfirmed, figures.late, figures.unheard) == (4, 1, 0, 1)
    assert outbox.figures(NOW + timedelta(minutes=1)).late == 1
    assert not outbox.confirm(["a"], "ward", NOW, BOTH, ALL)
    assert list(outbox.confirm(["a", "never sent"], "lab", NOW, BOTH, ALL)) == ["a"]
    assert list(outbox.confirm(["b"], "anybody", NOW, frozenset(), False)) == ["b"]
    assert not outbox.confirm(["c"], "anybody", NOW, BOTH, False)
    outbox.delivered("c", NOW)
    assert outbox.last_delivered().at == NOW
    outbox.acknowledge("d")
    outbox.taken("d", "sent", NOW)
    assert ids(outbox) == [] and outbox.message("a") is None and outbox.figures(NOW).pending == 0


def test_every_message_is_whole_numbered_and_says_that_it_is_simulated() -> None:
    voice = Voice("sim-00007", "trial", random.Random(7))
    made = [voice.summary() for _ in range(50)]
    read = [read_summary(message.payload) for message in made]
    assert [one.payload.sequence for one in read] == list(range(1, 51))
    assert len({one.payload.message_id for one in read}) == 50 and len({one.payload.stream for one in read}) == 1
    assert len({one.payload.white_cells for one in read}) > 20
    assert all(one.payload.source.simulated and not one.ignored and one.payload.model.name == "fleet-sim" for one in read)
    assert {message.topic for message in made} == {"trial/sim-00007/summary"}
    assert voice.status().simulated and read_health(voice.health()).payload.simulated
    assert not voice.status().says_the_same_as(voice.status())
    assert made[0].payload != Voice("sim-00008", "trial", random.Random(8)).summary().payload


def test_figures() -> None:
    assert spread([]) == {} and spread([0.3, 0.1, 0.2]) == {"n": 3, "p50": 0.2, "p99": 0.3, "max": 0.3}
    assert spread([float(n) for n in range(1, 101)])["p99"] == 99.0
    assert busiest([0.0, 0.5, 0.99, 1.0, 5.0], 1.0) == 3 and busiest([], 1.0) == 0
    total = connected([[(1.0, 1), (2.0, 2), (5.0, 0), (9.0, 2)], [(1.5, 1), (5.5, 0), (7.0, 1)]])
    assert total == [(1.0, 1), (1.5, 2), (2.0, 3), (5.0, 1), (5.5, 0), (7.0, 1), (9.0, 3)]
    (outage,) = outages(total, [1.0, 1.5, 2.0, 7.0, 8.9, 9.0], 3)
    assert outage == {"lowest": 0, "connects": 3, "first_back_s": 2.0, "all_back_s": 4.0, "busiest_1s": 2, "busiest_10s": 3}
    (open_end,) = outages(total[:-1], [7.0], 3)
    assert open_end["all_back_s"] is None and open_end["connects"] == 1
    assert outages(total[:2], [1.0], 3) == []  # they never were all there
    left = [Journey("a", 1.0, 2.0, 2.5, 4.0, 0.0, 1), Journey("b", 1.0, 2.0, 3.0, 0.0, 0.0, 2)]
    told = summaries(left, [Journey("c", 1.0)], 3)
    assert (told["made"], told["delivered"], told["confirmed"], told["waiting"], told["sent_again"]) == (3, 2, 1, 1, 1)
    assert told["receipt_s"]["p50"] == 2.0 and told["broker_s"]["max"] == 1.0 and told["from_the_slides_end_s"]["max"] == 3.0
