"""How the way to the broker stands, as the screen and the log tell it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from device.mqtt.client import Version

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BrokerStatus:
    """Snapshot of the way to the broker.

    state: "connecting" until the first attempt has an outcome; "refused" where somebody must mend something, "lost" where the network
    or the broker must come back. Both are tried again, and the state stays until an attempt succeeds.
    reason: one line with the next step; empty while all is well. pending: rows in the outbox. protocol: the version while connected.
    unconfirmed: those of the pending rows that the broker has taken and no receiver has confirmed; late: those of them
    for which that is worth a word; receivers: whose word is wanted, "" for anybody's; unheard: those that it took while
    nobody was subscribed, which are not delivered. quarantined: what lies in quarantine, of all kinds.
    delivered_slide, delivered_at: the slide that was delivered last; "" and None before the first.
    """

    state: Literal["disabled", "connecting", "connected", "refused", "lost"]
    reason: str = ""
    pending: int = 0
    protocol: Version | None = None
    unconfirmed: int = 0
    late: int = 0
    receivers: str = ""
    unheard: int = 0
    quarantined: int = 0
    delivered_slide: str = ""
    delivered_at: datetime | None = None

    @property
    def waiting(self) -> int:
        """Rows that the broker has not taken, or gave to nobody."""
        return max(0, self.pending - self.unconfirmed)

    @property
    def why_waiting(self) -> str:
        """Why rows wait, in one line, also while nothing is known to be wrong."""
        if self.reason:
            return self.reason
        return {
            "connecting": "it has not answered yet",
            "connected": "it has not acknowledged them yet",
            "disabled": "broker.enabled is false",
        }.get(self.state, self.state)


class Teller:
    """Logs each change of state and reason once: a reason that comes back within one outage is no news, and a connection after an
    outage is told when it has stood for a while."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._told: set[tuple[str, str]] = set()
        self._well = False

    def tell(self, state: str, reason: str, *, stood: bool) -> None:
        """state, reason: as they now are; stood: the connection is no longer a new one."""
        well = state == "connected" and not reason
        if well and (self._well or (self._told and not stood)):
            return
        if well:
            self._told.clear()
        elif (state, reason) in self._told:
            return
        else:
            self._told.add((state, reason))
        self._well = well
        log.log(logging.INFO if well else logging.WARNING, "broker %s: %s%s", self._address, state, f" ({reason})" if reason else "")
