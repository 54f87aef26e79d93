"""What the rendered film held, beside what was told of it: planted tellings give known counts."""

from __future__ import annotations

from dataclasses import replace

import gallery
import pytest

from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.demo.truth import ToldOfTruth, Truth
from device.settings.config import SimulatorCamera as SimulatorSection
from device.slide.model import Cell, Field, Slide
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY


@pytest.fixture(scope="module")
def camera() -> SimulatorCamera:
    return SimulatorCamera(SimulatorSection(kind="simulator", seed=7, case="AML", fields=3, objective=40), SystemClock())


def slide_of(camera: SimulatorCamera, frames: list[int], foreign: bool = False) -> tuple[Slide, dict[int, int]]:
    """A slide that tells of the frames exactly what the film held."""
    fields = []
    for index, frame in enumerate(frames, 1):
        boxes, classes = camera.true_cells(frame, TAXONOMY)
        names = [TAXONOMY.classes[kind] for kind in classes]
        cells = [gallery.told_cell(name, tuple(box)) for name, box in zip(names, boxes.tolist(), strict=True)]
        fields.append(Field(index, gallery.WHEN, "simulator", (1920, 1080), 30.0, tuple(cells)))
    return Slide("S", gallery.WHEN, fields=tuple(fields), foreign=foreign), dict(enumerate(frames, 1))


def test_the_truth_told_is_all_right_by_types_and_by_groups(camera: SimulatorCamera) -> None:
    for foreign in (False, True):
        slide, frames = slide_of(camera, [7, 20], foreign)
        told = Truth(camera, frames, TAXONOMY).told(slide)
        white = [c for c in slide.cells if not TAXONOMY.is_artefact(c.class_index)]
        blasts = sum(TAXONOMY.is_blast(c.class_index) for c in white)
        assert blasts > 3 and len(white) - blasts > 3
        assert told == ToldOfTruth(blasts, blasts, len(white) - blasts, 0, len(white))


def test_a_blast_told_as_other_a_cell_not_found_and_a_false_blast_are_counted(camera: SimulatorCamera) -> None:
    slide, frames = slide_of(camera, [7])
    whole = Truth(camera, frames, TAXONOMY).told(slide)
    cells = list(slide.fields[0].cells)
    blasts = [i for i, c in enumerate(cells) if TAXONOMY.is_blast(c.class_index)]
    others = [i for i, c in enumerate(cells) if not TAXONOMY.is_blast(c.class_index) and not TAXONOMY.is_artefact(c.class_index)]
    cells[others[0]] = gallery.told_cell("blasts", cells[others[0]].box_px)
    cells[blasts[0]] = gallery.told_cell("", cells[blasts[0]].box_px)
    extra: Cell = gallery.told_cell("Myeloblast", (1.0, 1.0, 5.0, 5.0))  # a box on nothing
    field = replace(slide.fields[0], cells=(extra, *(c for i, c in enumerate(cells) if i != blasts[1])))
    told = Truth(camera, frames, TAXONOMY).told(replace(slide, fields=(field,)))
    assert told == ToldOfTruth(whole.blasts, whole.blasts - 2, whole.others, 1, whole.found - 1)
    assert f"{whole.blasts - 2} of {whole.blasts} blasts and 1 of {whole.others} others" in told.words


def test_a_cell_of_two_fields_is_one_cell_of_the_film_and_is_told_when_it_is_counted_twice(camera: SimulatorCamera) -> None:
    once, frames = slide_of(camera, [7])
    twice, both = slide_of(camera, [7, 7])
    truth = Truth(camera, frames, TAXONOMY).told(once)
    assert Truth(camera, both, TAXONOMY).told(twice) == replace(truth, twice=truth.found)
    assert f"{truth.found} counted twice" in Truth(camera, both, TAXONOMY).told(twice).words
