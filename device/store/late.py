"""The record of an appliance that starts while its disk is full, locked, read-only, failing or not mounted yet."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import Self

from device.clock import Backoff, Clock
from device.errors import StoreError
from device.store.faults import UnusableRecordError
from device.store.record import Store

log = logging.getLogger(__name__)


class LateStore(Store):
    """A store that is opened as soon as it can be: until then all that is asked of it raises StoreError with the reason.

    Entering raises UnusableRecordError for what no waiting mends. fault: why it is not open, one line; "" from then on.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(Path(path), sqlite3.connect(":memory:"))  # stands in until the file is there
        self._clock, self._backoff, self._retry_at_s = clock, Backoff(first_s=1.0, cap_s=15.0, jitter=0.0), float("-inf")
        self._told = set[str]()
        self.fault = f"record {path}: is not open yet"

    def __enter__(self) -> Self:
        try:
            self._open()
        except UnusableRecordError:
            raise
        except StoreError:
            pass  # said in the log, tried again
        return self

    def _open(self) -> None:
        """Open it, if it is due. Raises StoreError while it is not open."""
        if not self.fault:
            return
        if self._clock.monotonic_s() < self._retry_at_s:
            raise StoreError(self.fault)
        try:
            opened = Store.open(self.path)
        except Exception as error:
            known = isinstance(error, StoreError)
            self.fault = str(error) if known else f"record {self.path}: cannot be opened ({type(error).__name__}: {error})"
            kind = re.sub(r"\d+", "#", self.fault)
            if kind not in self._told and not isinstance(error, UnusableRecordError):
                log.error("%s; tried again until it can be opened", self.fault, exc_info=None if known else error)
                self._told.add(kind)
            self._retry_at_s = self._clock.monotonic_s() + self._backoff.next_s()
            if known:
                raise
            raise StoreError(self.fault) from error
        self._db.close()
        vars(self).update(vars(opened))
        if self._told:
            log.warning("record %s is open now", self.path)
        if self.put_aside is not None:
            log.error("the record was damaged: it lies at %s, a new one was begun; call the field team", self.put_aside)
        self.fault = ""

    def watch(self) -> str:
        """Also why it is not open yet."""
        return self.fault or super().watch()

    @contextmanager
    def _touching(self, doing: str) -> Iterator[None]:
        self._open()
        with super()._touching(doing):
            yield
