"""The record: every slide, field, cell and crop in one SQLite file, with the outbox of what is still to be sent. It decides nothing."""

from device.store.faults import free_mb, require_free
from device.store.outbox import OutboxMessage
from device.store.record import Store
from device.store.slides import Provenance, SlideHeader, StoredCrop, StoredSlide

__all__ = ["OutboxMessage", "Provenance", "SlideHeader", "Store", "StoredCrop", "StoredSlide", "free_mb", "require_free"]
