"""Writes the report of a slide when a person has signed it, in a thread of its own: the reviewer's keys do not wait for it.

It is the same that `leukoscope slides export` writes, a folder for each slide and revision; what cannot be written is said and logged,
and that command makes up for it.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

from device.errors import StoreError
from device.report.export import Exported, How, Wanted, export_record
from device.slide.model import Slide, SlideState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """One report: its folder, or why there is none, in one line; "" where it was written."""

    folder: Path
    fault: str = ""


class ReportWriter:
    """Opened by `with`; closing it waits for what is being written. folder: None switches it off. how: as for the export."""

    def __init__(self, record: Path, folder: Path | None, how: How) -> None:
        self._record, self._folder, self._how = record, folder, how
        self._done: deque[Written] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="report")
        return self

    def __exit__(self, *_error: object) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()

    def changed(self, slide: Slide) -> None:
        """A review changed the slide: where it was signed, its report is written. The signature lies in the record by now."""
        if self._thread is not None and self._folder is not None and slide.state is SlideState.SIGNED:
            self._thread.submit(self._write, slide.slide_id, self._folder)

    def news(self) -> list[Written]:
        """What has become of reports since the last call."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def _write(self, slide_id: str, out: Path) -> None:
        def tell(one: Exported) -> None:
            self._done.append(Written(one.folder, one.left_out))
            log.info("report of slide %s: %s", slide_id, one.left_out or one.folder)

        try:
            out.mkdir(parents=True, exist_ok=True)
            export_record(self._record, out, Wanted(slide_id), self._how, tell)
        except (StoreError, OSError) as error:
            why = str(error) if isinstance(error, StoreError) else f"{out}: cannot be written: {error.strerror}"
            log.error("no report of slide %s: %s", slide_id, why)
            self._done.append(Written(out, why))
