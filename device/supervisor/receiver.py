"""What keeps every summary: a durable MQTT session that acknowledges a message, and confirms it to its device, once it is committed.

Two threads. One has the session that the broker keeps while nobody listens: summaries, reviews, events. The other has a session that
is forgotten at the end: statuses and health reports, which would only fill the first one's queue. Both go on until they are told to
stop: a broker that is away is tried again, and while the database is away nothing is acknowledged, so that the broker keeps it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, select, tuple_, update
from sqlalchemy.exc import SQLAlchemyError

from device.clock import Backoff
from device.errors import BrokerError
from device.mqtt.client import Incoming, Link
from device.mqtt.connecting import Connector
from device.mqtt.faults import BrokerLostError
from device.mqtt.receipt import receipts
from device.mqtt.topics import ANY_DEVICE, Topics
from device.settings.broker import BrokerSection
from device.supervisor.database import first_line, reading, where, writing
from device.supervisor.ingest import take
from device.supervisor.tables import SentReceipt
from device.supervisor.taking import Taken

log = logging.getLogger(__name__)

KEPT: Final = ("summary", "review", "event")
PASSING: Final = ("status", "health")
_BATCH: Final = 200
_LEAST: Final = 20
_BATCH_S: Final = 0.25
_COMMIT_S: Final = 0.5
"""A transaction that takes longer has fewer messages the next time: other ingesters wait for its rows, devices for their receipts."""
_RECEIPTS_S: Final = 1.0  # the receipts of one transaction leave before the next one begins, unless the broker is slow
_IDLE_S: Final = 0.2
_LIVED_S: Final = (
    20.0  # a connection that ends earlier was no success: two receivers of one name must not throw each other out for ever
)
_ASIDE_REMEMBERED: Final = 1000
_FAREWELL_S: Final = 2.0
_UNSENT_AFTER: Final = timedelta(seconds=10)  # a receipt that was asked for so long ago, and that nobody sent: its ingester died


@dataclass(frozen=True)
class Reception:
    """How to listen. name: the receiver's, in receipts and as the session's client id. shared: a group of ingesters that share the
    messages among them; the receipts are then the group's, and each ingester has a `name` of its own."""

    section: BrokerSection
    name: str
    shared: str = ""

    @property
    def receiver(self) -> str:
        return self.shared or self.name

    def filters(self, kinds: Sequence[str]) -> list[str]:
        """What to subscribe to; the passing kinds are never shared, for every ingester's page needs them."""
        topics = Topics(ANY_DEVICE, self.section.topic_root)
        group = f"$share/{self.shared}/" if self.shared and kinds == KEPT else ""
        return [group + topics.of(kind) for kind in kinds]


