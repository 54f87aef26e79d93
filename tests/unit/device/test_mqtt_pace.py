"""Limits that grow with the link, messages under suspicion, and which version of MQTT a broker is asked for."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from device.mqtt.broker_status import BrokerStatus, Teller
from device.mqtt.connecting import Connector, ThisRun
from device.mqtt.faults import HungUpError, NoAnswerError
from device.mqtt.pace import Limits, Pace
from device.mqtt.suspects import ALONE_BESIDE_OTHERS, ALONE_ON_A_LINK_THAT_STOOD, Suspects
from device.settings.broker import BrokerSection

# ---- limits


def test_limits_of_connecting_double_with_silence_and_stay() -> None:
    limits = Limits()
    assert (limits.first_s, limits.last_s) == (3.0, 10.0)
    limits.silence()
    limits.silence()
    assert (limits.first_s, limits.last_s) == (12.0, 40.0)
    limits.answered(12.0)  # a long link: four times what it took, from now on
    assert (limits.first_s, limits.last_s) == (48.0, 48.0)
    for _ in range(10):
        limits.silence()
    assert (limits.first_s, limits.last_s) == (120.0, 120.0)


def test_an_acknowledgement_may_take_as_long_as_the_link_needs() -> None:
    pace = Pace(20.0)
    pace.connected(0.01)
    assert pace.limit_s(0) == 20.0
    assert pace.limit_s(12_000) == 40.0  # of an unknown link: 12 kB at 512 bytes/s, at most as long again
    pace.silence()
    assert pace.limit_s(12_000) == 80.0  # which 256 bytes/s keep
    pace.acknowledged(47.0, 12_000, most=8)
    assert (pace.limit_s(12_000), pace.window) == (pytest.approx(188.0, abs=0.2), 1)
    assert pace.limit_s(200_000) > 3_000.0  # pictures on such a link
    quick = Pace(20.0)
    quick.connected(0.01)
    for _ in range(10):
        quick.acknowledged(0.02, 12_000, most=8)
    assert (quick.limit_s(96_000), quick.window) == (20.0, 8)


def test_a_long_link_may_still_carry_much_at_once() -> None:
    pace = Pace(20.0)
    pace.connected(12.0)
    assert pace.limit_s(0) == 48.0
    for _ in range(3):
        pace.acknowledged(12.5, 12_000, most=8)
    assert pace.window == 4
    pace.acknowledged(90.0, 48_000, most=8)
    assert pace.window == 2


# ---- suspects


def end_alone(suspects: Suspects, key: str, *, stood_s: float = 0.0, at_s: float = 0.0) -> float:
    suspects.linked(at_s)
    suspects.tried(key, 12_000, at_s + stood_s)
    return suspects.ended([key], at_s + stood_s + 0.1)[key]


def test_a_message_is_condemned_only_beside_others_that_pass() -> None:
    suspects = Suspects((60.0, 3600.0))
    assert [end_alone(suspects, "bad") for _ in range(6)] == [0.0, 60.0, 120.0, 240.0, 480.0, 960.0]
    assert suspects.is_one("bad") and suspects.condemned() == []  # nothing shows that the link is good
    suspects.passed("good")
    ((key, why),) = suspects.condemned()
    assert key == "bad"
    assert "12000 bytes" in why and "message_size_limit" in why and "6 times alone" in why


def test_what_ends_without_it_proves_nothing() -> None:
    suspects = Suspects((60.0, 3600.0))
    for _ in range(ALONE_BESIDE_OTHERS):
        end_alone(suspects, "a")
    suspects.ended(["b"], 5.0)  # another one ends it as well
    suspects.passed("c")
    assert suspects.condemned() == []
    for _ in range(ALONE_BESIDE_OTHERS):
        end_alone(suspects, "a")
    suspects.link_is_bad()  # the broker was away: it had ended the connection itself
    suspects.passed("c")
    assert suspects.condemned() == []


def test_several_that_are_too_large_do_not_clear_each_other() -> None:
    suspects = Suspects((60.0, 3600.0))
    for _ in range(ALONE_BESIDE_OTHERS + 1):
        end_alone(suspects, "a")
        end_alone(suspects, "b")
    assert suspects.condemned() == []
    suspects.linked(0.0)
    suspects.tried("small", 900, 0.0)
    suspects.passed("small")
    assert [key for key, _ in suspects.condemned()] == ["a", "b"]
    suspects.tried("as large", 12_000, 0.0)
    suspects.passed("as large")  # so it is not for their size
    assert suspects.condemned() == []


def test_a_message_alone_is_condemned_on_a_link_that_stood() -> None:
    suspects = Suspects((60.0, 3600.0))
    for n in range(ALONE_ON_A_LINK_THAT_STOOD - 1):
        end_alone(suspects, "bad", stood_s=60.0, at_s=100.0 * n)
    assert suspects.condemned() == []
    end_alone(suspects, "bad", stood_s=60.0, at_s=1000.0)
    assert [key for key, _ in suspects.condemned()] == ["bad"]
    suspects.passed("bad")
    assert not suspects.is_one("bad")


def test_who_was_under_way_together_is_tried_alone_first() -> None:
    suspects = Suspects((60.0, 3600.0))
    assert suspects.ended(["a", "b", "c"], 0.0) == {"a": 0.0, "b": 0.0, "c": 0.0}
    suspects.passed("a")
    assert (suspects.is_one("a"), suspects.is_one("b"), suspects.words) == (False, True, "")


# ---- the version


@contextmanager
def broker_that(*answers: bytes | None) -> Iterator[tuple[BrokerSection, list[int]]]:
    """A broker that gives each CONNECT in turn its answer (None: silence); the levels of protocol that it was asked for."""
    levels, done = list[int](), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def serve() -> None:
            with ExitStack() as kept:
                for answer in answers:
                    visitor, _ = server.accept()
                    kept.enter_context(visitor)
                    connect = visitor.recv(1024)
                    levels.append(connect[connect.index(b"MQTT") + 4])
                    if answer:
                        visitor.sendall(answer)
                    elif answer is not None:
                        visitor.close()
                done.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield BrokerSection(host="127.0.0.1", port=server.getsockname()[1]), levels
        done.set()
        thread.join(10)


YES_5, YES_4, NO_5 = b"\x20\x03\x00\x00\x00", b"\x20\x02\x00\x00", b"\x20\x03\x00\x84\x00"


def answered(limits: Limits) -> Limits:
    """As they are once a broker has answered: then nobody looks any more whether it wants TLS."""
    limits.answered(0.001)
    return limits


def test_a_silent_broker_is_asked_twice_before_it_counts_as_old() -> None:
    with broker_that(None, YES_4, None, YES_4) as (section, levels):
        connector = Connector(section, "test", limits=Limits(0.2, 1.0))
        link = connector.open()
        assert (link.version, levels) == ("3.1.1", [5, 4, 5, 4])
        link.drop()


def test_a_slow_broker_is_spoken_to_in_mqtt_5() -> None:
    memory = ThisRun()
    with broker_that(None, YES_4, YES_5) as (section, levels):
        link = Connector(section, "test", memory=memory, limits=Limits(0.2, 1.0)).open()
        assert (link.version, levels, memory.seen()) == ("5", [5, 4, 5], "5")
        link.drop()


def test_the_floor_holds_against_silence_and_hang_ups(caplog: pytest.LogCaptureFixture) -> None:
    memory = ThisRun()
    memory.remember("5")
    with broker_that(None, b"", b"", YES_5) as (section, levels), caplog.at_level(logging.INFO):
        connector = Connector(section, "test", memory=memory, limits=answered(Limits(0.2, 0.3)))
        with pytest.raises(NoAnswerError, match="It spoke MQTT 5 before; if an older broker"):
            connector.open()
        for _ in range(2):
            with pytest.raises(HungUpError):
                connector.open()
        link = connector.open()
        assert (link.version, levels) == ("5", [5, 5, 5, 5])
        link.drop()
    assert not caplog.records


def test_the_floor_falls_when_the_broker_says_so_or_hangs_up_for_long(caplog: pytest.LogCaptureFixture) -> None:
    memory = ThisRun()
    memory.remember("5")
    with broker_that(NO_5, YES_4) as (section, levels):
        link = Connector(section, "test", memory=memory).open()
        assert (link.version, levels, memory.seen()) == ("3.1.1", [5, 4], "")
        link.drop()
    memory.remember("5")
    with broker_that(b"", b"", YES_4) as (section, levels):
        connector = Connector(section, "test", memory=memory, limits=answered(Limits()), hang_ups=(2, 0.0))
        with pytest.raises(HungUpError):
            connector.open()
        link = connector.open()
        assert (link.version, levels, memory.seen()) == ("3.1.1", [5, 5, 4], "")
        link.drop()
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]


# ---- what is told


def test_each_fault_is_told_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    teller = Teller("broker:1883")
    with caplog.at_level(logging.INFO):
        teller.tell("connected", "", stood=False)
        for _ in range(5):  # a broker that comes and goes
            teller.tell("lost", "hung up", stood=False)
            teller.tell("lost", "nobody listens", stood=False)
            teller.tell("connected", "", stood=False)
        teller.tell("connected", "", stood=True)
        teller.tell("connected", "", stood=True)
        teller.tell("lost", "hung up", stood=False)
    said = [r.getMessage().removeprefix("broker broker:1883: ") for r in caplog.records]
    assert said == ["connected", "lost (hung up)", "lost (nobody listens)", "connected", "lost (hung up)"]


def test_what_waits_has_a_reason_in_every_state() -> None:
    assert BrokerStatus("connected", pending=3, unconfirmed=1).waiting == 2
    assert BrokerStatus("connected").why_waiting == "it has not acknowledged them yet"
    assert BrokerStatus("connecting").why_waiting == "it has not answered yet"
    assert BrokerStatus("lost", "no broker").why_waiting == "no broker"


def test_who_was_only_beside_a_guilty_one_does_not_wait() -> None:
    suspects = Suspects((60.0, 3600.0))
    for _ in range(4):  # the window held both each time
        assert suspects.ended(["too large", "event"], 0.0)["event"] == 0.0
    assert [end_alone(suspects, "too large") for _ in range(3)] == [0.0, 60.0, 120.0]
    assert suspects.ended(["event", "another"], 0.0)["event"] == 0.0
