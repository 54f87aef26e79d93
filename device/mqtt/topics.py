"""Topic names, checked: who may appear in them and how they are read back. No payloads, no connection.

A topic names the device and nothing else: no slide, no patient, because brokers log and bridge topics in clear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from device.settings.config import DEVICE_ID

ANY_DEVICE = "+"


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
        if not self.root or set(self.root) & set("+#\0") or self.root.startswith(("/", "$")) or self.root.endswith("/"):
            raise ValueError(f"topic root '{self.root}': no '+', no '#', no '/' at either end")

    @property
    def summary(self) -> str:
        """Slide summaries: QoS 1, not retained."""
        return f"{self.root}/{self.device_id}/summary"

    @property
    def status(self) -> str:
        """Whether the device is there: QoS 1, retained, also the last will."""
        return f"{self.root}/{self.device_id}/status"

    def device_of(self, topic: str) -> str:
        """The device that `topic` names, or "" if it is none of this root's topics."""
        head, _, kind = topic.rpartition("/")
        root, _, device = head.rpartition("/")
        return device if root == self.root and kind in ("summary", "status") and re.fullmatch(DEVICE_ID, device) else ""
