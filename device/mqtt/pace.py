"""How long a link may take: limits that grow with the link, and how much may be under way on it. No connection, no clock."""

from __future__ import annotations

from typing import Final

LONGEST_S: Final = 120.0
"""No limit on one answer is longer than that, but for the time that a large message takes on a slow link."""
_UNKNOWN_BYTES_PER_S: Final = 512.0  # before anything was measured, a message may take as long as on so slow a link
_QUICK_S: Final = 4.0  # beside the broker's own answering time: a link that acknowledges within it may carry more at once


class Limits:
    """Time limits for connecting: they double when nobody answers, and stay so while the process runs.

    first_s: for the first of several questions (amqtt takes a CONNECT of MQTT 5 for a longer one of 3.1.1 and waits for its rest);
    last_s: for the last one.
    """

    def __init__(self, first_s: float = 3.0, last_s: float = 10.0) -> None:
        self._first_s, self._last_s = first_s, last_s
        self._doublings = 0
        self.answered_s = 0.0
        """How long the broker took for its answer to the newest CONNECT."""

    @property
    def first_s(self) -> float:
        return self._grown(self._first_s)

    @property
    def last_s(self) -> float:
        return self._grown(self._last_s)

    def _grown(self, limit_s: float) -> float:
        return min(LONGEST_S, max(limit_s * 2.0**self._doublings, 4.0 * self.answered_s))

    def silence(self) -> None:
        """Nobody answered in time."""
        self._doublings = min(self._doublings + 1, 6)

    def answered(self, took_s: float) -> None:
        """The broker answered after so long. The limits that were needed for it stay."""
        self.answered_s = took_s


class Pace:
    """How long an acknowledgement may take, and how many messages may be under way.

    ack_timeout_s: the limit on a quick link; it doubles with each silence, and grows with what was measured and with the bytes that
    are under way.
    """

    def __init__(self, ack_timeout_s: float) -> None:
        self._ack_timeout_s = ack_timeout_s
        self._silences = 0
        self._slowest_s = 0.0  # of the acknowledgements, the older ones fading
        self._s_per_byte = 0.0  # beyond the broker's answering time; fading too
        self._answer_s = 0.0
        self.window = 1
        """So many messages may be under way."""

    def connected(self, answer_s: float) -> None:
        """A new connection, whose broker answered after so long: one message first, to see how the link does."""
        self._answer_s, self.window = answer_s, 1

    def limit_s(self, under_way_bytes: int) -> float:
        """How long the oldest message that is under way may wait for its acknowledgement."""
        grown = 2.0**self._silences
        base_s = min(self._ack_timeout_s * grown, max(LONGEST_S, self._ack_timeout_s))
        if not self._slowest_s:
            base_s += grown * min(under_way_bytes / _UNKNOWN_BYTES_PER_S, self._ack_timeout_s)
        return max(base_s, 4.0 * self._answer_s, 4.0 * self._slowest_s, 4.0 * self._s_per_byte * under_way_bytes)

    def silence(self) -> None:
        """Nothing was acknowledged in time."""
        self._silences = min(self._silences + 1, 6)

    def acknowledged(self, took_s: float, under_way_bytes: int, most: int) -> None:
        """A message was, after so long, when so much was under way with it; `most` messages may be under way at all."""
        self._silences = 0
        self._slowest_s = max(took_s, 0.9 * self._slowest_s)
        self._s_per_byte = max(max(0.0, took_s - self._answer_s) / max(1, under_way_bytes), 0.9 * self._s_per_byte)
        quick_s = _QUICK_S + 2.0 * self._answer_s
        if took_s < quick_s:
            self.window = min(self.window + 1, most)
        elif took_s > 2.0 * quick_s:
            self.window = max(1, self.window // 2)
