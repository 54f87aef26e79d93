"""From a float bundle and frames of one microscope to bundles in INT8: ranges measured once, then any choice of blocks put in.

What the command `attridet quantize` asks for and says is in `engines.commands.quantize`; the arithmetic is in `calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from calibration.int8.frames import Frame
from calibration.int8.half import check_reach, in_half
from calibration.int8.lessons import taught_on
from calibration.int8.qdq import Method, Ranges, blocks_of, measure, quantise
from calibration.int8.request import HalveRequest, QuantizeRequest
from engines.bundle import GOLDEN_ANSWER, GOLDEN_IMAGE, Bundle, moment, write_bundle
from engines.decode import Thresholds, candidates, region_batches
from engines.detections import Float32
from engines.errors import BundleError, DataError
from engines.manifest import CalibrationFrame, GateRecord, GoldenTolerance, Quantization
from engines.preprocess import prepare
from engines.progress import Reporter
from engines.runtime.graphs import IMAGE, P2, P3, ROIS, ROWS
from engines.runtime.onnx import open_session, session_options

CELLS = Thresholds(confidence=0.05, iou=0.45, max_detections=16)
"""Whose regions the attribute graph is calibrated on: also cells that the engine is not sure of."""
GOLDEN_TOLERANCE = GoldenTolerance(corner_px=2.0, probability=0.1)
"""How far INT8 may be from float on the golden picture; what a runtime does wrong is far more, a step of 8 bits is less."""


def blocks_of_bundle(bundle: Bundle) -> tuple[str, ...]:
    """Blocks that may be put into INT8: the detector's, then the attribute head's."""
    return blocks_of(bundle.detector_path.read_bytes()) + blocks_of(bundle.attribute_graph()[0].read_bytes())


def check_places(request: QuantizeRequest | HalveRequest, source: Bundle, blocks: Collection[str]) -> None:
    """What can be refused before the work: blocks that there are not, and places that cannot be. Raises BundleError, DataError."""
    for block in request.float_blocks:
        if block not in blocks:
            raise DataError(f"--float {block}: no such block; there are {', '.join(blocks)}")
    if request.out.exists() and not request.replace:
        raise BundleError(f"{request.out}: exists already. Choose another folder, or say --replace.")
    if request.out.resolve() == source.path.resolve():
        raise BundleError(f"{request.out}: is the float bundle itself. Choose another folder.")
    if request.readme is not None and not request.readme.is_file():
        raise DataError(f"{request.readme}: no such file to lay beside the bundle as README.md")
    request.check_page(source)


class Quantiser:
    """All the bundles in INT8 that one float bundle and one calibration set can give.

    Reads each frame twice (detector, attribute head); `progress` is called after each with how many readings are done, and of how many.
    Raises BundleError for a bundle that is not float, DataError naming a frame that cannot be read.
    """

    def __init__(
        self,
        source: Bundle,
        frames: Sequence[Frame],
        method: Method,
        threads: int,
        progress: Callable[[int, int], None],
    ) -> None:
        if source.manifest.precision != "fp32":
            raise BundleError(f"{source.path}: is {source.manifest.precision} already. Name the float bundle that it was made from.")
        self.source, self.method = source, method
        self._tuned = ""
        self.blocks = blocks_of_bundle(source)
        self._frames, self._threads, self._progress = frames, threads, progress
        self._detector = source.detector_path.read_bytes()
        self._attributes = {g.file: (source.path / g.file).read_bytes() for g in source.manifest.attribute_graphs}
        smallest = min(source.manifest.attribute_graphs, key=lambda g: g.regions)
        self._detector_ranges = measure(self._detector, self._pictures(0), method)
        self._attribute_ranges = measure(self._attributes[smallest.file], self._regions(smallest.regions), method)

    def finetune(self, request: QuantizeRequest, judging: frozenset[str], reporter: Reporter) -> tuple[float, float]:
        """Trains the float weights with all blocks but the request's float ones in INT8; what is written from now on has them.

        judging: sha256 of pictures that must not be learnt on. Gives the loss of the first and the last tenth of the steps. Raises
        DataError.
        """
        from calibration.int8.finetune import finetune, lessons  # torch, which only this needs

        takes = self.source.manifest.input
        pictures, labelled = taught_on(request, self.source.taxonomy, self._frames, judging)
        given = lessons(
            self._detector, pictures, labelled, takes.hw, takes.scale_up, self._threads, reporter.counter("making pictures ready")
        )
        in_8_bits = (
            quantise(self._detector, self._detector_ranges, request.float_blocks),
            {name: quantise(graph, self._attribute_ranges, request.float_blocks) for name, graph in self._attributes.items()},
        )
        tuned = finetune(
            (self._detector, self._attributes), in_8_bits, given, request.finetune, self._threads, reporter.counter("fine-tuning")
        )
        self._detector, self._attributes = tuned.detector, tuned.attributes
        self._tuned = f", {request.finetune} steps of fine-tuning (straight-through) on {len(given)} pictures"
        return tuned.loss

    def write(
        self,
        folder: Path,
        float_blocks: Collection[str] = (),
        *,
        only: Collection[str] | None = None,
        half: bool = False,
        sensitivity: dict[str, float] | None = None,
        gate: GateRecord | None = None,
        files: dict[str, bytes] | None = None,
        replace: bool = False,
    ) -> Bundle:
        """The bundle with every block in INT8 but `float_blocks`, or with `only` these; written whole. half: FP16 for the rest.

        files: loose files (a card). Raises BundleError.
        """

        def made(graph: bytes, ranges: Ranges) -> bytes:
            quantised = quantise(graph, ranges, float_blocks, only)
            return in_half(quantised) if half else quantised

        if half:
            check_reach(self._detector, self._feeds())
        source = self.source.manifest
        graphs: dict[str, bytes | Path] = {source.detector_graph: made(self._detector, self._detector_ranges)}
        graphs |= {name: made(graph, self._attribute_ranges) for name, graph in self._attributes.items()}
        # The second look stays in float: its naming layer was fitted to float features.
        graphs |= {name: self.source.path / name for name in source.second_look_files}
        # What the float engine says of the golden picture is what this one must say of it, wherever it is opened.
        graphs |= {name: self.source.path / name for name in (GOLDEN_IMAGE, GOLDEN_ANSWER) if name in source.files}
        record = Quantization(
            method=f"onnxruntime Q/DQ, symmetric S8, weights by channel, {self.method}{self._tuned}",
            source=self.source.digest,
            frames=tuple(CalibrationFrame(name=frame.path.name, sha256=frame.sha256) for frame in self._frames),
            float_blocks=tuple(b for b in self.blocks if b in float_blocks),
            sensitivity=sensitivity or {},
            half=half,
        )
        manifest = source.model_copy(
            update={
                "schema_version": type(source).model_fields["schema_version"].default,
                "precision": "int8-fp16" if half else "int8",
                "created": moment(),
                # What was measured of the float bundle does not hold for this one; what does is in the gate.
                "metrics": {"of the float bundle": source.metrics},
                "export_check": None,
                "quantization": record,
                "gate": gate,
                "golden_tolerance": GOLDEN_TOLERANCE,
                "files": dict.fromkeys(graphs, next(iter(source.files.values()))),
            }
        )
        return write_bundle(folder, manifest, graphs, replace, files)

    def _pictures(self, read: int) -> Iterator[dict[str, Float32]]:
        """Each frame as the detector takes it; `read` frames were read before these."""
        for done, feed in enumerate(self._feeds(), start=read + 1):
            yield feed
            self._progress(done, 2 * len(self._frames))

    def _feeds(self) -> Iterator[dict[str, Float32]]:
        takes = self.source.manifest.input
        for frame in self._frames:
            yield {IMAGE: prepare(frame.read(), takes.hw, takes.scale_up)[0]}

    def _regions(self, capacity: int) -> Iterator[dict[str, Float32]]:
        return regions_of(self._detector, self._pictures(len(self._frames)), self.source.manifest.input.hw, capacity, self._threads)


def regions_of(
    detector: bytes, feeds: Iterable[dict[str, Float32]], hw: tuple[int, int], capacity: int, threads: int
) -> Iterator[dict[str, Float32]]:
    """What the attribute graph is given of each picture (`feeds`: as the detector takes it): feature maps, and its cells as regions.

    A picture without a cell gives its middle, so that no set leaves the head unmeasured.
    """
    session, (height, width) = open_session(detector, session_options(threads)), hw
    middle = np.array([[0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height]], np.float32)
    for feed in feeds:
        rows, p2, p3 = session.run([ROWS, P2, P3], feed)
        boxes_px = candidates(rows[0], CELLS).boxes_px
        for rois, _ in region_batches(boxes_px if len(boxes_px) else middle, capacity):
            yield {P2: p2, P3: p3, ROIS: rois}
