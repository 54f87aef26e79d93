"""What a very long slide costs: time of a frame and memory after the first 500 fields and after 10,000 fields with 5,000 cells.

    python -m docs.experiments.long_slide --fields 10000

Drawn noise in place of film (the renderer would take hours), a serpentine of touching fields, half a cell a field; session with tally,
words and state of the pictures as the pipeline asks for them with every frame, no engine, screen or record. One thread.
"""

from __future__ import annotations

import argparse
import gc
from array import array
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import mean
from time import process_time

import cv2
import numpy as np
from rich.console import Console

from device.camera.base import Frame
from device.clock import SystemClock
from device.settings.config import SlideSection
from device.slide.picture_state import PictureState
from device.slide.session import SlideSession
from engines.detections import Detections
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

SIZE = (640, 360)
SMALL = (160, 90)
STEP = (144, 81)  # px of the small film from field to field
MOVES, RESTS = 4, 4
BEGIN = datetime(2026, 11, 23, 8, 0, 0, tzinfo=timezone.utc)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=10_000)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(soft_wrap=True)
    spent = array("d")  # small: what grows is to be the slide's
    memory: dict[int, float] = {}
    frames_at: dict[int, int] = {}
    for field, session in enumerate(counted(given.fields, spent), 1):
        if field in (500, 1000, given.fields - 1000, given.fields):
            gc.collect()
            memory[field], frames_at[field] = _megabytes(), len(spent)
            slide = session.slide
            assert slide is not None
            cells = len(slide.cells)
            console.print(f"{field} fields ({len(slide.fields)} counted, {slide.charts} charts), {cells} cells: {memory[field]:.1f} MB")
    first, last = spent[frames_at[500] : frames_at[1000]], spent[frames_at[given.fields - 1000] :]
    console.print(f"a frame at the start {mean(first):.2f} ms, at the end {mean(last):.2f} ms: {mean(last) / mean(first):.2f} times")
    console.print(f"memory since 500 fields: {memory[given.fields] - memory[500]:.1f} MB")


def counted(fields: int, spent: array[float]) -> Iterator[SlideSession]:
    """A session after each of its fields. spent: takes the milliseconds of every frame."""
    columns = int(np.ceil(np.sqrt(fields)))
    rng = np.random.default_rng(1)
    width, height = columns * STEP[0] + SMALL[0], (fields // columns + 1) * STEP[1] + SMALL[1]
    film = cv2.GaussianBlur(rng.integers(0, 255, (height, width), dtype=np.uint8), (0, 0), 2.0)
    film = cv2.convertScaleAbs(film, alpha=3.0, beta=-255.0)
    session = SlideSession(TAXONOMY, SlideSection(target_cells=100_000), 0.4, crops=True, jpeg_quality=90, clock=SystemClock())
    session.start()
    before = (0, 0)
    for field in range(fields):
        row, column = divmod(field, columns)
        goal = (column if row % 2 == 0 else columns - 1 - column) * STEP[0], row * STEP[1]
        for step in range(1, MOVES + RESTS + 1):
            share = min(1.0, step / MOVES)
            x, y = (round(a + (b - a) * share) for a, b in zip(before, goal, strict=True))
            grey = cv2.resize(film[y : y + SMALL[1], x : x + SMALL[0]], SIZE, interpolation=cv2.INTER_LINEAR)
            image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
            found = _found(field % 2 == 0 and step >= MOVES)
            number = len(spent) + 1
            frame = Frame(image, number, number / 10, BEGIN + timedelta(seconds=number / 10), "drawn")
            started = process_time()
            session.observe(frame, found, 1.0, held="" if step >= MOVES else "moving")
            assert session.slide is not None
            _ = session.differential, session.description, PictureState.of(session.slide).sentences(only_grave=True)
            spent.append(1000 * (process_time() - started))
        before = goal
        yield session


def _found(cell: bool) -> Detections:
    if not cell:
        return Detections.empty(TAXONOMY.n_logits)
    attributes = np.full((1, TAXONOMY.n_logits), 0.5, np.float32)
    return Detections(np.array([[300, 150, 370, 220]], np.float32), np.array([0.9], np.float32), np.array([3]), attributes)


def _megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
