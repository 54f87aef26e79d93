"""The rendered slide as a camera: engines.film under a moving stage, and the truth of what it showed.

For demonstration and tests; the name says so wherever it is shown. What is measured on it says nothing about patients.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from types import TracebackType

import cv2
import numpy as np
from typing_extensions import Self

from device.camera.base import Frame, SkippedPicture
from device.camera.pacing import Pacer
from device.camera.stage import Moment, StagePath, field_truth, film_size_um, plan_fields
from device.clock import Clock
from device.errors import CameraLostError, EndOfSourceError
from device.settings.config import SimulatorCamera as SimulatorSection
from engines.detections import Image
from engines.film import FieldTruth, Film, Microscope
from engines.film.optics import capture

_REMEMBERED = 64  # frames whose truth is kept for whoever asks by the picture


class SimulatorCamera:
    """A technician reading a rendered slide: see `stage` for the path, engines.film for the picture.

    Frames are a pure function of the section and the frame number, but for the times on them; each has noise of its own. `fps` is
    kept by sleeping on the clock: a slower consumer of a source that waits (live: false) is not slowed further.
    """

    skipped: tuple[SkippedPicture, ...] = ()
    notice = ""

    def __init__(self, section: SimulatorSection, clock: Clock) -> None:
        self._section = section
        self._clock = clock
        self._size_px = (section.width_px, section.height_px)
        self._scope = Microscope(section.domain, section.camera, section.objective)
        self._lock = threading.Lock()  # a film belongs to one thread at a time; the truth is asked for from others
        self._laid: tuple[Film, StagePath] | None = None
        self._recent: OrderedDict[bytes, FieldTruth] = OrderedDict()
        self._pacer: Pacer | None = None
        self._sequence = 0

    @property
    def name(self) -> str:
        return f"simulator (rendered {self._section.case} film, seed {self._section.seed})"

    @property
    def live(self) -> bool:
        return self._section.live

    @property
    def path(self) -> StagePath:
        """Where the stage is at every frame number."""
        with self._lock:
            return self._on_stage()[1]

    def read(self) -> Frame:
        """The next frame. Raises EndOfSourceError after the last field, unless the section says `loop`."""
        if self._pacer is None:
            raise CameraLostError(f"{self.name} is not open")
        number = self._sequence
        with self._lock:
            film, path = self._on_stage()
            if number >= path.frames and not self._section.loop:
                raise EndOfSourceError(f"{self.name}: the last of its {self._section.fields} fields was shown")
            moment = path.at(number)
            image = self._render(film, moment, number)
            self._recent[picture_key(image)] = field_truth(film, self._scope, moment.corner_px, self._size_px)
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        self._sequence += 1
        self._pacer.wait()
        return Frame(image, number, self._clock.monotonic_s(), self._clock.now(), "simulator")

    def __enter__(self) -> Self:
        self._pacer = Pacer(self._clock, self._section.fps)
        with self._lock:
            self._on_stage()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pacer = None

    def truth(self, frame_sequence: int) -> FieldTruth:
        """What a perfect counter finds in that frame: everything of which at least half the box is visible. IndexError past the end."""
        with self._lock:
            film, path = self._on_stage()
            return field_truth(film, self._scope, path.at(frame_sequence).corner_px, self._size_px)

    def truth_of_picture(self, image: Image) -> FieldTruth | None:
        """The same for one of the last 64 pictures, known by its bytes; None for any other."""
        key = picture_key(image)
        with self._lock:
            return self._recent.get(key)

    def truth_of_path(self) -> tuple[FieldTruth, ...]:
        """What a perfect counter finds on the whole path, one entry a field in the order of visit; no cell is in two of them."""
        return self._truth_of_fields(self._section.fields)

    def visited_fields(self) -> tuple[FieldTruth, ...]:
        """The same for the fields on which the stage has rested so far, be it for one frame."""
        shown, path = self._sequence, self.path
        return self._truth_of_fields(sum(path.field_frames(field).start < shown for field in range(self._section.fields)))

    def _truth_of_fields(self, count: int) -> tuple[FieldTruth, ...]:
        """At the last resting frame of each; the vibration of the others changes no cell's belonging (see `stage.plan_fields`)."""
        path = self.path
        return tuple(self.truth(path.field_frames(field)[-1]) for field in range(count))

    def _on_stage(self) -> tuple[Film, StagePath]:
        """Film and path, made when first needed; the lock is held."""
        if self._laid is None:
            section = self._section
            needed = film_size_um(self._scope, self._size_px, section.fields)
            film = Film(section.seed, section.case, (max(4000.0, needed[0]), max(3000.0, needed[1])))
            centres = plan_fields(film, self._scope, self._size_px, section.fields)
            self._laid = film, StagePath(centres, self._scope, self._size_px, section.seed, section.loop)
        return self._laid

    def _render(self, film: Film, moment: Moment, number: int) -> Image:
        clear = film.clear(*moment.corner_px, self._size_px, self._scope.um_per_px)
        width, height = (max(1, length) for length in moment.smear_px)
        if width > 1 or height > 1:  # two boxes, no slanted line: the ways are almost along an axis, and any length costs the same
            clear = np.asarray(cv2.blur(clear, (width, height)), np.uint8)
        return capture(clear, self._scope, moment.defocus_um, self._section.seed * 1_000_003 + number)


def picture_key(image: Image) -> bytes:
    """Digest of a picture's bytes and shape."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16, salt=str(image.shape[:2]).encode()[:16]).digest()
