"""The control socket of an appliance whose state folder cannot be written at the start: it is opened as soon as it can be."""

from __future__ import annotations

import logging

from typing_extensions import Self

from device.clock import Backoff, Clock
from device.service.control import CommandRequest, ControlError, ControlServer
from device.store.faults import may_pass

log = logging.getLogger(__name__)


class LateControl:
    """`server`, tried again while its folder is full, read-only or failing. Entering raises ControlError for all else: another daemon
    with this folder, a folder of another user."""

    def __init__(self, server: ControlServer, clock: Clock) -> None:
        self._server, self._clock = server, clock
        self._backoff, self._retry_at_s = Backoff(first_s=2.0, cap_s=30.0, jitter=0.0), 0.0
        self._open = False

    def requests(self) -> list[CommandRequest]:
        """What was asked since the last call, oldest first. Each must be answered."""
        if not self._open and self._clock.monotonic_s() >= self._retry_at_s:
            self._try(first=False)
        return self._server.requests() if self._open else []

    def _try(self, first: bool) -> None:
        try:
            self._server.__enter__()
        except ControlError as error:
            if first and not may_pass(error.__cause__):
                raise
            if first:
                log.error("%s; `leukoscope slide` and `status` find nobody until it can be opened", error)
            self._retry_at_s = self._clock.monotonic_s() + self._backoff.next_s()
            return
        self._open = True
        if not first:
            log.warning("the control socket is open now")

    def __enter__(self) -> Self:
        self._try(first=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._open:
            self._open = False
            self._server.__exit__(*error)
