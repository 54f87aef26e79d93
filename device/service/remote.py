"""Requests that come over the broker: checked, rationed, answered. None of them changes a count, a setting or the program.

`Remote` is called by the publisher, in its thread; what concerns the screen is handed to the pipeline as any person's wish.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from device.clock import Clock
from device.errors import LeukoscopeError
from device.mqtt.client import Incoming
from device.mqtt.commands import CommandAnswer, CommandRequest, read_request
from device.mqtt.device_status import DeviceStatus
from device.mqtt.health import HealthReport
from device.mqtt.message import PayloadError, one_line
from device.mqtt.topics import COMMANDS, Topics
from device.service.control import CommandRequest as Asked
from device.slide.commands import Command, Wish

log = logging.getLogger(__name__)

_BURST: Final = 10
_ANOTHER_EVERY_S: Final = 3.0
_LARGEST_BYTES: Final = 4096


class Ration:
    """A token bucket: `burst` at once, then one more each `every_s`."""

    def __init__(self, clock: Clock, burst: int = _BURST, every_s: float = _ANOTHER_EVERY_S) -> None:
        self._clock, self._burst, self._every_s = clock, burst, every_s
        self._left, self._at_s = float(burst), clock.monotonic_s()

    def take(self) -> bool:
        """Whether there was one left."""
        now_s = self._clock.monotonic_s()
        self._left = min(float(self._burst), self._left + (now_s - self._at_s) / self._every_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Remote:
    """Answers requests. status, health: the newest; resend: puts summaries of a slide, or from a moment on, into the outbox again and
    gives how many; offer: keeps an update's address and who named it, for the screen. They raise LeukoscopeError where they
    cannot; offer None: this device is no flashed box, and takes no update."""

    def __init__(
        self,
        topics: Topics,
        clock: Clock,
        *,
        status: Callable[[], DeviceStatus],
        health: Callable[[], HealthReport | None],
        resend: Callable[[str, datetime | None], int],
        offer: Callable[[str, str], None] | None = None,
    ) -> None:
        self._topics, self._clock, self._status, self._health, self._resend = topics, clock, status, health, resend
        self._offer = offer
        self._ration = Ration(clock)
        self._silent = False  # too many: told once, then nothing is said until there is room again
        self._lock = threading.Lock()
        self._wish: Wish | None = None  # guarded by _lock

    def requests(self) -> list[Asked]:
        """What was asked of the screen since the last call; for the pipeline's thread."""
        with self._lock:
            wish, self._wish = self._wish, None
        if wish is None:
            return []
        asked = Asked(wish)
        asked.take()
        return [asked]

    def __call__(self, incoming: Incoming) -> bytes | None:
        """The answer's bytes; None for what gets none."""
        kind = self._topics.kind_of(incoming.topic)
        if not kind.startswith("cmd/") or kind == "cmd/answer" or incoming.retained:
            return None  # a retained request would be carried out at every connection
        if not self._topics.takes_answers(incoming.response_topic):
            return None
        command = kind.removeprefix("cmd/")
        if not self._ration.take():
            if self._silent:
                return None
            self._silent = True
            log.warning("too many requests from the broker; those beyond one each %.0f s are not answered", _ANOTHER_EVERY_S)
            return self._said(command, "", False, f"too many requests: one each {_ANOTHER_EVERY_S:.0f} s; ask again later").to_bytes()
        self._silent = False
        return self._answer(command, incoming.payload).to_bytes()

    def _answer(self, command: str, payload: bytes) -> CommandAnswer:
        if command not in COMMANDS:
            return self._said(command, "", False, f"no such command; there are {', '.join(COMMANDS)}")
        if len(payload) > _LARGEST_BYTES:
            return self._said(command, "", False, f"the request has {len(payload)} bytes; at most {_LARGEST_BYTES} are read")
        try:
            request = read_request(payload).payload
        except PayloadError as error:
            return self._said(command, "", False, f"the request is not understood: {error}")
        try:
            return self._done(command, request)
        except LeukoscopeError as error:
            return self._said(command, request.request_id, False, str(error))

    def _done(self, command: str, request: CommandRequest) -> CommandAnswer:
        request_id = request.request_id
        match command:
            case "status":
                status = self._status()
                return self._said(command, request_id, True, "the status", status=status)
            case "health":
                health = self._health()
                return self._said(
                    command, request_id, health is not None, "the health" if health else "not measured yet", health=health
                )
            case "identify":
                with self._lock:
                    self._wish = Wish(Command.IDENTIFY, reason=request.by)
                return self._said(command, request_id, True, "a line stands on the screen for 60 s")
            case "update":
                return self._offered(request)
            case _:
                if not request.slide_id and request.since is None:
                    return self._said(command, request_id, False, "slide_id or since is needed: which summaries are to be sent again?")
                count = self._resend(request.slide_id, request.since)
                log.info("%d messages are sent again: asked for over the broker", count)
                words = "1 message is sent again" if count == 1 else f"{count} messages are sent again"
                return self._said(command, request_id, True, words, messages=count)

    def _offered(self, request: CommandRequest) -> CommandAnswer:
        if not request.url:
            return self._said("update", request.request_id, False, "url is needed: the https address of a signed bundle")
        if self._offer is None:
            return self._said("update", request.request_id, False, "this device is no flashed box; install the newer package on it")
        self._offer(request.url, request.by)
        log.info("an update is offered over the broker; a person at the screen installs it or leaves it")
        return self._said("update", request.request_id, True, "the update is offered on the box; only a person there installs it")

    def _said(
        self,
        command: str,
        request_id: str,
        ok: bool,
        text: str,
        *,
        messages: int | None = None,
        status: DeviceStatus | None = None,
        health: HealthReport | None = None,
    ) -> CommandAnswer:
        answer = CommandAnswer.to(self._topics.device_id, command, request_id, ok, one_line(text)[:500], self._clock.now())
        return answer.model_copy(update={"messages": messages, "status": status, "health": health})
