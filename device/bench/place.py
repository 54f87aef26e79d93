"""What it costs to know the place on the film: processor time a frame, and of looking for lost ground in many keyframes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import cv2
import cyclopts
import numpy as np
from rich.console import Console

from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.errors import EndOfSourceError
from device.settings.config import SimulatorCamera as SimulatorSection
from device.slide.correlation import Correlator, compressed
from device.slide.keyframes import Key, KeyframeMap, encode
from device.slide.motion import FieldPicture, RestDetector
from device.slide.registration import Registration
from engines.bench.machine import Machine
from engines.bench.section import count, put_section, section_head
from engines.bench.spread import Spread
from engines.detections import Image

SECTION = "place"
KEYFRAMES = 200
_FIELDS = 12


@dataclass(frozen=True)
class PlaceCost:
    """Milliseconds of processor time. picture: the small picture of a frame; rest: whether the stage rests (both before the place);
    place: of a frame; found: of the frames that looking through all keyframes is spread over, together; worst: the dearest of these.
    """

    machine: Machine
    load: float
    frames: int
    repeats: int
    picture_ms: Spread
    rest_ms: Spread
    place_ms: Spread
    found_ms: Spread
    worst_ms: Spread


def run_place_bench(frames: int = 200, repeats: int = 5, out: Path | None = None, console: Console | None = None) -> PlaceCost:
    """Measure, print, and put the section into the page `out`, where one is given. Raises DataError for a page that cannot take it."""
    console = console or Console()
    if out is not None:
        put_section(out, SECTION, None)
    measured = measure(frames, repeats)
    text = section_text(measured)
    console.print(text, highlight=False, markup=False)
    if out is not None:
        put_section(out, SECTION, text)
    return measured


def measure(frames: int, repeats: int) -> PlaceCost:
    """Follow a hand that returns (rendered film, 100x), several times over the same frames; OpenCV on one thread."""
    machine, load = Machine.this(), os.getloadavg()[0]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        images = _images(frames)
        pictures = [FieldPicture.of(image) for image in images]
        detector = RestDetector(2)
        resting = [detector.observe(image).resting for image in images]
        large = np.asarray(cv2.resize(images[0], (1920, 1080)), np.uint8)
        picture = [_mean_ms(lambda: FieldPicture.of(large), 20) for _ in range(repeats)]
        both = [_mean_ms(lambda: _rest(images), 1) / len(images) for _ in range(repeats)]
        small = [_mean_ms(lambda: [FieldPicture.of(image) for image in images], 1) / len(images) for _ in range(repeats)]
        place = [_mean_ms(lambda: _follow(pictures, resting), 1) / len(images) for _ in range(repeats)]
        found = [_look(pictures, repeat) for repeat in range(repeats)]
    finally:
        cv2.setNumThreads(threads)
    rest = [max(0.0, a - b) for a, b in zip(both, small, strict=True)]
    spreads = (Spread.of(values) for values in (picture, rest, place, [sum(f) for f in found], [max(f) for f in found]))
    return PlaceCost(machine, load, len(images), repeats, *spreads)


def section_text(m: PlaceCost) -> str:
    """The section in Markdown, ending in a newline."""
    command = f"python -m device.bench.place --frames {m.frames} --repeats {m.repeats}"
    rows = {
        "small picture of a frame of 1920 x 1080 px (before; motion needs it too)": m.picture_ms,
        "whether the stage rests (before)": m.rest_ms,
        "**place on the film, of a frame**": m.place_ms,
        f"lost: looking through {KEYFRAMES} keyframes, all frames of it together": m.found_ms,
        "the dearest frame of these": m.worst_ms,
    }
    lines = [
        *section_head("The place on the film", command, m.machine, m.load),
        f"- Processor time in ms on one thread; {count(m.frames, 'frame')} of a hand that returns (rendered film, 100x); median of "
        f"{count(m.repeats, 'reading')}, with the smallest and the largest.",
        "",
        "| | ms | smallest to largest |",
        "|---|---:|---:|",
        *(f"| {words} | {spread.median:.2f} | {spread.range()} |" for words, spread in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def _images(most: int) -> list[Image]:
    section = SimulatorSection(kind="simulator", hand="returns", fields=_FIELDS, width_px=640, height_px=360, fps=120.0)
    images: list[Image] = []
    with SimulatorCamera(section, SystemClock()) as camera:
        while len(images) < most:
            try:
                images.append(camera.read().image)
            except EndOfSourceError:
                break
    return images


def _rest(images: list[Image]) -> None:
    detector = RestDetector(2)
    for image in images:
        detector.observe(image)


def _follow(pictures: list[FieldPicture], resting: list[bool]) -> None:
    registration = Registration()
    for picture, rests in zip(pictures, resting, strict=True):
        registration.observe(picture, rests)


def _look(pictures: list[FieldPicture], repeat: int) -> list[float]:
    """ms of each frame that looks for ground that is not among the keyframes: the dearest case, every one is looked at."""
    height, width = pictures[0].band.shape
    kept = KeyframeMap(Correlator((height, width)), pictures[0].size_px)
    half = len(pictures) // 2
    for number in range(1, KEYFRAMES + 1):
        picture = pictures[number % half]
        jpeg = encode(compressed(picture.band[::-1], picture.contrast))  # upside down: no ground that will be seen
        kept.put(Key(number, 1, number * 2.0 * width, 0.0, picture.contrast, jpeg))
    registration = Registration()
    registration.restore(kept.stored(key) for key in kept)
    registration.observe(pictures[half], False)
    spent = []
    for _ in range(5):
        start = process_time()
        registration.observe(pictures[half + repeat], True)
        spent.append(1000 * (process_time() - start))
    return spent


def _mean_ms(work: Callable[[], object], times: int) -> float:
    start = process_time()
    for _ in range(times):
        work()
    return 1000 * (process_time() - start) / times


def main(*, frames: int = 200, repeats: int = 5, out: Path | None = None) -> None:
    """Measure the processor time that the place on the film costs a frame, and looking for lost ground in 200 keyframes.

    Args:
        frames: Frames of rendered film that are followed.
        repeats: Readings of them.
        out: Also put it into this Markdown page, as its section "place"; other sections are kept.
    """
    run_place_bench(frames, repeats, out)


if __name__ == "__main__":
    cyclopts.run(main)
