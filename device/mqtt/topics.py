"""Topic names, checked: who may appear in them and how they are read back. No payloads, no connection.

A topic names the device and nothing else: no slide, no patient, because brokers log and bridge topics in clear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from device.settings.broker import MAX_ROOT_BYTES, MAX_ROOT_LEVELS
from device.settings.config import DEVICE_ID

ANY_DEVICE: Final = "+"
FROM_DEVICE: Final = ("summary", "review", "event", "status", "health", "cmd/answer")
"""What a device publishes, as the topic's last part."""
TO_DEVICE: Final = ("receipt", "cmd/+")
"""What it listens to: confirmations of receivers, and requests."""
COMMANDS: Final = ("resend", "status", "health", "identify", "update")
"""The requests that a device answers; none of them changes a count, a setting or the program."""
_KINDS: Final = re.compile("(?P<kind>summary|review|event|status|health|receipt|cmd/[a-z]{1,32})")
_NOT_SENT: Final = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def root_fault(root: str) -> str:
    """Why `root` cannot stand before a device's topics; "" where it can."""
    if not root or _NOT_SENT.search(root) or root.startswith(("/", "$")) or root.endswith("/"):
        return "no '+', no '#', no control characters, no '/' at either end, and no '$' first"
    if len(root.encode()) > MAX_ROOT_BYTES or root.count("/") >= MAX_ROOT_LEVELS:
        return f"at most {MAX_ROOT_BYTES} bytes and {MAX_ROOT_LEVELS} levels"
    return ""


def is_of_a_device(topic: str, kind: str) -> bool:
    """Whether `topic` is `<root>/<device>/<kind>`, of whatever root and device."""
    root, _, rest = topic.removesuffix(f"/{kind}").rpartition("/")
    return topic.endswith(f"/{kind}") and not root_fault(root) and re.fullmatch(DEVICE_ID, rest) is not None


@dataclass(frozen=True)
class Topics:
    """The topics of one device, or of all (`device_id` "+", for subscribing only).

    Raises ValueError for a root or an id that could not stand in a topic.
    """

    device_id: str
    root: str = "leukoscope"

    def __post_init__(self) -> None:
        if self.device_id != ANY_DEVICE and not re.fullmatch(DEVICE_ID, self.device_id):
            raise ValueError(f"device id '{self.device_id}': letters, digits, '-' and '_' only, at most 64, or '+' for all devices")
        if fault := root_fault(self.root):
            raise ValueError(f"topic root {self.root[:80]!r}: {fault}")

    def of(self, kind: str) -> str:
        """The topic whose last part is `kind` ("summary", "cmd/answer"). ValueError for one that this version does not know."""
        if not _KINDS.fullmatch(kind):
            raise ValueError(f"no topic '{kind[:40]}': {', '.join((*FROM_DEVICE, *TO_DEVICE))}")
        return f"{self.root}/{self.device_id}/{kind}"

    @property
    def summary(self) -> str:
        """Slide summaries: QoS 1, not retained."""
        return self.of("summary")

    @property
    def review(self) -> str:
        """What a person did to a slide (signed, second signature, reopened): QoS 1, not retained."""
        return self.of("review")

    @property
    def event(self) -> str:
        """What a supervisor should hear at once (first blast of a slide): QoS 1, not retained."""
        return self.of("event")

    @property
    def status(self) -> str:
        """Whether the device is there: QoS 0, retained, also the last will."""
        return self.of("status")

    @property
    def health(self) -> str:
        """How the box does (frame rate, temperature, disk, spool): QoS 0, not retained."""
        return self.of("health")

    @property
    def receipt(self) -> str:
        """A receiver's word that messages are durably its own: QoS 1, not retained, to the device."""
        return self.of("receipt")

    def cmd(self, name: str) -> str:
        """A request to the device: QoS 1, not retained. name: one of `COMMANDS`."""
        if name not in COMMANDS:
            raise ValueError(f"no command '{name[:40]}': {', '.join(COMMANDS)}")
        return self.of(f"cmd/{name}")

    @property
    def cmd_any(self) -> str:
        """The filter of all requests, for subscribing; `cmd_answer` matches it too."""
        return f"{self.root}/{self.device_id}/cmd/+"

    @property
    def cmd_answer(self) -> str:
        """Answers to requests that named no response topic: QoS 1, not retained."""
        return self.of("cmd/answer")

    def device_of(self, topic: str) -> str:
        """The device that `topic` names, or "" if it is none of this root's topics."""
        return self._parts(topic)[0]

    def kind_of(self, topic: str) -> str:
        """What `topic` carries: "summary", "status", "cmd/resend" and so on; "" if it is none of this root's topics."""
        return self._parts(topic)[1]

    def takes_answers(self, topic: str) -> bool:
        """Whether answers may go to `topic`: a stranger must not make this device speak as a device, or give orders."""
        return self.kind_of(topic) in ("", "cmd/answer")

    def _parts(self, topic: str) -> tuple[str, str]:
        if not topic.startswith(f"{self.root}/"):
            return "", ""
        device, _, kind = topic[len(self.root) + 1 :].partition("/")
        return (device, kind) if re.fullmatch(DEVICE_ID, device) and _KINDS.fullmatch(kind) else ("", "")
