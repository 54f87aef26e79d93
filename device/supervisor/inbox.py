"""What `watch` makes of each message: validated, shown, counted, confirmed. One that is no good is shown as such."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from device.mqtt.client import Incoming
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.events import ReviewEvent, SlideEvent, read_event, read_review
from device.mqtt.message import PayloadError, Received
from device.mqtt.payloads import SlideSummary, read_summary
from device.mqtt.receipt import receipts
from device.mqtt.topics import Topics
from device.supervisor.gaps import Gaps
from device.supervisor.printing import plain, render_event, render_review, render_status, render_summary

_LARGEST_BYTES: Final = 1 << 20
_READERS: Final[dict[str, Callable[[bytes], Received[Any]]]] = {"status": read_status, "review": read_review, "event": read_event}
_KINDS: Final = {SlideSummary: "summary", ReviewEvent: "review", SlideEvent: "event"}


class Inbox:
    """What has arrived, and the console it is printed on. receiver: who confirms what was shown, "" for nobody."""

    def __init__(
        self,
        topics: Topics,
        console: Console,
        heard: Callable[[SlideSummary], object] = lambda summary: None,
        receiver: str = "",
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topics, self._heard, self._receiver = topics, heard, receiver
        self.summaries: list[SlideSummary] = []
        self._console = console
        self._gaps = Gaps(monotonic_s)
        self._seen: set[uuid.UUID] = set()
        self._to_confirm: dict[str, list[uuid.UUID]] = {}
        self._last_lines: dict[str, object] = {}  # by device, what its newest status line says

    def take(self, incoming: Incoming) -> None:
        """One message as it came from the broker. Never raises: the next message may be a good one."""
        topic = incoming.topic
        try:
            self._read(topic, incoming.payload, incoming.retained)
        except PayloadError as error:
            self.note(f"message on {topic} not understood: {error}", "bold yellow")
        except Exception as error:
            self.note(f"message on {topic} could not be shown: {type(error).__name__}: {error}", "bold yellow")

    def confirmations(self) -> list[tuple[str, bytes]]:
        """Topic and payload of the receipts for what was shown since the last call."""
        waiting, self._to_confirm = self._to_confirm, {}
        now = datetime.now(timezone.utc)
        return [
            (replace(self.topics, device_id=device).receipt, receipt.to_bytes())
            for device, ids in waiting.items()
            for receipt in receipts(device, self._receiver, ids, now)
        ]

    def tell_gaps(self, at_once: bool = False) -> None:
        """Show which summaries are missing, each once. at_once: also those that may still be on their way."""
        for line in self._gaps.to_tell(at_once):
            self.note(line, "bold yellow")

    def _read(self, topic: str, payload: bytes, retained: bool) -> None:
        device, kind = self.topics.device_of(topic), self.topics.kind_of(topic)
        if len(payload) > _LARGEST_BYTES:
            raise PayloadError(f"{len(payload)} bytes, more than any summary has")
        if kind == "status" and not payload:
            self.note(f"{device}: its status was removed from the broker")
            return
        message = _READERS.get(kind, read_summary)(payload)
        said = message.payload
        if said.device_id != device:
            raise PayloadError(f"device_id is {said.device_id}, but the topic belongs to {device or 'no device'}")
        if isinstance(said, DeviceStatus):
            if self._last_lines.get(device) == (gist := _gist(said)):
                return
            self._last_lines[device] = gist
            self._console.print(render_status(said, retained=retained))
        else:
            self._show(said)
        if message.ignored:
            self.note(f"{topic}: fields this watcher does not know (a newer device?): {', '.join(message.ignored)}")

    def _show(self, said: SlideSummary | ReviewEvent | SlideEvent) -> None:
        if said.message_id in self._seen:
            self.note(f"{said.device_id}: {_KINDS[type(said)]} of slide {said.slide_id} came once more; dropped")
        elif isinstance(said, SlideSummary):
            self._seen.add(said.message_id)
            self.summaries.append(said)
            self._heard(said)
            self._console.print(render_summary(said))
            if line := self._gaps.came(said):
                self.note(line)
        else:
            self._seen.add(said.message_id)
            self._console.print(render_review(said) if isinstance(said, ReviewEvent) else render_event(said))
            if isinstance(said, SlideEvent):
                self._console.bell()  # somebody should look now; a file gets none
        if self._receiver:  # of a double too: the device has not heard of the first
            self._to_confirm.setdefault(said.device_id, []).append(said.message_id)

    def note(self, text: str, style: str = "dim") -> None:
        self._console.print(Text(plain(text), style=style))

    def note_once(self, reported: str, text: str) -> str:
        if text != reported:
            self.note(text)
        return text


def _gist(status: DeviceStatus) -> object:
    """What of a status is worth a line of its own: not a count that grows, but a part that changed, a slide begun or ended."""
    parts = tuple(part.level for part in (status.camera, status.engine, status.record))
    slide = None if status.slide is None else (status.slide.slide_id, status.slide.state, status.slide.blast_seen)
    return status.state, status.offline_reason, parts, slide
