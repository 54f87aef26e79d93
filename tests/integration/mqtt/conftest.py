"""Both ends of a broker, for the tests of this folder: an outbox in memory, a receiver in a thread, and a line that can be cut."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from rich.console import Console

from device.clock import Backoff
from device.demo.broker import find_mosquitto
from device.mqtt.client import open_link
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.outbox import OutboxMessage
from device.mqtt.payloads import SlideSummary, read_summary
from device.mqtt.publisher import Publisher
from device.settings.broker import BrokerSection
from device.store.outbox import insert
from device.store.record import Store
from device.supervisor.watch import watch
from tests.support.bad_link import BadLink

PATIENCE_S = 60.0  # only how long to wait before giving up; a busy machine is no fault of the code


class Outbox:
    """A real record's outbox, looked at from the test's own thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        Store.open(path).close()

    def put(self, summary: SlideSummary) -> SlideSummary:
        """As it was put, with its number."""
        topic = f"leukoscope/{summary.device_id}/summary"
        message = OutboxMessage(
            str(summary.message_id), topic, summary.to_bytes(), datetime.now(timezone.utc), slide_id=summary.slide_id
        )
        with Store.connect(self.path) as store:
            return read_summary(store.put_message(message).payload).payload

    def put_again(self, summary: SlideSummary) -> None:
        """As it is, at the end of the queue."""
        topic, at = f"leukoscope/{summary.device_id}/summary", datetime.now(timezone.utc)
        message = OutboxMessage(str(summary.message_id), topic, summary.to_bytes(), at, slide_id=summary.slide_id)
        with Store.connect(self.path) as store, store._transaction("put again") as db:
            insert(db, message)

    @property
    def rows(self) -> Sequence[OutboxMessage]:
        with Store.connect(self.path) as store:
            return store.pending(10_000)

    def pending_count(self) -> int:
        with Store.connect(self.path) as store:
            return store.pending_count()


class Receiver:
    """`watch` in a thread, and what it printed."""

    def __init__(self, section: BrokerSection, client_id: str | None = None) -> None:
        self.paper = io.StringIO()
        self.received: list[SlideSummary] = []
        self.error: BaseException | None = None
        self._section, self._client_id = section, client_id
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        console = Console(file=self.paper, width=160, color_system=None)
        try:
            self.received = watch(self._section, console=console, client_id=self._client_id, ready=self._ready, stop=self._stop)
        except Exception as error:
            self.error = error
            self._ready.set()

    def __enter__(self) -> Receiver:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def said(self) -> str:
        return self.paper.getvalue()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """What waits to be sent: `put` a summary, look at `rows`."""
    return Outbox(tmp_path / "record" / "record.sqlite")


@pytest.fixture
def receive() -> Callable[..., Receiver]:
    """`with receive(section, client_id=None) as receiver`: `said` while it runs, `received` after it."""
    return Receiver


@pytest.fixture
def audience() -> Callable[[BrokerSection], None]:
    """`audience(section)`: somebody has a session at the broker from now on, is away, and so has what is published."""

    def subscribe(section: BrokerSection) -> None:
        link = open_link(section, "audience", resume=True)
        link.subscribe([f"{section.topic_root}/+/summary"])
        link.close()

    return subscribe


@pytest.fixture
def proxy_to() -> Callable[[int], BadLink]:
    """`with proxy_to(port) as proxy`: the same broker on `proxy.port`, with a hand on the line."""
    return BadLink


@pytest.fixture
def publisher_to(status: DeviceStatus, outbox: Outbox) -> Callable[..., Publisher]:
    """A publisher of `outbox` that does not wait long between attempts."""

    def make(section: BrokerSection, **options: Any) -> Publisher:
        return Publisher(section, status, lambda: Store.connect(outbox.path), backoff=Backoff(0.05, 0.2), **options)

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], object], str], None]:
    """`until(lambda: it_happened, "its name")` waits, and fails by name."""

    def wait(happened: Callable[[], object], what: str) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < give_up_s, f"waited {PATIENCE_S:.0f} s for {what}"
            time.sleep(0.01)

    return wait


@pytest.fixture
def fresh(repository: Path) -> Callable[[], SlideSummary]:
    """Another summary at each call."""
    example = read_summary((repository / "docs/schema/summary-1.example.json").read_bytes()).payload
    return lambda: example.model_copy(update={"message_id": uuid4(), "slide_id": f"slide-{uuid4().hex[:6]}"})


@pytest.fixture
def status(repository: Path) -> DeviceStatus:
    return read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload


@pytest.fixture
def mosquitto() -> tuple[str, ...]:
    """Skips where there is no mosquitto; else the lines that every configuration of it needs."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    return ("user root",) if os.geteuid() == 0 else ()  # started by root it becomes a user that may not read our files
