"""The publisher: a thread that takes what waits in the record's outbox to the broker, keeps the device's status there, and hears what
receivers confirm and ask for.

Which rows are sent, held and let go stands in `sending`; how a connection is made in `connecting`; what the record must be able to do
in `outbox`.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

from typing_extensions import Self

from device.clock import Backoff, Clock, SystemClock
from device.errors import BrokerError
from device.mqtt.broker_status import BrokerStatus, Teller
from device.mqtt.client import Incoming, Link, Version
from device.mqtt.connecting import Connector
from device.mqtt.credentials import careless, is_loopback
from device.mqtt.device_status import DeviceStatus
from device.mqtt.faults import BrokerLostError, BrokerRefusedError
from device.mqtt.listening import Listening
from device.mqtt.news import News
from device.mqtt.outbox import Delivered, Outbox, Spool
from device.mqtt.pace import Limits, Pace
from device.mqtt.sending import Pauses, Sending, Wanted
from device.mqtt.topics import Topics
from device.settings.broker import BrokerSection

log = logging.getLogger(__name__)

__all__ = ["BrokerStatus", "Publisher"]

Commands = Callable[[Incoming], "bytes | None"]
"""Answers a request on `<root>/<device>/cmd/+`, in the publisher's thread; None: no answer. What it raises is logged."""

_STOOD_S: Final = 10.0  # a connection that stood so long was a good one: the pauses start again from the shortest
_SUSPICIOUS: Final = 3  # connections cut short, one after another
_FAREWELL_S: Final = 1.0
_STOP_S: Final = 8.0
_TICK_S: Final = 0.5
_LATE: Final = timedelta(minutes=1)  # so long a receiver may take to confirm before the screen has a word of it
_COUNT_AT_MOST_EVERY_S: Final = 0.2


