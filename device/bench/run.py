"""The benchmark from end to end: frames laid in, read the whole way several times, the result printed and written."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Literal

import cv2
from rich.console import Console

from device.bench.page import Measured, print_measured, section_text
from device.bench.way import (
    FramesInMemory,
    SlideReading,
    config_of,
    decode_ms,
    frames_of,
    from_jpegs,
    hand_over_ms,
    network_alone,
    network_inputs,
    read_slide,
)
from device.camera.factory import open_camera
from device.clock import SystemClock
from device.settings.config import ReplayCamera, SimulatorCamera
from engines.bench.machine import Machine, in_own_process
from engines.bench.section import put_section, shown_command, shown_engine
from engines.bench.spread import Spread
from engines.runtime.choice import Asked, choose
from engines.runtime.factory import AUTO, open_engine

LEAST_REPEATS, ENOUGH_S = 3, 75.0
"""So many are done even when they take longer than so many seconds."""
SECTION = "whole-path"
_SEED, _CASE = 7, "AML"
_FEWEST_FRAMES_A_FIELD = 12  # of the simulated technician: 8 to rest, 4 on the way
_JPEG_QUALITY = 90
_WARM_UP_FRAMES = 6


@dataclass(frozen=True)
class Settings:
    """What is measured and how.

    engine: a bundle (zoo:NAME or a folder), run by `runtime` in `precision`, what is "auto" measured as the appliance does
    it; whether it passed a gate is not asked. frames: of a rendered slide under
    the simulated stage and `objective` (at 40x a field has six times as many cells as at 100x), or the first of the pictures in
    `source`. repeats: whole readings of them, fewer (at least 3) once they have taken 75 s.
    """

    engine: str = "zoo:attridet-n"
    runtime: str = AUTO
    threads: int = 2
    frames: int = 60
    repeats: int = 5
    source: Path | None = None
    objective: Literal[40, 100] = 100
    precision: str = AUTO

    def command(self, section: str) -> str:
        """The command that measures this again, without names of folders."""
        options: dict[str, object] = {"--engine": shown_engine(self.engine)}
        options |= {"--runtime": self.runtime if self.runtime != AUTO else None}
        options |= {"--precision": self.precision if self.precision != AUTO else None}
        options |= {"--frames": self.frames, "--repeats": self.repeats, "--threads": self.threads}
        options |= {"--source": self.source.name if self.source else None}
        options |= {
            "--objective": self.objective if self.objective != 100 else None,
            "--section": section if section != SECTION else None,
        }
        return shown_command("leukoscope bench", options)


def run_bench(settings: Settings, out: Path | None = None, section: str = SECTION, console: Console | None = None) -> Measured:
    """Measure, print, and put the result into the page `out` as its section `section`; its other sections are kept.

    Raises as `measure` does, and DataError for a section that cannot be put there. out None: nothing is written.
    """
    console = console or Console()
    if out is not None:
        put_section(out, section, None)  # found now rather than after two minutes
    measured = measure(settings, console)
    print_measured(measured, console)
    if out is not None:
        put_section(out, section, section_text(measured, settings.command(section)))
    console.print("Nothing was written; --out PAGE keeps it." if out is None else f"Written into {out}.", highlight=False)
    return measured


def _chosen(settings: Settings, console: Console) -> tuple[str, str, str]:
    """Bundle, runtime and precision; what is "auto" is measured, as the appliance does it at its first start."""
    if AUTO not in (settings.runtime, settings.precision):
        return settings.engine, settings.runtime, settings.precision
    with console.status("Choosing what runs the engine quickest here") as status:

        def report(task: str, done: int, total: int) -> None:
            status.update(f"Engine: {task} ({done + 1} of {total})")

        found = choose(Asked(settings.engine, settings.runtime, settings.precision, settings.threads, ungated=True), report)
    return found.chosen.bundle, found.chosen.runtime, found.chosen.precision


def measure(settings: Settings, console: Console) -> Measured:
    """Raises BundleError, RuntimeUnavailableError, CameraError, StoreError."""
    threads, frames = settings.threads, settings.frames
    reference, runtime, precision = _chosen(settings, console)
    source, objective = settings.source, settings.objective
    load = os.getloadavg()[0]
    camera: SimulatorCamera | ReplayCamera
    if source is None:
        fields = ceil(frames / _FEWEST_FRAMES_A_FIELD) + 1
        camera = SimulatorCamera(kind="simulator", seed=_SEED, case=_CASE, objective=objective, fields=fields, fps=120)
    else:
        camera = ReplayCamera(kind="replay", source=str(source))
    config = config_of(camera, reference, threads)
    with (
        console.status("Opening the engine") as status,
        open_engine(reference, runtime, threads, ungated=True, precision=precision) as engine,
    ):
        images = frames_of(open_camera(camera, SystemClock()), frames, lambda n: status.update(f"Laying in frame {n} of {frames}"))
        jpegs = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes() for image in images]
        inputs = network_inputs(engine, images)
        network_alone(engine.graphs, inputs[:2], engine.thresholds.confidence)
        read_slide(engine, lambda: FramesInMemory(images[:_WARM_UP_FRAMES]), config)
        runs: list[SlideReading] = []
        alone, decoding, handing = [], [], []
        began = time.monotonic()
        while len(runs) < settings.repeats and (len(runs) < LEAST_REPEATS or time.monotonic() - began < ENOUGH_S):
            status.update(f"Reading them the whole way: {len(runs) + 1} of {settings.repeats}")
            alone.append(network_alone(engine.graphs, inputs, engine.thresholds.confidence))
            runs.append(read_slide(engine, lambda: FramesInMemory(images), config))
            decoding.append(decode_ms(jpegs))
            handing.append(hand_over_ms(images[0]))
        status.update("Reading them from JPEG, for the memory")
        with tempfile.TemporaryDirectory(prefix="leukoscope-bench-") as folder:
            for number, jpeg in enumerate(jpegs):
                (Path(folder) / f"{number:05}.jpg").write_bytes(jpeg)
            jpeg_fps, peak = in_own_process(from_jpegs, reference, runtime, threads, Path(folder), precision)
    counting = [ms for run in runs for ms in run.counting_ms]
    return Measured(
        machine=Machine.this(),
        load=load,
        engine=engine.info,
        threads=threads,
        source=f"rendered film, case {_CASE}, seed {_SEED}, {objective}x" if source is None else f"pictures of {source.name}",
        size_px=(images[0].shape[1], images[0].shape[0]),
        frames=len(images),
        repeats=len(runs),
        fields=runs[0].fields,
        cells=runs[0].cells,
        shown=Spread.of(runs[0].shown),
        path_fps=Spread.of([run.fps for run in runs]),
        network_fps=Spread.of(alone),
        path_over_network=Spread.of([run.fps / bare for run, bare in zip(runs, alone, strict=True)]),
        jpeg_fps=jpeg_fps,
        peak_mib=peak,
        frame_ms=Spread.of([1e3 / run.fps for run in runs]),
        processor_ms=Spread.of([1e3 * run.processor_s / run.frames for run in runs]),
        stages_ms={name: Spread.of([fmean(run.stages_ms[name]) for run in runs]) for name in runs[0].stages_ms},
        around_ms=Spread.of([run.around_ms for run in runs]),
        counting_ms=Spread.of(counting) if counting else None,
        decode_ms=Spread.of(decoding),
        hand_over_ms=Spread.of(handing),
    )
