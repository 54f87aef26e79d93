"""The capture thread: owns the camera, keeps it alive through failures, and holds the newest frame for whoever takes it.

A live camera is drained whether or not anybody takes its frames; a stored source waits until each of its pictures was taken.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from typing_extensions import Self

from device.camera.base import Camera, CameraState, CameraStatus, Frame, Reading
from device.clock import Backoff, Clock
from device.errors import CameraError, CameraLostError, EndOfSourceError, LeukoscopeError
from engines.detections import Image
from engines.files import printable

log = logging.getLogger(__name__)

STOP_WITHIN_S = 2.0
_FIRST_OPENING_S = 20.0  # a driver that takes longer is not refused, but shown as a state
_NAP_S = 0.1  # a pause is slept in naps, so that stopping never waits for the whole of it
_FPS_WINDOW_S = 3.0
_ROWS = 4  # every fourth is looked at
_DARK = 20
"""Grey levels: a picture that has none above shows no light, as under a lens cap."""


class _StalledError(CameraError):
    """Frames come, but they are all the same picture."""


class Capture:
    """Reads a camera in a thread of its own; `with` starts and stops it (within 2 s, even when the driver blocks).

    open_camera: builds the camera; called again for every attempt. fail_fast: entering raises the first opening's error when the
    source is a stored one (a folder that is not there is the person's mistake; a device that is not there may be plugged in later), and
    that of a device too unless wait_for_device.
    stall_s: a live camera that repeats one picture for longer is reported and opened again. silence_s: a driver that answers
    nothing for longer is reported. blocked_s: a stored source that is read for longer is reported. reads_before_reopen: failed reads
    in a row after which the camera is opened again.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        clock: Clock,
        *,
        fail_fast: bool = False,
        wait_for_device: bool = True,
        stall_s: float = 10.0,
        silence_s: float = 10.0,
        blocked_s: float = 4.0,
        reads_before_reopen: int = 5,
        backoff: Backoff | None = None,
    ) -> None:
        self._open_camera, self._clock = open_camera, clock
        self._fail_fast, self._wait_for_device = fail_fast, wait_for_device
        self._stall_s, self._silence_s, self._reads_before_reopen = stall_s, silence_s, reads_before_reopen
        self._blocked_s = blocked_s
        self._stored: Reading | None = None  # the camera, where it is a stored source
        self._silent = False  # as told in the log
        # Short pauses: a camera that is plugged in again should be back while the technician is still looking.
        self._backoff = backoff or Backoff(first_s=0.1, cap_s=5.0, jitter=0.25)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._first_opening = threading.Event()  # set when entering need not wait any longer
        self._first_error: LeukoscopeError | None = None

        self._changed = threading.Condition()  # guards everything below
        self._slot: Frame | None = None
        self._over = False  # the thread has nothing more to give
        self._status = CameraStatus(CameraState.OPENING, "camera")
        self._times_s: deque[float] = deque(maxlen=512)
        self._waiting_since_s: float | None = None  # a live camera is being read
        self._retry_at_s: float | None = None

        self._told = set[str]()  # faults of the driver whose traceback was logged
        self._live = True
        self._digest: int | None = None
        self._digest_since_s = 0.0
        self._next_sequence = 0
        self._sequence_offset: int | None = None

    @property
    def status(self) -> CameraStatus:
        """The camera as it stands; also after the end, and after stopping."""
        with self._changed:
            now = self._clock.monotonic_s()
            status = self._status
            if self._retry_at_s is not None:
                status = replace(status, retry_in_s=max(0.0, self._retry_at_s - now))
            since = self._waiting_since_s
            if since is not None and now - since > self._silence_s and status.state in (CameraState.OPENING, CameraState.STREAMING):
                reason = f"{status.name} has not answered for {now - since:.0f} s; unplug it and plug it in again"
                status = replace(status, state=CameraState.LOST, reason=reason)
            reading = self._stored.reading_since_s if self._stored is not None else None
            if reading is not None and now - reading > self._blocked_s:
                reason = f"{status.name} has given no picture for {now - reading:.0f} s; is its disk or network folder there?"
                status = replace(status, state=CameraState.BLOCKED, reason=reason)
            self._tell_silence(status)
            if status.state is CameraState.STREAMING:
                status = replace(status, fps=self._fps(now))
            return status

    def _tell_silence(self, status: CameraStatus) -> None:
        """Once in the log when it falls silent, and once when it no longer is; its thread, which waits, cannot."""
        silent = status is not self._status and status.state in (CameraState.LOST, CameraState.BLOCKED) and status.retry_in_s is None
        if silent and not self._silent:
            log.warning("%s: %s", status.state.value, status.reason)
        elif self._silent and not silent:
            log.info("%s answers again", status.name)
        self._silent = silent

    def newest(self, timeout_s: float) -> Frame | None:
        """The newest frame, once; waits up to `timeout_s` for it. None when there is none, at once after the source's end."""
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._over, timeout_s)
            frame, self._slot = self._slot, None
            self._changed.notify_all()
            return frame

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()
        if self._fail_fast:
            self._first_opening.wait(_FIRST_OPENING_S)
            self._first_opening.set()  # a device, or a network folder, that takes longer is waited for after all
            if self._first_error is not None:
                self._thread.join(STOP_WITHIN_S)
                raise self._first_error
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)
            if self._thread.is_alive():
                log.warning("%s does not return from its driver; it is left behind and closed when it does", self._status.name)

    # The thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._use_camera()
                except EndOfSourceError as end:
                    self._become(CameraState.ENDED, str(end))
                    return
                except Exception as error:  # this thread must outlive whatever a driver raises
                    if self._refused_at_start(error):
                        return
                    self._failed(error)
                    self._pause()
        finally:
            self._first_opening.set()
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _use_camera(self) -> None:
        """One opening of the camera, until it fails, ends, or the thread is asked to stop."""
        camera = self._open_camera()
        with self._changed:
            self._live = camera.live
            self._stored = camera if isinstance(camera, Reading) and not camera.live else None
            self._status = replace(self._status, name=camera.name)
        if camera.live and self._wait_for_device:
            self._first_opening.set()  # a device may take its time, or be plugged in later
        with camera:
            self._first_opening.set()
            self._sequence_offset = None
            self._digest_since_s = self._clock.monotonic_s()
            failures = 0
            while not self._stopping.is_set():
                try:
                    frame = self._read(camera)
                except (CameraLostError, EndOfSourceError):
                    raise
                except CameraError as error:
                    failures += 1
                    if failures >= self._reads_before_reopen:
                        raise
                    self._failed(error)
                    self._pause()
                    continue
                failures = 0
                if self._is_new(frame):
                    self._offer(frame, camera.notice)

    def _read(self, camera: Camera) -> Frame:
        with self._changed:
            self._waiting_since_s = self._clock.monotonic_s() if camera.live else None
        try:
            frame = camera.read()
        finally:
            skipped = camera.skipped
            with self._changed:
                self._waiting_since_s = None
                self._status = replace(self._status, skipped=skipped)
        if self._sequence_offset is None:  # a camera that was opened anew may count from 0 again
            self._sequence_offset = max(0, self._next_sequence - frame.sequence)
        sequence = frame.sequence + self._sequence_offset
        self._next_sequence = sequence + 1
        frame.image.flags.writeable = False  # as Frame promises; a still is shown more than once
        source = printable(frame.source)
        return frame if (sequence, source) == (frame.sequence, frame.source) else replace(frame, sequence=sequence, source=source)

    def _is_new(self, frame: Frame) -> bool:
        """False for an exact copy of the frame before: a frozen camera, or a grabber that shows each picture twice.

        Such a copy would make a moving stage look at rest. Raises _StalledError when it lasts.
        """
        if not self._live:
            return True
        now = self._clock.monotonic_s()
        digest = picture_digest(frame.image)
        if digest != self._digest:
            self._digest, self._digest_since_s = digest, now
            return True
        if frame.image[::_ROWS].max() <= _DARK:  # without light nothing changes, and without noise one picture is like the other
            return True
        lasted = now - self._digest_since_s
        if lasted > self._stall_s:
            raise _StalledError(
                f"{self._status.name} sends one and the same picture for {lasted:.0f} s; opened again; if that does not help, unplug it"
            )
        return False

    def _offer(self, frame: Frame, notice: str) -> None:
        self._become(CameraState.STREAMING, notice)
        self._backoff.reset()
        with self._changed:
            self._slot = frame
            self._times_s.append(frame.captured_s)
            self._status = replace(self._status, size_px=frame.size_px, frames=self._status.frames + 1)
            self._changed.notify_all()
            if not self._live:
                self._changed.wait_for(lambda: self._slot is None or self._stopping.is_set())

    def _refused_at_start(self, error: Exception) -> bool:
        if not self._fail_fast or self._first_opening.is_set():
            return False
        with self._changed:  # not logged: whoever opened us tells it
            failures = self._status.failures + 1
            self._status = replace(self._status, state=CameraState.LOST, reason=self._words(error), failures=failures)
        self._first_error = error if isinstance(error, LeukoscopeError) else CameraError(self._words(error))
        return True

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, CameraError) and repr(error) not in self._told:
            self._told.add(repr(error))
            log.error("the camera's driver failed unexpectedly", exc_info=error)
        with self._changed:
            self._status = replace(self._status, failures=self._status.failures + 1)
        self._become(CameraState.STALLED if isinstance(error, _StalledError) else CameraState.LOST, self._words(error))

    def _words(self, error: Exception) -> str:
        if isinstance(error, CameraError):
            return str(error)
        return f"{self._status.name}: the driver failed ({type(error).__name__}: {error}); try `leukoscope doctor`"

    def _become(self, state: CameraState, reason: str) -> None:
        with self._changed:
            before = self._status
            self._status = replace(before, state=state, reason=reason)
        if (before.state, before.reason) == (state, reason):
            return
        if state is CameraState.STREAMING:
            log.log(logging.WARNING if reason else logging.INFO, "%s: frames come%s", before.name, f", but {reason}" if reason else "")
        else:
            log.log(logging.INFO if state is CameraState.ENDED else logging.WARNING, "%s: %s", state.value, reason)

    def _pause(self) -> None:
        end = self._clock.monotonic_s() + self._backoff.next_s()
        with self._changed:
            self._retry_at_s = end
        while not self._stopping.is_set() and (left := end - self._clock.monotonic_s()) > 0:
            self._clock.sleep(min(left, _NAP_S))
        with self._changed:
            self._retry_at_s = None

    def _fps(self, now: float) -> float:
        times = [t for t in self._times_s if now - t <= _FPS_WINDOW_S]
        span = times[-1] - times[0] if len(times) > 1 else 0.0
        return (len(times) - 1) / span if span > 0 else 0.0


def picture_digest(image: Image) -> int:
    """A checksum over every fourth row: a sensor's noise changes each of them, a frozen camera none."""
    return zlib.crc32(image[::_ROWS].tobytes())
