"""Tells systemd that the daemon is ready, what it does and that it is alive; what "alive" means is the pipeline's word.

Protocol: sd_notify(3), sd_watchdog_enabled(3). Without NOTIFY_SOCKET everything here does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from device.mqtt.message import one_line

log = logging.getLogger(__name__)


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd is to be told that the daemon is alive, in seconds: half of WatchdogSec. None where it does not watch."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for a parent, from which the variables were inherited
    try:
        period_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        log.warning("WATCHDOG_USEC=%r is no number; the watchdog is not fed", environment["WATCHDOG_USEC"])
        return None
    return period_s / 2 if period_s > 0 else None


class Notifier:
    """One-way messages to systemd. Never raises and never blocks: a service manager that cannot be told must not stop the count."""

    def __init__(self, environment: Mapping[str, str] = os.environ, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._interval_s = watchdog_interval_s(environment)
        self._monotonic_s = monotonic_s
        self._fed_s: float | None = None
        self._status = ""
        self._failed = False
        if self._address and self._address[0] not in "/@":
            log.warning("NOTIFY_SOCKET=%r is no address; systemd is not told anything", self._address)
            self._address = ""

    @property
    def listens(self) -> bool:
        """Whether a service manager started the daemon, and starts it again when it ends: nobody sits at a terminal."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Start-up is over: everything that the configuration names is open."""
        self._status = one_line(status)
        self._send("READY=1", *((f"STATUS={self._status}",) if status else ()))

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it has changed."""
        if (text := one_line(text)) != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """The daemon is alive. Call it after every frame that was processed: it sends no more often than systemd needs."""
        if self._interval_s is None:
            return
        now_s = self._monotonic_s()
        if self._fed_s is None or now_s - self._fed_s >= self._interval_s / 2:
            self._fed_s = now_s
            self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """Closing has begun; what waits is being written, an open slide stays open."""
        self._send("STOPPING=1", *((f"STATUS={one_line(status)}",) if status else ()))

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address  # "@": an abstract socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as channel:
                channel.connect(address)
                channel.sendall("\n".join(lines).encode())
            self._failed = False
        except OSError as error:
            if not self._failed:  # once, not with every frame
                log.warning("systemd was not told %s (%s); goes on", lines[0], error)
            self._failed = True
