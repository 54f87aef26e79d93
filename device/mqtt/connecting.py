"""Connecting: which version of MQTT is asked for, and how long an answer may take.

MQTT 5 once seen is the floor: a broker that spoke it is never asked for 3.1.1 because it was slow, only because it says itself that it
does not speak 5, or hangs up on the very first packet again and again for an hour. In 3.1.1 a broker cannot refuse a message, so that
what is lost by a missing right is lost without a word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from device.mqtt.client import Link, OnMessage, Version, Will
from device.mqtt.faults import BrokerLostError, HungUpError, NoAnswerError, ProtocolRefusedError, RetainRefusedError
from device.mqtt.pace import Limits
from device.mqtt.tls import unanswered
from device.settings.broker import BrokerSection

log = logging.getLogger(__name__)

_HANG_UPS: Final = 10
_HANG_UPS_FOR_S: Final = 3600.0
_OLD_FOR_S: Final = 6 * 3600.0  # a broker of 3.1.1 is asked for 5 again after so long: it may have been renewed


class Memory(Protocol):
    """Where the version that a broker speaks is kept over restarts."""

    def seen(self) -> str: ...

    def remember(self, protocol: str) -> None: ...


class ThisRun:
    """Remembers while the process runs."""

    def __init__(self) -> None:
        self._seen = ""

    def seen(self) -> str:
        return self._seen

    def remember(self, protocol: str) -> None:
        self._seen = protocol


class Connector:
    """Opens one connection after the other to one broker, and learns from each attempt. Used by one thread."""

    def __init__(
        self,
        section: BrokerSection,
        client_id: str,
        *,
        memory: Memory | None = None,
        limits: Limits | None = None,
        resume: bool = False,
        on_message: OnMessage | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        hang_ups: tuple[int, float] = (_HANG_UPS, _HANG_UPS_FOR_S),
        by_hand: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self._section, self._client_id, self._memory = section, client_id, memory or ThisRun()
        self._resume, self._on_message, self._cancelled = resume, on_message, cancelled
        self._by_hand = by_hand
        self._will: Will | None = None
        self._keepalive_s = section.keepalive_s
        self._hang_ups, self._hang_ups_for_s = hang_ups
        self._retains = True  # as far as is known: a broker that keeps no messages takes no will that it should keep
        self._hung_up: list[float] = []  # when, one after the other, on the CONNECT of a broker that spoke MQTT 5
        self._old_since_s: float | None = None  # since when this broker is known to speak 3.1.1 only

    def open(self, will: Will | None = None, keepalive_s: float = 0.0) -> Link:
        """A connection that the broker has accepted. Raises BrokerRefusedError or BrokerLostError, with the reason and the next step.

        will: published by the broker when the connection breaks; keepalive_s: at least so long, for a slow link.
        """
        self._will, self._keepalive_s = will, max(self._section.keepalive_s, min(65535, int(keepalive_s)))
        protocol = self._section.protocol
        try:
            if protocol != "auto":
                return self._ask(protocol, self.limits.last_s)
            link = self._above_the_floor() if self._memory.seen() == "5" else self._either()
        except NoAnswerError as error:
            if self.limits.answered_s:  # it is a broker, and was one before
                raise
            raise unanswered(error, self._section) from error
        if link.version == "5":
            self._old_since_s = None
            if self._memory.seen() != "5":
                self._memory.remember("5")
        elif self._old_since_s is None:
            self._old_since_s = time.monotonic()
        return link

    def _above_the_floor(self) -> Link:
        """Of a broker that spoke MQTT 5."""
        where = self._section.address
        try:
            link = self._ask("5", self.limits.last_s)
        except ProtocolRefusedError:
            log.warning("%s does not speak MQTT 5 any more, which it did before; going on with 3.1.1, in which it cannot refuse", where)
            self._memory.remember("")
            return self._ask("3.1.1", self.limits.last_s)
        except HungUpError as error:
            now_s = time.monotonic()
            self._hung_up.append(now_s)
            if len(self._hung_up) < self._hang_ups or now_s - self._hung_up[0] < self._hang_ups_for_s:
                raise
            link = self._ask("3.1.1", self.limits.last_s)
            log.warning("%s hung up on MQTT 5 %d times and takes 3.1.1: an older broker? (%s)", where, len(self._hung_up), error)
            self._memory.remember("")
        except NoAnswerError as error:
            words = f"{error} It spoke MQTT 5 before; if an older broker took its place, set broker.protocol to 3.1.1"
            raise NoAnswerError(words) from error
        self._hung_up.clear()
        return link

    def _either(self) -> Link:
        """Of a broker that was not seen to speak MQTT 5."""
        if self._old_since_s is not None and time.monotonic() - self._old_since_s < _OLD_FOR_S:
            try:
                return self._ask("3.1.1", self.limits.last_s)
            except ProtocolRefusedError:
                return self._ask("5", self.limits.last_s)
        self._old_since_s = None
        try:
            return self._ask("5", self.limits.first_s)
        except (ProtocolRefusedError, HungUpError) as error:
            log.info("%s; trying MQTT 3.1.1", error)
            return self._ask("3.1.1", self.limits.last_s)
        except NoAnswerError as error:
            log.info("%s; trying MQTT 3.1.1", error)
        # Silence: an old broker that waits for the rest of what it does not know, or a slow one. The second answers 5 as well.
        self._ask("3.1.1", self.limits.last_s).close()
        try:
            return self._ask("5", self.limits.first_s)
        except NoAnswerError:
            return self._ask("3.1.1", self.limits.last_s)

    def _ask(self, version: Version, limit_s: float) -> Link:
        try:
            return self._try(version, limit_s, self._retains)
        except (RetainRefusedError, HungUpError) as error:
            if self._will is None or not self._retains or (version == "5" and isinstance(error, HungUpError)):
                raise
            link = self._try(version, limit_s, False)  # in 3.1.1 it hangs up without a word
        self._retains = False
        where = self._section.address
        log.warning("%s keeps no messages (retain_available): who connects later does not hear whether the device is there", where)
        return link

    def _try(self, version: Version, limit_s: float, retains: bool) -> Link:
        link = Link(
            self._section,
            version,
            self._client_id,
            will=self._will,
            resume=self._resume,
            on_message=self._on_message,
            by_hand=self._by_hand,
            keepalive_s=self._keepalive_s,
            retains=retains,
        )
        began_s = time.monotonic()
        try:
            link.open(self._cancelled, limit_s)
        except BaseException as error:
            link.drop()
            silent = isinstance(error, NoAnswerError) and not isinstance(error, HungUpError)
            if (silent or (isinstance(error, BrokerLostError) and isinstance(error.__cause__, TimeoutError))) and not self._cancelled():
                self.limits.silence()
            raise
        self.limits.answered(time.monotonic() - began_s)
        return link