class Fault:
    """Something that is wrong for a while: logged when it begins or changes, and when it ends."""

    def __init__(self, what: str, besides: Fault | None = None) -> None:
        self.words = ""
        self.since: datetime | None = None
        self._what, self._besides, self._told = what, besides, False

    def begins(self, words: str) -> None:
        """besides: a fault that explains this one where both are there; then one line in the log is enough."""
        new, self.words, self.since = words != self.words, words, self.since or _now()
        explained = self._besides is not None and (bool(self._besides.words) or "does not let us" not in words)
        if (new or not self._told) and not explained:
            log.warning("%s: %s; trying again", self._what, words)
            self._told = True

    def ends(self) -> None:
        if self._told:
            log.info("%s: well again", self._what)
        self.words, self.since, self._told = "", None, False


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Receiver:
    """Both sessions. told: called after each commit with what was taken, in the session's own thread; must not raise.

    listening_since: since when statuses are heard without a break, None while they are not. `start`, then `stop`.
    """

    def __init__(self, engine: Engine, reception: Reception, told: Callable[[Sequence[Taken]], None] = lambda taken: None) -> None:
        self.broker, self.database = Fault("broker"), Fault("database")
        self.statuses = Fault("statuses", besides=self.broker)
        self.listening_since: datetime | None = None
        self.ready = threading.Event()
        self._engine, self._reception, self._told = engine, reception, told
        self._topics = Topics(ANY_DEVICE, reception.section.topic_root)
        self._stop = threading.Event()
        self._waiting: list[Incoming] = []
        self._came: list[Incoming] = []
        self._batch = {"kept": _BATCH, "passing": _BATCH}  # so many messages go into one transaction; of each session's own thread
        self._aside: Counter[tuple[str, str]] = Counter()
        section, cancelled = reception.section, self._stop.is_set
        self._kept = Connector(section, reception.name, resume=True, by_hand=True, on_message=self._waiting.append, cancelled=cancelled)
        passing = f"{reception.name[:40]}-status-{secrets.token_hex(4)}"
        self._passing = Connector(section, passing, on_message=self._came.append, cancelled=cancelled)
        self._threads = [
            threading.Thread(target=self._forever, args=(session,), name=f"receiver-{session}") for session in ("kept", "passing")
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 15.0) -> None:
        """End both sessions in order; what is not stored by then the broker keeps."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def _forever(self, session: str) -> None:
        backoff = Backoff(0.5, 30.0)
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                (self._keep if session == "kept" else self._pass_on)()
            except BrokerError as error:
                if not self._stop.is_set():
                    (self.broker if session == "kept" else self.statuses).begins(str(error))
            except SQLAlchemyError as error:
                self.database.begins(f"{where(self._engine)}: {first_line(error)}")
            except Exception:  # a fault of ours ends this connection, not the reception
                log.exception("the reception broke off; trying again")
            if session == "passing":
                self.listening_since = None
            if time.monotonic() - began_s > _LIVED_S:
                backoff.reset()
            self._stop.wait(backoff.next_s())

    # ---- summaries, reviews, events

    def _keep(self) -> None:
        waiting = self._waiting
        waiting.clear()  # of an earlier connection: not acknowledged, so the broker sends it again
        with closing(self._kept.open()) as link:
            link.subscribe(self._reception.filters(KEPT), self._stop.is_set)
            self.broker.ends()
            self.ready.set()
            sending = _Sending(link, self._reception.receiver, self._topics.root)
            look_s = time.monotonic()
            while not self._stop.is_set():
                if time.monotonic() >= look_s:
                    sending.send(self._unsent())
                    look_s = time.monotonic() + _UNSENT_AFTER.total_seconds()
                self._gather(link, waiting)
                if waiting:
                    some = waiting[: self._batch["kept"]]
                    taken = self._store(link, some, "kept")
                    if taken is not None:
                        self._tell_aside(taken)
                        for incoming in some:
                            link.confirm(incoming)
                        del waiting[: len(some)]
                        sending.send(taken)
                        self._told(taken)
                        until_s = time.monotonic() + _RECEIPTS_S
                        while sending.waits and time.monotonic() < until_s and not self._stop.is_set():
                            link.service(0.02)  # only so many go at once; what arrives meanwhile waits for the next transaction
                            sending.settle()
                self._note_sent(sending)
            until_s = time.monotonic() + _FAREWELL_S
            link.service(0.0)  # the last acknowledgements leave, and the last receipts are acknowledged
            while sending.waits and time.monotonic() < until_s:
                link.service(0.05)
                self._note_sent(sending)

    def _unsent(self) -> list[Taken]:
        """What was to be confirmed a while ago and was not: by an ingester that was killed between commit and receipt."""
        wanted = select(SentReceipt.device_id, SentReceipt.message_id)
        wanted = wanted.where(SentReceipt.sent_at.is_(None), SentReceipt.asked_at < _now() - _UNSENT_AFTER).limit(5000)
        with reading(self._engine) as session:
            found = [Taken(row[0], "", message_id=row[1]) for row in session.execute(wanted)]
        self.database.ends()
        return found

    def _gather(self, link: Link, waiting: list[Incoming]) -> None:
        """Wait for something, and take with it what comes close behind: one commit for all."""
        if not waiting:
            link.service(_IDLE_S)
        until_s = time.monotonic() + _BATCH_S
        while waiting and len(waiting) < _BATCH and time.monotonic() < until_s:
            before = len(waiting)
            link.service(0.0)
            if len(waiting) == before:
                return

    def _store(self, link: Link, waiting: list[Incoming], session_name: str) -> list[Taken] | None:
        """One transaction for all that wait; None where the database cannot now: it is tried again, and nothing is acknowledged.

        By device, so that two ingesters lock rows in one order; of one device in the order of arrival.
        """
        pause = Backoff(0.5, 15.0)
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                with writing(self._engine) as session:
                    now = _now()
                    ordered = sorted(waiting, key=lambda incoming: self._topics.device_of(incoming.topic))
                    taken = [take(session, self._topics, incoming, now) for incoming in ordered]
            except SQLAlchemyError as error:
                self.database.begins(f"{where(self._engine)}: {first_line(error)}")
            else:
                self.database.ends()
                took_s, batch = time.monotonic() - began_s, self._batch[session_name]
                if took_s > _COMMIT_S:
                    self._batch[session_name] = max(_LEAST, min(batch, len(waiting)) // 2)
                elif took_s < 0.5 * _COMMIT_S:
                    self._batch[session_name] = min(_BATCH, batch * 2)
                return taken
            until_s = time.monotonic() + pause.next_s()
            while time.monotonic() < until_s and not self._stop.is_set():
                link.service(_IDLE_S)  # the connection is kept alive meanwhile; what arrives waits too
        return None

    def _note_sent(self, sending: _Sending) -> None:
        if not (done := sending.done()):
            return
        try:
            with writing(self._engine) as session:
                pairs = sorted((device, message_id) for device, ids in done for message_id in ids)
                for at in range(0, len(pairs), _BATCH):  # by device, as messages are stored: nobody waits for who waits
                    mine = tuple_(SentReceipt.device_id, SentReceipt.message_id).in_(pairs[at : at + _BATCH])
                    session.execute(update(SentReceipt).where(mine).values(sent_at=_now()))
        except SQLAlchemyError as error:  # they are sent once more after a restart, which does no harm
            self.database.begins(f"{where(self._engine)}: {first_line(error)}")

    def _tell_aside(self, taken: Sequence[Taken]) -> None:
        """Log what was put aside: of one device and reason the 1st, the 100th and so on, for a device that does it does it for long."""
        for one in taken:
            if one.why:
                before = self._aside[one.device_id, one.why]
                self._aside[one.device_id, one.why] += 1
                if before % 100 == 0:
                    log.warning("message of %s put aside: %s", one.device_id or "no device of ours", one.why)
        if len(self._aside) > _ASIDE_REMEMBERED:
            self._aside.clear()

    # ---- statuses and health

    def _pass_on(self) -> None:
        came = self._came
        with closing(self._passing.open()) as link:
            link.subscribe(self._reception.filters(PASSING), self._stop.is_set, qos=0)
            self.listening_since = _now()
            self.statuses.ends()
            while not self._stop.is_set():
                self._gather(link, came)
                if came:
                    newest = list({incoming.topic: incoming for incoming in came}.values())
                    came[:] = newest  # bounded by the number of devices while the database is away
                    some = came[: self._batch["passing"]]
                    if (taken := self._store(link, some, "passing")) is not None:
                        del came[: len(some)]
                        self._tell_aside(taken)
                        self._told([one for one in taken if one.new])


class _Sending:
    """Receipts on their way over one connection."""

    def __init__(self, link: Link, receiver: str, root: str) -> None:
        self._link, self._receiver, self._root = link, receiver, root
        self._on_the_way: dict[int, tuple[str, list[str]]] = {}
        self._taken: list[tuple[str, list[str]]] = []
        self._refused = Fault("receipts")

    def send(self, taken: Sequence[Taken]) -> None:
        """Confirm what is to be confirmed, a device at a time. Raises BrokerLostError."""
        confirmed = sorted((one.device_id, one.message_id) for one in taken if one.message_id)
        for device, group in groupby(confirmed, key=lambda pair: pair[0]):
            ids = list(dict.fromkeys(UUID(message_id) for _, message_id in group))
            for receipt in receipts(device, self._receiver, ids, _now()):
                try:
                    mid = self._link.publish(Topics(device, self._root).receipt, receipt.to_bytes())
                except BrokerLostError:
                    raise
                except BrokerError as error:
                    self._refused.begins(str(error))
                else:
                    self._on_the_way[mid] = (device, [str(one) for one in receipt.message_ids])

    @property
    def waits(self) -> bool:
        return bool(self._on_the_way)

    def settle(self) -> None:
        """Take in what the broker said to receipts."""
        for ack in self._link.take_acks():
            if (sent := self._on_the_way.pop(ack.mid, None)) is None:
                continue
            if ack.accepted:
                self._refused.ends()
                self._taken.append(sent)
            else:
                self._refused.begins(f"the broker does not let us write {self._root}/+/receipt: {ack.reason}; give that right")

    def done(self) -> list[tuple[str, list[str]]]:
        """Those that the broker has taken since the last call: device and message ids."""
        self.settle()
        taken, self._taken = self._taken, []
        return taken
