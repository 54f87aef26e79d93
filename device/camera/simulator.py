"""The rendered slide as a camera: engines.film under a moving stage.

For demonstration and tests; the name says so wherever it is shown. What is measured on it says nothing about patients.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from typing_extensions import Self

from device.camera.base import Frame, SkippedPicture
from device.camera.hand import HandPath
from device.camera.stage import COUNTED_SHARE, Moment, StagePath, film_size_um, plan_fields
from device.clock import Clock, Pacer
from device.errors import CameraLostError, EndOfSourceError
from device.settings.config import SimulatorCamera as SimulatorSection
from engines.detections import Float32, Image, Int64
from engines.film import FieldTruth, Film, Microscope, labels
from engines.film.optics import capture
from engines.taxonomy import Taxonomy


class SimulatorCamera:
    """A technician reading a rendered slide: see `stage` and `hand` for the path, engines.film for the picture.

    A frame of any width shows the whole field: at fewer pixels they are larger, so that a profile's scale holds.

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
        self._scope = Microscope(section.domain, section.camera, section.objective, width_px=section.width_px)
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

    def truth(self, frame_sequence: int) -> FieldTruth:
        """What a perfect counter finds in that frame: everything of which at least half the box is visible. IndexError past the end."""
        film, path = self._on_stage
        return field_truth(film, self._scope, path.at(frame_sequence).corner_px, self._size_px)

    def true_cells(self, frame_sequence: int, taxonomy: Taxonomy) -> tuple[Float32, Int64]:
        """The same as boxes (N, 4) in px of the frame and classes (N,) of `taxonomy`. Raises as `truth` and `engines.film.labels`."""
        truth = self.truth(frame_sequence)
        return truth.boxes_px, labels(truth, taxonomy)[0]

    def __enter__(self) -> Self:
        self._pacer = Pacer(self._clock, self._section.fps)
        _ = self._on_stage  # made here, so that the first frame does not wait for it
        return self

    def __exit__(self, *_error: object) -> None:
        self._pacer = None

    @cached_property
    def _on_stage(self) -> tuple[Film, StagePath | HandPath]:
        """Film and path, made when first needed."""
        section = self._section
        if section.hand != "fields":
            hand = HandPath(section.hand, section.fields, self._scope, self._size_px, section.seed, section.loop)
            return Film(section.seed, section.case, (max(4000.0, hand.film_size_um[0]), max(3000.0, hand.film_size_um[1]))), hand
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


def field_truth(film: Film, scope: Microscope, corner_px: tuple[int, int], size_px: tuple[int, int]) -> FieldTruth:
    """What a perfect counter finds in the frame at `corner_px`: cells and artefacts of which at least half the box is visible.

    Boxes in pixels of the frame, clipped to it; see FieldTruth for the rest.
    """
    p, (i0, j0), (width, height) = scope.um_per_px, corner_px, size_px
    truth = film.cells_in((i0 * p, j0 * p, (i0 + width) * p, (j0 + height) * p))
    keep = truth.visible >= COUNTED_SHARE
    boxes = (truth.boxes_px[keep].astype(np.float64) / p - np.array([i0, j0, i0, j0])).astype(np.float32)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return FieldTruth(truth.cell_ids[keep], boxes, truth.classes[keep], truth.attributes[keep], truth.visible[keep])
