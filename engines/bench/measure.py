"""Milliseconds of an engine's stages, of its bare graphs and of others' programs, in alternating rounds over the same pictures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from engines.bench.agreement import Agreement, agreement
from engines.bench.energy import open_meter
from engines.bench.machine import Machine, held_to, in_own_process, peak_mib
from engines.bench.peers import Peer, PeerProgram, Round, lay_out
from engines.bench.spread import Percentiles, Spread
from engines.decode import candidates, detections, region_batches
from engines.detections import Float32, Image
from engines.naming.tiles import cut_tiles
from engines.preprocess import place, prepare
from engines.runtime.base import EngineInfo
from engines.runtime.engine import BundleEngine
from engines.runtime.factory import open_engine
from engines.runtime.openvino.bare import BareOpenvino
from engines.runtime.openvino.graphs import OpenvinoGraphs
from engines.runtime.precision import AUTO, PRECISIONS

STAGES = ("preprocess", "detector", "nms", "attributes")
WHOLE, DETECTION, LOOK, BARE, RUNTIME = "whole", "detection", "look", "bare", "runtime"
OURS = (WHOLE, DETECTION, LOOK, BARE, RUNTIME)
"""Keys of our own contenders."""
BESIDE = "beside"
"""What the keys of our other bundles and precisions begin with."""
LOOKED_AT = 9
"""Cells of a field at which the second look is measured."""
_WARM_UP = 5
_COMPARED = 20  # pictures on which the answers are compared with the reference runtime's

Report = Callable[[str, int, int], None]
"""Called with what is done now, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Settings:
    """Everything that two measurements must share to be compared. plans, precision: see `engines.runtime.factory.open_engine`.

    beside: other bundles or precisions of ours that get rows of their own, see `others`.
    """

    reference: str
    runtime: str = "auto"
    threads: int = 2
    rounds: int = 5
    score_threshold: float | None = None
    plans: Path | None = None
    precision: str = AUTO
    beside: tuple[str, ...] = ()

    def engine(self, runtime: str | None = None) -> BundleEngine:
        """The engine, not yet opened; gated or not: here it counts nothing. runtime: another, in float32."""
        precision = self.precision if runtime is None else AUTO
        return self._opened(self.reference, runtime or self.runtime, precision)

    def others(self) -> list[BundleEngine]:
        """Those of `beside` ("BUNDLE", or "BUNDLE@PRECISION"), not yet opened, on the same runtime."""
        found = []
        for words in self.beside:
            reference, _, precision = words.rpartition("@")
            known = bool(reference) and precision in PRECISIONS
            found.append(self._opened(reference if known else words, self.runtime, precision if known else AUTO))
        return found

    def _opened(self, reference: str, runtime: str, precision: str) -> BundleEngine:
        return open_engine(
            reference, runtime, self.threads, self.score_threshold, ungated=True, plans=self.plans, precision=precision, verify=False
        )


@dataclass(frozen=True, eq=False)
class Contender:
    """Something of ours that looks at every picture once, when it is its turn.

    pictures: what it is given of each. look: what is measured. ready: what becomes of a picture before it is on the clock.
    """

    key: str
    label: str
    pictures: Sequence[Any]
    look: Callable[[Any], object]
    ready: Callable[[Any], Any] = lambda picture: picture

    def round(self) -> Round:
        """Looks at every picture once, in order."""
        spent, processor_s = [], 0.0
        for picture in self.pictures:
            given = self.ready(picture)
            busy, started = process_time(), perf_counter()
            self.look(given)
            spent.append(1e3 * (perf_counter() - started))
            processor_s += process_time() - busy
        return Round(tuple(spent), 1e3 * processor_s)


def _alone(
    key: str,
    label: str,
    pictures: Sequence[tuple[Image, list[Float32]]],
    ready: Callable[[Image], Any],
    detect: Callable[[Any], object],
    describe: Callable[[Float32], object],
) -> Contender:
    """Two graphs on pictures and regions that are ready: nothing before, between or after is on the clock."""

    def look(given: tuple[Any, list[Float32]]) -> None:
        detect(given[0])
        for rois in given[1]:
            describe(rois)

    return Contender(key, label, pictures, look, lambda given: (ready(given[0]), given[1]))


