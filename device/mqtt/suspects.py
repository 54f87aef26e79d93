"""Messages under suspicion: each time that one of them was under way, the other side ended the connection.

mosquitto hangs up without a word on a message that is larger than its `message_size_limit`; such a message, sent first at each new
connection, would keep all others back for ever. So a suspect is sent last, alone, and with growing pauses; and it is condemned only
when it ended the connection by itself again and again while the link carried other things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from device.clock import doubled_s

ALONE_BESIDE_OTHERS: Final = 3
"""So often must it have ended the connection alone where other messages pass."""
ALONE_ON_A_LINK_THAT_STOOD: Final = 5
"""And so often where nothing else waits, each time within moments of being sent on a connection that had stood before."""
_STOOD_S: Final = 10.0
_AT_ONCE_S: Final = 5.0


@dataclass
class _Suspect:
    size: int = 0
    alone: int = 0  # so often it ended the connection by itself, in a row
    alone_at_once: int = 0
    others: int = 0  # messages that passed in the same time

    def clear(self) -> None:
        """What was held against it proves nothing."""
        self.alone = self.alone_at_once = self.others = 0


class Suspects:
    """Who is under suspicion, by message id. pauses_s: the first and the longest pause before the next attempt."""

    def __init__(self, pauses_s: tuple[float, float]) -> None:
        self._pauses_s = pauses_s
        self._all: dict[str, _Suspect] = {}
        self._tried: dict[str, tuple[int, float]] = {}
        self._linked_s = 0.0

    def linked(self, now_s: float) -> None:
        """A connection was made."""
        self._linked_s = now_s
        self._tried.clear()

    def is_one(self, message_id: str) -> bool:
        return message_id in self._all

    def tried(self, message_id: str, size: int, now_s: float) -> None:
        """It was sent; bytes, and when by the monotonic clock."""
        self._tried[message_id] = size, now_s

    def passed(self, message_id: str) -> None:
        """The broker answered it: it is innocent, as are all that are no larger, and the link carries messages."""
        size, _ = self._tried.pop(message_id, (0, 0.0))
        self._all.pop(message_id, None)
        for suspect in self._all.values():
            if size >= suspect.size:
                suspect.clear()
            suspect.others += 1

    def ended(self, under_way: Sequence[str], now_s: float) -> dict[str, float]:
        """The other side ended the connection while these were under way; for each the pause in seconds before it is tried again."""
        by_another = len(under_way) == 1 and self.is_one(under_way[0])  # there may be several that are too large
        for message_id, suspect in self._all.items():
            if message_id in under_way:
                continue
            if by_another:
                suspect.alone_at_once = 0
            else:  # the connection ends without it, too
                suspect.clear()
        return {message_id: self._ended(message_id, len(under_way) == 1, now_s) for message_id in under_way}

    def link_is_bad(self) -> None:
        """The broker or the network was away: what ended the connection was no message."""
        for suspect in self._all.values():
            suspect.clear()

    def _ended(self, message_id: str, alone: bool, now_s: float) -> float:
        suspect = self._all.setdefault(message_id, _Suspect())
        size, tried_s = self._tried.pop(message_id, (suspect.size, now_s))
        suspect.size = size
        if alone:
            suspect.alone += 1
            suspect.alone_at_once += tried_s - self._linked_s >= _STOOD_S and now_s - tried_s <= _AT_ONCE_S
        # Who was merely beside a guilty one goes by itself at the next connection; who ended one alone waits longer each time.
        return 0.0 if suspect.alone <= 1 else doubled_s(*self._pauses_s, suspect.alone - 2)

    def forget(self, message_id: str) -> None:
        self._all.pop(message_id, None)

    def condemned(self) -> list[tuple[str, str]]:
        """Those whose guilt is shown, each with the reason in one line."""
        found = []
        for message_id, suspect in self._all.items():
            beside_others = suspect.alone >= ALONE_BESIDE_OTHERS and suspect.others > 0
            if beside_others or suspect.alone_at_once >= ALONE_ON_A_LINK_THAT_STOOD:
                found.append(
                    (message_id, f"{suspect_words(suspect.size)}, {suspect.alone} times alone; `leukoscope resend` sends it again")
                )
        return found

    @property
    def words(self) -> str:
        """What is known of the first suspect that was sent alone; "" where there is none."""
        return next((suspect_words(each.size) for each in self._all.values() if each.alone), "")


def suspect_words(size: int) -> str:
    """What a broker that hangs up on one message most likely means by it."""
    return f"the broker hangs up on a message of {size} bytes; is it above its limit (message_size_limit of mosquitto)?"
