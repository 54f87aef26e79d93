"""The seam to every camera: the Protocol `Camera`, the `Frame` it gives and the `CameraStatus` everybody may read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Protocol, runtime_checkable

from typing_extensions import Self

from engines.detections import Image


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture as it left the camera.

    image: (height, width, 3) uint8, BGR; not written to by anybody.
    sequence: counts the frames of this source from 0, dropped ones included.
    captured_s: monotonic seconds at capture; captured_at: wall time (UTC).
    source: what the person would call it: "/dev/v4l/by-id/…", "field_007.png", "simulator".
    """

    image: Image
    sequence: int
    captured_s: float
    captured_at: datetime
    source: str

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        return self.image.shape[1], self.image.shape[0]


class SkippedPicture(NamedTuple):
    """A stored picture that was not shown. kind: as in `engines.pictures.PictureError`, or "in a folder inside"; reason: in words."""

    name: str
    kind: str
    reason: str


class CameraState(str, Enum):
    OPENING = "opening"
    STREAMING = "streaming"
    STALLED = "stalled"  # frames come, but all alike
    LOST = "lost"  # no frame; retried with growing pauses
    BLOCKED = "blocked"  # a stored source is being read, and its disk or network does not answer
    ENDED = "ended"  # a stored source has shown its last picture


@dataclass(frozen=True)
class CameraStatus:
    """Snapshot of the camera for screen, telemetry and log."""

    state: CameraState
    name: str
    reason: str = ""  # one line with the next step; while streaming: what the device refused of the configuration, else empty
    size_px: tuple[int, int] | None = None
    fps: float = 0.0  # measured over the last seconds
    frames: int = 0
    failures: int = 0  # reads that failed since start
    skipped: tuple[SkippedPicture, ...] = ()  # pictures of a stored source that were not read
    retry_in_s: float | None = None


class FrameSource(Protocol):
    """The capture thread, as the pipeline sees it."""

    @property
    def status(self) -> CameraStatus: ...

    def newest(self, timeout_s: float) -> Frame | None: ...


@runtime_checkable
class Reading(Protocol):
    """A camera that says since when it waits for a disk or a network, in monotonic seconds; None while it does not."""

    reading_since_s: float | None


class Camera(Protocol):
    """A source of frames. Opened by `with`; used by one thread.

    `live`: True for a device whose frames pass by whether or not anybody looks (only the newest is kept); False for a stored
    source, which waits until each of its pictures was looked at.
    """

    @property
    def name(self) -> str: ...

    @property
    def live(self) -> bool: ...

    @property
    def skipped(self) -> tuple[SkippedPicture, ...]:
        """Stored pictures that were not read so far, and why; empty for devices."""
        ...

    @property
    def notice(self) -> str:
        """One line on what the device refused of the configuration, known once it is open; empty where it took everything."""
        ...

    def read(self) -> Frame:
        """The next frame; blocks until there is one.

        Raises CameraError when this read failed and another may succeed, CameraLostError when the device must be opened
        again, EndOfSourceError after the last picture of a stored source.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
