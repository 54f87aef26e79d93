"""Frames as the camera gave them, kept as PNG while the technician works: of these a calibration set of this microscope is chosen.

Which frame is due is decided here; that a slide is open and what an observation means is the slide's. Nothing counted depends on this.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import Full, Queue
from threading import Thread

import cv2
from typing_extensions import Self

from device.camera.base import Frame
from device.clock import Clock, time_trusted
from device.errors import ConfigError, StoreError
from device.settings.config import FramesSection
from device.slide.counting import Observation
from device.store import Provenance, free_mb
from device.store.faults import may_pass
from engines.detections import Image
from engines.files import atomic_write

log = logging.getLogger(__name__)

INDEX = "frames.jsonl"
"""One line of JSON for each frame of the folder, in the order of writing."""

_NAME = re.compile(r".+_(\d{5,})_(?:counted|rest)\.png")
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_WAITING = 4  # frames held for the writer: 25 MB at 1080p
_CLOSE_WITHIN_S = 20.0


@dataclass(frozen=True)
class RecordingStatus:
    """kept: frames of this run on disk. passed_over: frames that were due and not kept. complete: as many as wanted are there.

    reason: one line why no frame is kept at present, with the next step; empty while all is well.
    """

    kept: int = 0
    passed_over: int = 0
    complete: bool = False
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _PendingFrame:
    """A frame on its way to the disk. field: its index on the slide where it was counted, else None."""

    image: Image
    slide_id: str
    field: int | None
    captured_at: datetime
    sharpness: float


def cannot_record(folder: Path, error: OSError) -> ConfigError:
    """What is said where frames cannot be written."""
    return ConfigError(f"{folder}: frames cannot be recorded here ({error.strerror}); name another folder (--record DIR)")


class FrameRecorder:
    """Keeps a frame of each counted field, and between them one of the resting stage every `every_s`, so that focus and light vary.

    `offer` never waits: frames are encoded and written by a thread of its own, and one that comes while four wait is passed over and
    counted. Files are named by slide, a number that the folder gives once, and why: "20261123-181512-4f9a2c_00012_counted.png".
    """

    def __init__(
        self, section: FramesSection, folder: Path, provenance: Provenance, clock: Clock, free: Callable[[Path], float] = free_mb
    ) -> None:
        self._section, self._folder, self._provenance, self._clock, self._free = section, folder, provenance, clock, free
        self._waiting: Queue[_PendingFrame | None] = Queue(_WAITING)
        self._writer = Thread(target=self._write_all, name="frame-writer", daemon=True)
        self._due_s = float("-inf")
        self._number = self._there = 0
        self._kept = self._not_queued = self._not_written = 0  # the second is the pipeline's, the others are the writer's
        self._reason = ""
        self._opened = False

    def __enter__(self) -> Self:
        """Make the folder, or go on behind the frames that it holds. Raises ConfigError where it cannot be written to; a disk that is
        full, read-only or failing may pass, and is tried again with every frame that is due."""
        try:
            self._open()
        except OSError as error:
            if not may_pass(error):
                raise cannot_record(self._folder, error) from error
            self._reason = f"{self._folder} cannot be written ({error.strerror}); look at its disk"
            log.error("frames are not recorded: %s", self._reason)
        self._writer.start()
        return self

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(found[1]) for path in self._folder.iterdir() if (found := _NAME.fullmatch(path.name))]
        self._cut_torn_line()
        self._number, self._there = max(numbers, default=0), len(numbers)
        self._opened = True
        log.info("frames are recorded in %s, which holds %d", self._folder, self._there)

    def __exit__(self, *_error: object) -> None:
        """Write what waits, and say in the log what was kept and what was not."""
        try:
            self._waiting.put(None, timeout=_CLOSE_WITHIN_S)
            self._writer.join(_CLOSE_WITHIN_S)
        except Full:
            pass  # a disk that hangs; said below
        status = self.status
        if self._writer.is_alive():
            log.warning("%s: the disk does not answer; the last frames may be missing", self._folder)
        write = log.warning if status.passed_over else log.info
        write("%d frames recorded in %s, %d that were due were not", status.kept, self._folder, status.passed_over)

    def offer(self, frame: Frame, slide_id: str, observation: Observation, sharpness: float) -> None:
        """Keep this frame of an open slide if it is due."""
        now = self._clock.monotonic_s()
        event = observation.event
        due = _PendingFrame(frame.image, slide_id, None, frame.captured_at, sharpness)
        if event is not None and event.new and event.field is not None and event.image is not None:
            due = _PendingFrame(event.image, slide_id, event.field.index, event.field.captured_at, event.field.focus)
        at_rest = observation.resting and not observation.blank and now >= self._due_s
        if (due.field is None and not at_rest) or self.status.complete:
            return
        self._due_s = now + self._section.every_s
        try:
            self._waiting.put_nowait(due)
        except Full:
            self._not_queued += 1

    @property
    def status(self) -> RecordingStatus:
        """How it stands; may be read by any thread."""
        return RecordingStatus(self._kept, self._not_queued + self._not_written, self._there >= self._section.most_frames, self._reason)

    def _write_all(self) -> None:
        while (due := self._waiting.get()) is not None:
            reason = "" if self.status.complete else self._try_to_write(due)
            if reason and not self._reason:
                log.warning("frames are not recorded: %s", reason)
            elif self._reason and not reason:
                log.warning("frames are recorded again in %s", self._folder)
            self._reason = reason

    def _try_to_write(self, due: _PendingFrame) -> str:
        """Write a frame and its line; empty, or why it could not be."""
        try:
            if not self._opened:
                self._open()
            free = self._free(self._folder)
            if free < self._section.min_free_mb:
                wanted = f"frames.min_free_mb: {self._section.min_free_mb}"
                reason = f"only {free:.0f} MB free beside {self._folder} ({wanted}); make room"
            else:
                self._write(due)
                return ""
        except (OSError, StoreError, cv2.error) as error:
            words = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            reason = f"{self._folder} cannot be written ({words.lower()}); look at its disk"
        self._not_written += 1
        return reason

    def _write(self, due: _PendingFrame) -> None:
        """The picture first, by an atomic write, then its line, so that no line names a frame that is not there."""
        self._number += 1
        why = "rest" if due.field is None else "counted"
        path = self._folder / f"{due.slide_id}_{self._number:05d}_{why}.png"
        _, encoded = cv2.imencode(".png", due.image, _PNG)
        data = encoded.tobytes()
        atomic_write(path, data)
        line = json.dumps(self._about(due) | {"name": path.name, "sha256": hashlib.sha256(data).hexdigest()}, sort_keys=True)
        self._append(line)
        self._kept += 1
        self._there += 1
        if self._there == self._section.most_frames:
            log.info("%s holds %d frames, as many as were wanted (frames.most_frames)", self._folder, self._there)

    def _append(self, line: str) -> None:
        with (self._folder / INDEX).open("ab", buffering=0) as file:
            whole = file.tell()
            try:
                file.write(line.encode() + b"\n")
                os.fsync(file.fileno())
            except OSError:  # half a line would spoil the next one
                file.truncate(whole)
                raise

    def _about(self, due: _PendingFrame) -> dict[str, object]:
        """What is known of a frame. Nothing of a patient: a stored picture's own name stays out."""
        made, source, calibration = self._provenance, self._provenance.source, self._provenance.calibration
        height, width = due.image.shape[:2]
        return {
            "slide_id": due.slide_id,
            "field": due.field,
            "captured_at": due.captured_at.isoformat(),
            "time_trusted": time_trusted(due.captured_at),
            "sharpness": round(due.sharpness, 4),
            "width_px": width,
            "height_px": height,
            "device_id": made.device_id,
            "camera": source and source.name,
            "simulated": source and source.simulated,
            "calibration": made.calibration_label,
            "objective": calibration and calibration.objective,
        }

    def _cut_torn_line(self) -> None:
        """A power cut can leave half a line at the end of the index; its frame is there and stays."""
        index = self._folder / INDEX
        with index.open("ab+") as file:
            file.seek(0)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                file.truncate(whole)
                log.warning("%s: its last line was torn and was cut off", index)
