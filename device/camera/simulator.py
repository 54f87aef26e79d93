"""The rendered slide as a camera: engines.film under a moving stage.

For demonstration and tests; the name says so wherever it is shown. What is measured on it says nothing about patients.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from typing_extensions import Self

from device.camera.base import Frame, SkippedPicture
from device.camera.stage import Moment, StagePath, film_size_um, plan_fields
from device.clock import Clock, Pacer
from device.errors import CameraLostError, EndOfSourceError
from device.settings.config import SimulatorCamera as SimulatorSection
from engines.detections import Image
from engines.film import Film, Microscope
from engines.film.optics import capture


class SimulatorCamera:
    """A technician reading a rendered slide: see `stage` for the path, engines.film for the picture.

    Frames are a pure function of the section and the frame number, but for the times on them; each has noise of its own. `fps` is
    kept by sleeping on the clock: a slower consumer of a source that waits (live: false) is not slowed further.
    """

    skipped: tuple[SkippedPicture, ...] = ()
    notice = ""

    def __init__(self, section: SimulatorSection, clock: Clock) -> None:
        self.name = f"simulator (rendered {section.case} film, seed {section.seed})"
        self.live = section.live
        self._section = section
        self._clock = clock
        self._size_px = (section.width_px, section.height_px)
        self._scope = Microscope(section.domain, section.camera, section.objective)
        self._pacer: Pacer | None = None
        self._sequence = 0

    def read(self) -> Frame:
        """The next frame. Raises EndOfSourceError after the last field, unless the section says `loop`."""
        if self._pacer is None:
            raise CameraLostError(f"{self.name} is not open")
        number = self._sequence
        film, path = self._on_stage
        if number >= path.frames and not self._section.loop:
            raise EndOfSourceError(f"{self.name}: the last of its {self._section.fields} fields was shown")
        image = self._render(film, path.at(number), number)
        self._sequence += 1
        self._pacer.wait()
        return Frame(image, number, self._clock.monotonic_s(), self._clock.now(), "simulator")

    def __enter__(self) -> Self:
        self._pacer = Pacer(self._clock, self._section.fps)
        _ = self._on_stage  # made here, so that the first frame does not wait for it
        return self

    def __exit__(self, *_error: object) -> None:
        self._pacer = None

    @cached_property
    def _on_stage(self) -> tuple[Film, StagePath]:
        """Film and path, made when first needed."""
        section = self._section
        needed = film_size_um(self._scope, self._size_px, section.fields)
        film = Film(section.seed, section.case, (max(4000.0, needed[0]), max(3000.0, needed[1])))
        centres = plan_fields(film, self._scope, self._size_px, section.fields)
        return film, StagePath(centres, self._scope, self._size_px, section.seed, section.loop)

    def _render(self, film: Film, moment: Moment, number: int) -> Image:
        clear = film.clear(*moment.corner_px, self._size_px, self._scope.um_per_px)
        width, height = (max(1, length) for length in moment.smear_px)
        if width > 1 or height > 1:  # two boxes, no slanted line: the ways are almost along an axis, and any length costs the same
            clear = np.asarray(cv2.blur(clear, (width, height)), np.uint8)
        return capture(clear, self._scope, moment.defocus_um, self._section.seed * 1_000_003 + number)
