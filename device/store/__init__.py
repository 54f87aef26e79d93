"""The record: every slide, field, cell and crop in one SQLite file, with the outbox of what is still to be sent. It decides nothing."""

from device.mqtt.outbox import OutboxMessage
from device.mqtt.provenance import Provenance
from device.store.faults import DamagedSlideError, free_mb
from device.store.record import Store
from device.store.slides import StoredSlide

__all__ = ["DamagedSlideError", "OutboxMessage", "Provenance", "Store", "StoredSlide", "free_mb"]
