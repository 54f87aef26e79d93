"""How often the guidance at the stage is right: the figures of docs/technician.md, on rendered film.

    nice python -m docs.experiments.guidance [--first 200] [--seeds 12] [--slides 2]

Three covers told apart; whole slides of every case under three hands through guide and counting, on which nothing must be asked and no
place lost; the next objective under a profile that names another; another film after a blank spell. A quarter of an hour of one core.
Nothing that is measured on rendered film is evidence of clinical performance.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import permutations

import cv2
import numpy as np
from rich.console import Console

from calibration.profile import CalibrationProfile, ObjectiveScale
from device.camera.base import Frame
from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.errors import EndOfSourceError
from device.guidance.area import Area, Thickness, area_of
from device.guidance.guide import Guide
from device.guidance.watches import ObjectiveWatch, SlideWatch
from device.settings.config import SimulatorCamera as Section
from device.settings.config import SlideSection
from device.slide.counting import Observation
from device.slide.session import SlideSession
from engines.detections import Detections
from engines.film import Film, Microscope
from engines.taxonomy import LEUKEMIA_ATTRI

CASES = ("AML", "ALL", "APML", "CLL", "CML", "normal", "mixed")
HANDS = ("fields", "ordinary", "returns")
COVERS = {Thickness.THIN: 0.1, Thickness.GOOD: 0.4, Thickness.THICK: 1.2}
SIZE, FIELDS = (640, 360), 10
PROFILE = CalibrationProfile(
    name="rendered",
    version="1",
    camera="C2",
    measured=True,
    objectives={x: ObjectiveScale(um_per_px=7.5 / x, width_px=1920) for x in (10, 40, 100)},
)


class HurriedClock(SystemClock):
    """Nobody waits for the rendered stage."""

    def sleep(self, seconds: float) -> None:
        return None


def covers(seeds: range, objective: int) -> dict[Thickness, int]:
    """How many of the films are judged right at each cover, one field each."""
    scale = PROFILE.um_per_px(objective, SIZE[0])
    right = dict.fromkeys(COVERS, 0)
    for seed in seeds:
        for thickness, share in COVERS.items():
            film = Film(seed, CASES[seed % len(CASES)], (1000, 1000), red_cover=share)
            scope = Microscope("L", "C2", objective, width_px=SIZE[0])
            area = area_of(film.view((400.0, 400.0), scope, SIZE, noise_seed=1)[0], scale)
            right[thickness] += area is not None and area.thickness is thickness
    return right


def slide(case: str, seed: int, objective: int, hand: str) -> tuple[list[Area], int, int, int, list[Frame]]:
    """A whole slide. What the guide judged; places at rest of which no frame was sharp; places; frames with a question or another
    stain said; the frames that were judged."""
    section = Section.model_validate(
        {"kind": "simulator", "case": case, "seed": seed, "objective": objective, "hand": hand, "fields": FIELDS}
        | {"width_px": SIZE[0], "height_px": SIZE[1]}
    )
    camera, guide = SimulatorCamera(section, HurriedClock()), Guide(PROFILE, objective)
    session = SlideSession(LEUKEMIA_ATTRI, SlideSection(), 0.4, crops=False, jpeg_quality=90, clock=HurriedClock())
    session.start()
    empty = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros((0, LEUKEMIA_ATTRI.n_logits), np.float32)
    )
    seen = Observation(resting=False, field_counted=False, blank=False)
    areas: list[Area] = []
    judged: list[Frame] = []
    rests: list[bool] = []
    wrong = 0
    with camera:
        while True:
            try:
                frame = camera.read()
            except EndOfSourceError:
                break
            held = guide.look(frame, frame.sequence / 10, seen)
            if seen.resting and guide.area is not None and (not areas or guide.area is not areas[-1]):
                areas.append(guide.area)
                judged.append(frame)
            began = not seen.resting
            seen = session.observe(frame, empty, guide.sharpness, held=held)
            if seen.resting:
                if began:
                    rests.append(False)
                rests[-1] = rests[-1] or not held
            wrong += guide.question is not None or any("stain" in sentence for sentence in guide.late_advice())
    return areas, rests.count(False), len(rests), wrong, judged


def asked_objective(frames: list[Frame], said: int) -> bool:
    """Whether the question comes when the profile's objective is another."""
    watch = ObjectiveWatch(PROFILE, said)
    for frame in frames:
        area = area_of(frame.image, PROFILE.um_per_px(said, SIZE[0]))
        if area is not None:
            watch.observe(area, SIZE[0])
    return watch.doubt is not None


def another(first: list[Area], other: list[Area]) -> tuple[bool, bool]:
    """Whether another slide is asked about, and whether another stain is said at least."""
    watch = SlideWatch()
    for area in first[:6]:
        watch.observe(area)
    watch.left()
    said = False
    for area in other[:6]:
        watch.observe(area)
        said = said or watch.other_stain
    return watch.doubt, said


def lines(first: int, seeds: int, slides: int) -> Iterator[str]:
    for objective in (100, 40):
        right = covers(range(first, first + seeds), objective)
        yield f"cover at {objective}x, seeds {first} to {first + seeds - 1}: " + ", ".join(
            f"{t.value} {n} of {seeds}" for t, n in right.items()
        )
    for objective in (100, 40):
        films: list[list[Area]] = []
        lost = rests = wrong = asked = 0
        said = 140 - objective
        for n in range(slides * len(CASES)):
            hand = HANDS[(n + n // len(CASES)) % len(HANDS)]
            areas, missed, places, false, frames = slide(CASES[n % len(CASES)], first + 100 + n, objective, hand)
            films.append(areas)
            lost, rests, wrong, asked = lost + missed, rests + places, wrong + bool(false), asked + asked_objective(frames, said)
        yield (
            f"{len(films)} slides at {objective}x: {wrong} with a false question or note; {lost} of {rests} rests without a frame that "
            f"counts; asked when the profile says {said}x: {asked}"
        )
        pairs = [another(a, b) for a, b in permutations(films, 2)]
        asked_of, said_of = sum(asked for asked, _ in pairs), sum(said for _, said in pairs)
        yield f"another film after a blank spell: {len(pairs)} pairs, asked {asked_of}, said or asked {said_of}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=200, help="first seed; the slides begin 100 later")
    parser.add_argument("--seeds", type=int, default=12, help="films for each cover")
    parser.add_argument("--slides", type=int, default=2, help="whole slides of each case, at each objective")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(soft_wrap=True)
    for line in lines(given.first, given.seeds, given.slides):
        console.print(line)


if __name__ == "__main__":
    main()