def _ours(
    engine: BundleEngine, images: Sequence[Image], threads: int, stages_ms: dict[str, list[float]]
) -> tuple[list[Contender], int]:
    """Our contenders, and the runs of our attribute graph in a round. stages_ms: receives those of every frame of the whole path.

    The whole path; detection without attributes, as much as a detector without an attribute head does; the second look at nine cells of
    the picture, which is no part of the whole path, where the bundle has one; the engine's own graphs; then, where they are not the
    runtime's as it is, the runtime on the bundle's files: no code of ours.
    """
    recipe, graphs, thresholds = engine.bundle.manifest.input, engine.graphs, engine.thresholds
    boxes_px = [candidates(engine.propose(image).rows, thresholds).boxes_px for image in images]
    buffer = np.empty((*recipe.hw, 3), np.uint8)

    def given(regions: int) -> list[tuple[Image, list[Float32]]]:
        return [(image, [rois for rois, _ in region_batches(boxes, regions)]) for image, boxes in zip(images, boxes_px, strict=True)]

    def whole(image: Image) -> None:
        timings_ms = engine.infer(image).timings_ms
        for stage, spent in stages_ms.items():
            spent.append(timings_ms[stage])

    def placed(image: Image) -> Image:
        return place(image, recipe.hw, recipe.scale_up, buffer)[0]

    def planes(image: Image) -> Float32:
        return prepare(image, recipe.hw, recipe.scale_up)[0]

    def detect(picture: Image) -> Float32:
        return graphs.detect(picture, thresholds.confidence)

    pictures = given(graphs.regions)
    found = [
        Contender(WHOLE, "the whole path", images, whole),
        Contender(DETECTION, "detection alone, no attributes", images, partial(_detected, engine)),
        _alone(BARE, "our graphs alone", pictures, placed, detect, graphs.describe),
    ]
    if engine.bundle.manifest.second_look is not None:
        cells = [(image, _nine(engine, image)) for image in images]

        def look(given: tuple[Image, Float32]) -> None:
            engine.look(cut_tiles(given[0], given[1], engine.tiles))

        look(cells[0])  # loads its graph
        label = f"the second look alone, at {LOOKED_AT} cells of a counted field"
        found.insert(2, Contender(LOOK, label, cells, look))
    if isinstance(graphs, OpenvinoGraphs):
        bare = BareOpenvino(engine.bundle, threads, engine.precision)
        label = "the bare runtime on the bundle's files"
        found.append(_alone(RUNTIME, label, given(bare.regions), planes, bare.detect, bare.describe))
    return found, sum(len(regions) for _, regions in pictures)


def _nine(engine: BundleEngine, image: Image) -> Float32:
    """So many boxes (9, 4) of cells of a picture in its px, the same ones again where it has fewer; its middle where it has none."""
    boxes_px = engine.infer(image).detections.boxes_px
    height, width = image.shape[:2]
    middle = np.array([[0.45 * width, 0.45 * height, 0.55 * width, 0.55 * height]], np.float32)
    return np.resize(boxes_px if len(boxes_px) else middle, (LOOKED_AT, 4))


def _detected(engine: BundleEngine, image: Image) -> None:
    """Detection without attributes: as much as a detector without an attribute head does."""
    thresholds = engine.thresholds
    proposals = engine.propose(image, confidence=thresholds.confidence)
    detections(candidates(proposals.rows, thresholds), proposals.letterbox, engine.info.taxonomy.n_logits)


