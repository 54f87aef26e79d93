"""The publisher: a thread that takes what waits in the record's outbox to the broker, and keeps the device's status there.

A row leaves the outbox only after the broker's acknowledgement of it. What the publisher needs of the record is in `outbox`.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from typing_extensions import Self

from device.clock import Backoff, Clock, SystemClock
from device.errors import BrokerError
from device.mqtt.client import Ack, Link, Version, open_link, versions_to_try
from device.mqtt.credentials import careless
from device.mqtt.device_status import DeviceStatus
from device.mqtt.faults import BrokerRefusedError
from device.mqtt.outbox import Outbox, Spool
from device.mqtt.topics import Topics
from device.settings.broker import BrokerSection

log = logging.getLogger(__name__)

_NO_SUBSCRIBER: Final = "No matching subscribers"
_STOOD_S: Final = 10.0  # a connection that stood so long was a good one: the pauses start again from the shortest
_STATUS_AT_MOST_EVERY_S: Final = 1.0
_SUSPICIOUS: Final = 3  # connections cut short, one after another
_FAREWELL_S: Final = 1.0
_STOP_S: Final = 8.0
_TICK_S: Final = 0.5


@dataclass(frozen=True)
class BrokerStatus:
    """Snapshot of the way to the broker.

    state: "connecting" until the first attempt has an outcome; "refused" where somebody must mend something, "lost" where the network
    or the broker must come back. Both are tried again, and the state stays until an attempt succeeds.
    reason: one line with the next step; empty while all is well. pending: rows in the outbox. protocol: the version while connected.
    """

    state: Literal["disabled", "connecting", "connected", "refused", "lost"]
    reason: str = ""
    pending: int = 0
    protocol: Version | None = None


@dataclass(frozen=True)
class _Sent:
    message_id: str | None  # None: the device's status
    at_s: float


class Publisher:
    """Keeps a connection to the broker while the `with` block lasts; no failure of broker, network or outbox leaves its thread.

    status: the device's first status, from which the last will is made; `set_device_status` gives newer ones.
    open_outbox: called in the publisher's thread, since a SQLite connection belongs to one thread.
    ack_timeout_s: a broker that acknowledges nothing for so long is taken for dead. poll_s: how often the outbox is looked at without
    a `notify`. hold_s: how long a message that the broker refused waits for its next attempt.
    """

    def __init__(
        self,
        section: BrokerSection,
        status: DeviceStatus,
        open_outbox: Callable[[], Outbox],
        *,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        ack_timeout_s: float = 20.0,
        poll_s: float = 5.0,
        hold_s: float = 60.0,
        status_period_s: float = 60.0,
    ) -> None:
        self.topics = Topics(status.device_id, section.topic_root)
        self._section = section
        self._clock: Clock = clock or SystemClock()
        self._backoff = backoff or Backoff(first_s=1.0, cap_s=60.0)
        self._spool = Spool(open_outbox, self._clock)
        self._ack_timeout_s, self._poll_s, self._hold_s, self._status_period_s = ack_timeout_s, poll_s, hold_s, status_period_s
        self._changed = threading.Condition()
        # Guarded by _changed:
        self._device_status = status
        self._status = BrokerStatus("connecting" if section.enabled else "disabled")
        self._asked = self._answered = 0  # counts of the outbox that were wished for, and those made
        # The thread's own:
        self._look = True  # the outbox may hold something that was not sent
        self._looked_s = self._status_sent_s = 0.0
        self._status_sent: DeviceStatus | None = None
        self._sent: dict[int, _Sent] = {}
        self._held: dict[str, float] = {}  # refused by the broker: when to try again
        self._complaint = ""  # of the broker, about a message
        self._connected_s: float | None = None
        self._cut_short = 0  # connections in a row that did not stand
        self._version: Version | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_line: tuple[socket.socket, socket.socket] | None = None  # its reading and its writing end

    # ---- for everybody

    @property
    def status(self) -> BrokerStatus:
        with self._changed:
            return self._status

    def notify(self) -> None:
        """Something was put into the outbox: look now. From any thread."""
        with self._changed:
            self._asked += 1
        self._wake()

    def set_device_status(self, status: DeviceStatus) -> None:
        """The device's newest status: sent when it says something new, else once a minute.

        Whether it is online, since when, when it was sent and the outbox's length are filled in here.
        """
        with self._changed:
            self._device_status = status
        self._wake()

    def drain(self, timeout_s: float) -> bool:
        """Wait until the outbox is empty, that is, all of it acknowledged; False if it is not after `timeout_s`.

        True at once where the broker is switched off: nothing waits that would be sent.
        """
        if self._thread is None:
            return not self._section.enabled
        self.notify()
        with self._changed:
            ticket = self._asked
            return self._changed.wait_for(lambda: self._answered >= ticket and self._status.pending == 0, timeout_s)

    def __enter__(self) -> Self:
        if self._section.enabled and self._thread is None:
            for words in careless(self._section):
                log.warning("%s", words)
            self._stop.clear()
            self._wake_line = socket.socketpair()
            for end in self._wake_line:
                end.setblocking(False)
            self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        self._wake()
        thread.join(_STOP_S)
        if thread.is_alive():  # in the resolver or in a connect that nothing can interrupt; the outbox loses nothing by it
            log.warning("the publisher did not stop in %.0f s; it ends with the process", _STOP_S)
            return
        for end in self._wake_line or ():
            end.close()
        self._wake_line = None

    def _wake(self) -> None:
        if line := self._wake_line:
            with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody is left to wake
                line[1].send(b"\0")

    # ---- the thread

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._connected_s = None
                try:
                    self._count()
                    link = self._connect()
                    try:
                        self._serve(link)
                    finally:
                        link.drop()
                except BrokerRefusedError as error:
                    self._say("refused", str(error))
                except BrokerError as error:
                    self._say("lost", f"{error}{self._hint()}")
                except Exception as error:  # a fault of ours must not end the way to the broker for good
                    log.exception("the publisher failed; it goes on")
                    self._say("lost", f"{type(error).__name__}: {error}")
                if self._stood():
                    self._backoff.reset()
                self._sent.clear()
                self._pause(self._backoff.next_s())
        finally:
            self._spool.close()

    def _stood(self) -> bool:
        return self._connected_s is not None and self._clock.monotonic_s() - self._connected_s > _STOOD_S

    def _hint(self) -> str:
        """Advice where several connections in a row were cut short: likely another client has our id, which not every broker says."""
        self._cut_short = self._cut_short + 1 if self._connected_s is not None and not self._stood() else 0
        return "; it keeps hanging up: is the device id used twice?" if self._cut_short >= _SUSPICIOUS else ""

    def _connect(self) -> Link:
        with self._changed:
            will = self._device_status.last_will(self._clock.now())
        link = open_link(
            self._section,
            f"leukoscope-{self.topics.device_id}",
            versions=versions_to_try(self._section.protocol, self._version),
            will=(self.topics.status, will.to_bytes()),
            cancelled=self._stop.is_set,
        )
        self._version = link.version
        return link

    def _serve(self, link: Link) -> None:
        """Send and settle until stopped (returns, after the farewell) or gone (raises BrokerError)."""
        since, self._connected_s = self._clock.now(), self._clock.monotonic_s()
        self._status_sent = None
        self._complaint, self._look = "", True
        self._held.clear()  # a new connection may have new rights
        self._say("connected", "", link.version)
        while not self._stop.is_set():
            self._send_status(link, since)
            self._send_rows(link)
            link.service(_TICK_S, self._wake_fd())
            self._hear()
            self._settle(link.take_acks())
            now_s = self._clock.monotonic_s()
            if self._sent and now_s - min(sent.at_s for sent in self._sent.values()) > self._ack_timeout_s:
                raise BrokerError(f"the broker acknowledged nothing for {self._ack_timeout_s:.0f} s; connecting anew")
            self._say("refused" if self._complaint else "connected", self._complaint or self._spool.fault, link.version)
        self._bid_farewell(link)

    def _send_status(self, link: Link, since: datetime) -> None:
        with self._changed:
            newest, pending = self._device_status, self._status.pending
        now_s = self._clock.monotonic_s()
        waited_s = now_s - self._status_sent_s
        if self._status_sent is not None:
            period_s = self._status_period_s if newest.says_the_same_as(self._status_sent) else _STATUS_AT_MOST_EVERY_S
            if waited_s < period_s:
                return
        filled = {"state": "online", "offline_reason": None, "since": since, "sent_at": self._clock.now(), "outbox_pending": pending}
        mid = link.publish(self.topics.status, newest.model_copy(update=filled).to_bytes(), retain=True)
        self._sent[mid] = _Sent(None, now_s)
        self._status_sent, self._status_sent_s = newest, now_s

    def _send_rows(self, link: Link) -> None:
        now_s = self._clock.monotonic_s()
        with self._changed:
            wished = self._asked > self._answered
        due = any(at_s <= now_s for at_s in self._held.values())
        if wished or due or now_s - self._looked_s > self._poll_s:
            self._look = True
        under_way = {sent.message_id for sent in self._sent.values()}
        room = link.max_in_flight - len(self._sent)
        if not self._look or room <= 0:
            return
        self._look, self._looked_s = False, now_s
        self._held = {message_id: at_s for message_id, at_s in self._held.items() if at_s > now_s}
        if not self._held:
            self._complaint = ""
        passed_over = under_way | self._spool.acknowledged | set(self._held)
        rows = [m for m in self._spool.rows(room + len(passed_over)) if m.message_id not in passed_over]
        for row in rows[:room]:
            try:
                mid = link.publish(row.topic, row.payload)
            except BrokerRefusedError as error:
                self._hold(row.message_id, str(error))
            else:
                self._sent[mid] = _Sent(row.message_id, now_s)
        self._count()

    def _settle(self, acks: Sequence[Ack]) -> None:
        for ack in acks:
            sent = self._sent.pop(ack.mid, None)
            if sent is None:
                continue
            self._look = True
            if sent.message_id is None:
                if not ack.accepted:
                    log.warning("the broker refuses the device's status: %s; allow %s", ack.reason, self.topics.status)
            elif ack.accepted:
                self._spool.take(sent.message_id)
                if ack.reason == _NO_SUBSCRIBER:
                    log.warning("the broker took summary %s, but nobody is subscribed to it", sent.message_id)
            else:
                self._hold(sent.message_id, f"the broker refuses summaries: {ack.reason}; allow {self.topics.summary}")
        if self._spool.remove_taken():
            self._count()

    def _hold(self, message_id: str, reason: str) -> None:
        self._held[message_id] = self._clock.monotonic_s() + self._hold_s
        self._complaint = reason

    def _bid_farewell(self, link: Link) -> None:
        with self._changed:
            status, pending = self._device_status, self._status.pending
        farewell = status.stopped(self._clock.now()).model_copy(update={"outbox_pending": pending})
        mid = link.publish(self.topics.status, farewell.to_bytes(), retain=True)
        self._sent[mid] = _Sent(None, self._clock.monotonic_s())
        until_s = self._clock.monotonic_s() + _FAREWELL_S
        while self._sent and self._clock.monotonic_s() < until_s:
            link.service(0.1)
            self._settle(link.take_acks())
        link.close()
        self._count()

    def _count(self) -> None:
        with self._changed:
            asked = self._asked
        pending = self._spool.count()
        if pending is None:
            return
        with self._changed:
            self._answered = asked
            self._status = replace(self._status, pending=pending)
            self._changed.notify_all()

    # ---- waiting and telling

    def _wake_fd(self) -> int | None:
        return self._wake_line[0].fileno() if self._wake_line else None

    def _hear(self) -> None:
        """Empty the wake-up line; what was wished for stands in `_asked` and `_device_status`."""
        if self._wake_line:
            with contextlib.suppress(BlockingIOError):
                self._wake_line[0].recv(4096)

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; a `notify` only makes the outbox be counted, not the broker be pressed."""
        until_s = self._clock.monotonic_s() + seconds
        while not self._stop.is_set() and (left_s := until_s - self._clock.monotonic_s()) > 0:
            poll = select.poll()
            fd = self._wake_fd()
            if fd is not None:
                poll.register(fd, select.POLLIN)
            if poll.poll(max(1, int(1000 * left_s))):
                self._hear()
                self._spool.remove_taken()
                self._count()

    def _say(self, state: Literal["connected", "refused", "lost"], reason: str, version: Version | None = None) -> None:
        with self._changed:
            old = self._status
            self._status = replace(old, state=state, reason=reason, protocol=version)
            self._changed.notify_all()
        if (old.state, old.reason) != (state, reason):
            level = logging.INFO if state == "connected" and not reason else logging.WARNING
            log.log(level, "broker %s:%d: %s%s", self._section.host, self._section.port, state, f" ({reason})" if reason else "")