class Publisher:
    """Keeps a connection to the broker while the `with` block lasts; no failure of broker, network or outbox leaves its thread.

    status: the device's first status, from which the last will is made; `set_device_status` gives newer ones.
    open_outbox: called in the publisher's thread, since a SQLite connection belongs to one thread. commands: answers requests.
    ack_timeout_s: a broker that acknowledges nothing for so long is taken for dead; it grows on a slow link. limits: those of
    connecting. poll_s: how often the outbox is looked at without a `notify`. pauses: how long rows wait for their next attempt.
    shared: other devices lose the broker at the same moment; None: unless it is on this machine.
    """

    def __init__(
        self,
        section: BrokerSection,
        status: DeviceStatus,
        open_outbox: Callable[[], Outbox],
        *,
        commands: Commands | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        limits: Limits | None = None,
        pauses: Pauses | None = None,
        ack_timeout_s: float = 20.0,
        poll_s: float = 5.0,
        status_period_s: float = 60.0,
        shared: bool | None = None,
    ) -> None:
        self.topics = Topics(status.device_id, section.topic_root)
        self._section = section
        self._clock: Clock = clock or SystemClock()
        self._backoff = backoff or Backoff(first_s=1.0, cap_s=float(section.reconnect_max_s))
        self._shared = not is_loopback(section.host) if shared is None else shared
        self._spool = Spool(open_outbox, self._clock)
        self._poll_s = poll_s
        self._changed = threading.Condition()
        # Guarded by _changed:
        self._status = BrokerStatus("connecting" if section.enabled else "disabled", receivers=", ".join(section.receivers))
        self._asked = self._answered = 0  # counts of the outbox that were wished for, and those made
        # The thread's own, but for what News guards itself:
        self._news = News(self.topics, status, self._clock, status_period_s)
        self._incoming: deque[Incoming] = deque()
        self._listening = Listening(self.topics, commands, bool(section.receivers))
        self._stop = threading.Event()
        wanted = Wanted(frozenset(section.receivers), section.receipts == "all")
        self._sending = Sending(self._spool, self.topics, self._clock, wanted, pauses or Pauses(), Pace(ack_timeout_s))
        self._connector = Connector(
            section,
            f"leukoscope-{self.topics.device_id}",
            memory=_Brokers(self._spool, self._clock, section.address),
            limits=limits,
            resume=True,  # receipts that come while the device is away are kept for it
            on_message=self._incoming.append,
            cancelled=self._stopped_while_waiting,
        )
        self._teller = Teller(section.address)
        self._looked = -1  # the wish at which the outbox was last looked at; counting is another matter
        self._looked_s = self._counted_s = float("-inf")
        self._connected_s: float | None = None
        self._cut_short = 0  # connections in a row that did not stand
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
        """The device's newest status: sent when it says something new, else once a minute, and never before summaries that wait.

        Whether it is online, since when, when it was sent and the outbox's length are filled in here.
        """
        self._news.set_status(status)
        self._wake()

    def set_health(self, payload: bytes) -> None:
        """How the box does, as bytes for `<root>/<device>/health`: the newest one is sent, when connected and nothing else waits."""
        self._news.set_health(payload)
        self._wake()

    def drain(self, timeout_s: float) -> bool:
        """Wait until the broker has all that waits; False if it has not after `timeout_s`. What it has, and no receiver has confirmed
        yet, is counted as `unconfirmed`.

        True at once where the broker is switched off: nothing waits that would be sent. The count in `status` is one that was made
        after this call, whatever `timeout_s`, unless the thread is held up.
        """
        if self._thread is None:
            return not self._section.enabled
        self.notify()
        with self._changed:
            ticket = self._asked
            self._changed.wait_for(lambda: self._answered >= ticket, max(timeout_s, 2.0 * _TICK_S))
            return self._changed.wait_for(
                lambda: self._answered >= ticket and self._status.pending == self._status.unconfirmed, timeout_s
            )

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
                hung_up = False
                try:
                    self._look()
                    self._count()
                    link = self._connect()
                    try:
                        self._serve(link)
                    finally:
                        link.drop()
                except BrokerRefusedError as error:
                    self._say("refused", str(error))
                except BrokerError as error:
                    if self._stop.is_set() and self._connected_s is None:
                        return
                    hung_up = self._connected_s is not None and isinstance(error, BrokerLostError)
                    self._say("lost", f"{error}{self._hint(hung_up)}")
                except Exception as error:  # a fault of ours must not end the way to the broker for good
                    log.exception("the publisher failed; it goes on")
                    self._say("lost", f"{type(error).__name__}: {error}")
                if self._connected_s is None:
                    self._sending.not_connected()
                elif self._stood():
                    self._backoff.reset()
                self._sending.end(hung_up=hung_up)
                # Whoever had this broker lost it at the same moment; one on the box itself is nobody else's.
                lost = self._connected_s is not None and self._shared
                self._pause(self._backoff.spread_s() if lost else self._backoff.next_s())
        finally:
            self._spool.close()

    def _stood(self) -> bool:
        return self._connected_s is not None and self._clock.monotonic_s() - self._connected_s > _STOOD_S

    def _hint(self, hung_up: bool) -> str:
        """Advice where several connections in a row were cut short: a message that the broker does not take, or another client that has
        our id, which not every broker says."""
        self._cut_short = self._cut_short + 1 if self._connected_s is not None and not self._stood() else 0
        if hung_up and (suspicion := self._sending.suspicion):
            return f"; {suspicion}"
        return "; it keeps hanging up: is the device id used twice?" if self._cut_short >= _SUSPICIOUS else ""

    def _connect(self) -> Link:
        will = self._news.last_will()
        slow_s = self._sending.pace.limit_s(0)  # a large message on a slow link must not let the broker miss our signs of life
        return self._connector.open((self.topics.status, will), keepalive_s=slow_s)

    def _stopped_while_waiting(self) -> bool:
        """Asked again and again while a broker does not answer; what waits is counted meanwhile, for whoever wants to know."""
        with self._changed:
            wished = self._asked > self._answered
        if wished:
            self._count()
        return self._stop.is_set()

    def _serve(self, link: Link) -> None:
        """Send and settle until stopped (returns, after the farewell) or gone (raises BrokerError)."""
        self._connected_s = self._clock.monotonic_s()
        self._news.begin()
        self._sending.pace.connected(self._connector.limits.answered_s)
        self._sending.begin(link.version)
        self._listening.begin(link)
        self._say("connected", "", link.version)
        while not self._stop.is_set():
            self._look()
            self._sending.send(link)
            self._news.send(link, self.status.pending, busy=self._sending.busy)
            link.service(_TICK_S, self._wake_fd())
            self._hear()
            self._sending.settle(link.take_acks(), link.max_in_flight)
            self._listen(link)
            self._sending.condemn()
            self._sending.forget_complaint()
            self._count()
            if waited_s := self._sending.overdue_s():
                self._sending.pace.silence()
                raise BrokerError(f"the broker acknowledged nothing for {waited_s:.0f} s; connecting anew")
            complaint = self._sending.complaint or self._listening.complaint
            self._say("refused" if complaint else "connected", complaint or self._spool.fault or self._unheard(), link.version)
        self._bid_farewell(link)

    def _unheard(self) -> str:
        """Said of messages that the broker took and gave to nobody."""
        if not self.status.unheard:
            return ""
        return f"nobody is subscribed to {self.topics.summary}, or to the review beside it; start the receiver, or mend its rights"

    def _look(self) -> None:
        """Take in what was put into the outbox: when told so, and every few seconds, for another program may have put it there."""
        now_s = self._clock.monotonic_s()
        with self._changed:
            asked = self._asked
        if asked != self._looked or now_s - self._looked_s >= self._poll_s:
            self._looked, self._looked_s = asked, now_s
            self._sending.refresh()

    def _listen(self, link: Link) -> None:
        self._listening.granted(link)
        while self._incoming:
            receipt = self._listening.take(link, self._incoming.popleft())
            if receipt is not None:
                self._sending.confirmed(receipt)

    def _bid_farewell(self, link: Link) -> None:
        until_s = self._clock.monotonic_s() + _FAREWELL_S
        while self._sending.under_way and self._clock.monotonic_s() < until_s:
            link.service(0.1)
            self._sending.settle(link.take_acks(), link.max_in_flight)
        self._count(at_once=True)
        self._news.send_farewell(link, self.status.pending)
        while link.writing and self._clock.monotonic_s() < until_s + _FAREWELL_S:
            link.service(0.1)
        link.close()

    def _count(self, at_once: bool = False) -> None:
        with self._changed:
            asked, wished = self._asked, self._asked > self._answered
        now_s = self._clock.monotonic_s()
        if not (at_once or wished) and now_s - self._counted_s < _COUNT_AT_MOST_EVERY_S:
            return
        late_before = self._clock.now() - _LATE
        figures = self._spool.read(lambda outbox: outbox.figures(late_before))
        if figures is None:
            return
        self._counted_s = now_s
        self._sending.compare(figures.pending)
        delivered = self._sending.delivered or Delivered()
        with self._changed:
            self._answered = asked
            self._status = replace(
                self._status,
                pending=figures.pending,
                unconfirmed=figures.unconfirmed,
                late=figures.late,
                unheard=figures.unheard,
                quarantined=figures.quarantined,
                delivered_slide=delivered.slide_id,
                delivered_at=delivered.at,
            )
            self._changed.notify_all()

    # ---- waiting and telling

    def _wake_fd(self) -> int | None:
        return self._wake_line[0].fileno() if self._wake_line else None

    def _hear(self) -> None:
        """Empty the wake-up line; what was wished for stands in `_asked` and in the news."""
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
                self._spool.write_waiting()
                self._count()

    def _say(self, state: Literal["connected", "refused", "lost"], reason: str, version: Version | None = None) -> None:
        with self._changed:
            self._status = replace(self._status, state=state, reason=reason, protocol=version)
            self._changed.notify_all()
        self._teller.tell(state, reason, stood=self._stood())


class _Brokers:
    """What the record remembers of this broker."""

    def __init__(self, spool: Spool, clock: Clock, address: str) -> None:
        self._spool, self._clock, self._address = spool, clock, address
        self._seen: str | None = None

    def seen(self) -> str:
        if self._seen is None:
            self._seen = self._spool.read(lambda outbox: outbox.protocol_of(self._address))
        return self._seen or ""

    def remember(self, protocol: str) -> None:
        self._seen, at = protocol, self._clock.now()
        self._spool.write(f"broker {self._address}", lambda outbox: outbox.remember_protocol(self._address, protocol, at))