@dataclass(frozen=True)
class Row:
    """One contender. fps: of the rounds. frame_ms: of its single frames.

    times, detection_times: the whole path's, and detection's, frames a second over its own. processor_ms: of a frame, all threads
    together, by rounds; a busy machine hardly changes it; None for a program that does not tell.
    """

    key: str
    label: str
    software: str
    fps: Spread
    frame_ms: Percentiles
    times: Spread
    detection_times: Spread
    processor_ms: Spread | None
    rounds_ms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Measured:
    """The whole result. agreement: with the reference runtime, on the first pictures; None where it is the reference.

    joules_a_frame: None where the machine does not tell. peak_mib: of a process that opens the engine and reads one frame.
    """

    machine: Machine
    load: float
    engine: EngineInfo
    settings: Settings
    frames: int
    sizes_px: tuple[tuple[int, int], ...]
    cells: int
    attribute_runs: int
    rows: tuple[Row, ...]
    stages_ms: dict[str, Percentiles]
    peak_mib: float
    meter: str
    joules_a_frame: float | None
    agreement: Agreement | None

    def row(self, key: str) -> Row:
        """The contender of this key."""
        return next(row for row in self.rows if row.key == key)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON: everything, single frames too."""
        out = asdict(self)
        out["settings"]["plans"] = str(self.settings.plans) if self.settings.plans else None
        out["engine"] = {**out["engine"], "taxonomy": self.engine.taxonomy.to_dict()}
        return out


def measure(
    settings: Settings,
    images: Sequence[Image],
    peers: Sequence[Peer] = (),
    peer_python: Path | None = None,
    report: Report = lambda *_: None,
) -> Measured:
    """Measures the engine on these pictures, beside its bare graphs and `peers`. Raises EnginesError.

    In each round every contender looks at all pictures once, in turned order, on the same cores; figures compared are of one round.
    """
    load = os.getloadavg()[0]
    with ExitStack() as opened:
        opened.enter_context(held_to(settings.threads))
        report("memory", 0, 1)
        peak = in_own_process(_peak_of_one_frame, settings, images[0])
        engine = opened.enter_context(settings.engine())
        report("comparing with the reference", 0, 1)
        compared = _agreement(settings, engine, images[:_COMPARED])
        meter = opened.enter_context(open_meter())
        stages_ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
        ours, attribute_runs = _ours(engine, images, settings.threads, stages_ms)
        software = dict.fromkeys(OURS, engine.info.runtime)
        for number, other in enumerate(map(opened.enter_context, settings.others())):
            label = f"{other.info.name} {other.info.version} {other.info.precision}"
            ours.append(Contender(f"{BESIDE} {number}", f"the whole path, {label}", images, other.infer))
            ours.append(Contender(f"{BESIDE} {number} detection", f"detection alone, {label}", images, partial(_detected, other)))
            software |= dict.fromkeys((ours[-2].key, ours[-1].key), other.info.runtime)
        contenders: list[Contender | PeerProgram] = [*ours]
        if peers and peer_python is not None:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="attridet-bench-")))
            lay_out(images, folder)
            side_px, classes = max(engine.info.input_hw), len(engine.info.taxonomy.classes)
            for peer in peers:
                report(f"{peer.label}: exporting and opening", 0, 1)
                program = opened.enter_context(PeerProgram(peer, peer_python, folder, side_px, classes, settings.threads))
                contenders.append(program)
                software[program.key] = program.software
        for image in images[:_WARM_UP]:
            engine.infer(image)
        rounds: dict[str, list[Round]] = {contender.key: [] for contender in contenders}
        joules = 0.0
        for number in range(settings.rounds):
            report("rounds", number, settings.rounds)
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                before = meter.joules() if meter else 0.0
                rounds[contender.key].append(contender.round())
                if meter and contender.key == WHOLE:
                    joules += meter.joules() - before
        report("rounds", settings.rounds, settings.rounds)
        cells = sum(len(engine.infer(image).detections) for image in images)
    return Measured(
        machine=Machine.this(),
        load=load,
        engine=engine.info,
        settings=settings,
        frames=len(images),
        sizes_px=tuple(sorted({(image.shape[1], image.shape[0]) for image in images})),
        cells=cells,
        attribute_runs=attribute_runs,
        rows=tuple(_row(c.key, c.label, software[c.key], rounds) for c in contenders),
        stages_ms={stage: Percentiles.of(spent) for stage, spent in stages_ms.items()},
        peak_mib=peak,
        meter=meter.name if meter else "",
        joules_a_frame=joules / (settings.rounds * len(images)) if meter else None,
        agreement=compared,
    )


def _row(key: str, label: str, software: str, rounds: Mapping[str, Sequence[Round]]) -> Row:
    own = rounds[key]
    processor_ms = [done.processor_ms / len(done.ms) for done in own if done.processor_ms is not None]

    def times(of: str) -> Spread:
        return Spread.of([sum(done.ms) / sum(mine.ms) for done, mine in zip(own, rounds[of], strict=True)])

    return Row(
        key,
        label,
        software,
        Spread.of([1e3 * len(done.ms) / sum(done.ms) for done in own]),
        Percentiles.of([ms for done in own for ms in done.ms]),
        times(WHOLE),
        times(DETECTION),
        Spread.of(processor_ms) if processor_ms else None,
        tuple(done.ms for done in own),
    )


def _agreement(settings: Settings, engine: BundleEngine, images: Sequence[Image]) -> Agreement | None:
    with settings.engine("onnx") as reference:
        if reference.info.runtime == engine.info.runtime:
            return None
        expected = [reference.infer(image).detections for image in images]
    margin = engine.bundle.manifest.golden_tolerance.probability
    found = [engine.infer(image).detections for image in images]
    return agreement(expected, found, engine.thresholds.confidence, margin)


def _peak_of_one_frame(settings: Settings, image: Image) -> float:
    with settings.engine() as engine:
        engine.infer(image)
        return peak_mib()
