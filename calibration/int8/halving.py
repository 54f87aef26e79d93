"""A float bundle in FP16, for a GPU: refused where FP16 does not reach, judged by the gate with its roundings, written whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from calibration.int8.bundles import check_places, regions_of
from calibration.int8.half import blocks_in_half, check_reach, in_half
from calibration.int8.request import HalveRequest
from engines.bundle import GOLDEN_ANSWER, GOLDEN_IMAGE, Bundle, moment, resolve, write_bundle
from engines.data.aspect import check_given, given_for
from engines.data.leukemiaattri import LabelledImage, read_split
from engines.detections import Float32
from engines.errors import BundleError
from engines.evaluation.trained_on import overlap
from engines.files import sha256_of
from engines.gate.measure import GateResult, check_pictures, compare_engines
from engines.gate.request import folder_and_split
from engines.gate.rounded import open_judged
from engines.manifest import PRECISION_TOLERANCES, CalibrationFrame, Quantization
from engines.preprocess import prepare
from engines.progress import SILENT, Reporter
from engines.runtime.factory import open_engine
from engines.runtime.graphs import IMAGE
from engines.runtime.precision import HALF


@dataclass(frozen=True, eq=False)
class HalveResult:
    """The bundle in FP16, what the gate said, and the page. reach: the largest number that a layer in FP16 made of the pictures."""

    bundle: Bundle
    result: GateResult
    reach: float
    page: Path | None

    @property
    def passed(self) -> bool:
        return self.result.passed


def halve(request: HalveRequest, reporter: Reporter = SILENT) -> HalveResult:
    """Put a float bundle into FP16 as `attridet half` does. Raises EnginesError.

    The bundle is written also when the gate fails, with its fault: an appliance refuses it then. Open cells and weights stay out: what
    learns takes the float bundle, and a layer that is learnt fits both, since the second look is the same file.
    """
    source = Bundle.open(resolve(request.bundle))
    graphs = _halved(request, source)
    root, split = folder_and_split(request.data)
    check_given(request.pixel_aspect, [root])
    pictures, data = read_split(root, split, source.taxonomy, given_for(root, request.pixel_aspect)), root.resolve().name
    check_pictures(pictures, data, split)
    seen = overlap(source.manifest.training.data, [picture.path.name for picture in pictures])
    if seen:
        reporter.warning(seen.words)
    reach = _reach(request, source, pictures, reporter)
    with tempfile.TemporaryDirectory() as scratch:
        unjudged = _write(Path(scratch) / "fp16", source, graphs, request.float_blocks, pictures)
        with (
            open_engine(source.path, "onnx", request.threads) as reference,
            open_judged(unjudged.path, request.runtime, request.threads) as candidate,
        ):
            counter = reporter.counter(f"{candidate.info.label} against {reference.info.label} on {data}/{split}")
            result = compare_engines(reference, candidate, pictures, data, split, request.limits, counter, request.floors)
        manifest = unjudged.manifest
        record = result.record().model_copy(update={"subject": manifest.subject})
        made = write_bundle(
            request.out,
            manifest.model_copy(update={"gate": record}),
            {name: unjudged.path / name for name in manifest.files},
            request.replace,
            {"README.md": request.readme.read_bytes()} if request.readme else None,
        )
    page = None
    if request.page is not None:
        from engines.gate.page import write_page

        page = write_page(result, request.page, datetime.now(timezone.utc), made)
    return HalveResult(made, result, reach, page)


def _halved(request: HalveRequest, source: Bundle) -> dict[str, bytes]:
    """The graphs in FP16, by file; what can be refused before the pictures are read is. Raises BundleError, DataError."""
    manifest = source.manifest
    if manifest.precision != "fp32":
        raise BundleError(f"{source.path}: is {manifest.precision} already. Name the float bundle that it was made from.")
    source.attribute_graph()  # of another family it is not known which of its layers FP16 may not touch, and it has none
    floats = {
        name: (source.path / name).read_bytes() for name in (manifest.detector_graph, *(g.file for g in manifest.attribute_graphs))
    }
    blocks = dict.fromkeys(block for graph in floats.values() for block in blocks_in_half(graph))
    check_places(request, source, blocks)
    return {name: in_half(graph, request.float_blocks) for name, graph in floats.items()}


def _reach(request: HalveRequest, source: Bundle, pictures: Sequence[LabelledImage], reporter: Reporter) -> float:
    """The largest number that a layer which becomes FP16 makes of the pictures. Raises BundleError, naming it, beyond FP16's end."""
    manifest, told = source.manifest, reporter.counter("how far the layers reach")

    def feeds(read: int) -> Iterator[dict[str, Float32]]:
        for done, picture in enumerate(pictures, start=read + 1):
            yield {IMAGE: prepare(picture.read(), manifest.input.hw, manifest.input.scale_up)[0]}
            told(done, 2 * len(pictures))

    detector = source.detector_path.read_bytes()
    path, capacity = source.attribute_graph()
    regions = regions_of(detector, feeds(len(pictures)), manifest.input.hw, capacity, request.threads)
    return max(check_reach(detector, feeds(0), request.float_blocks), check_reach(path.read_bytes(), regions, request.float_blocks))


def _write(
    folder: Path, source: Bundle, graphs: dict[str, bytes], float_blocks: Sequence[str], pictures: Sequence[LabelledImage]
) -> Bundle:
    """The bundle without a verdict. pictures: those that it was tried on whether FP16 reaches."""
    manifest, look = source.manifest, source.manifest.second_look
    kept = (
        manifest.second_look_files
        if look is None or look.open_cells is None
        else [n for n in manifest.second_look_files if n != look.open_cells]
    )
    files: dict[str, bytes | Path] = {**graphs}
    # The second look stays float32, to the last byte: naming layers were fitted to its features, and are bound to its file.
    files |= {name: source.path / name for name in kept}
    # What the float engine says of the golden picture is what this one must say of it, wherever it is opened.
    files |= {name: source.path / name for name in (GOLDEN_IMAGE, GOLDEN_ANSWER) if name in manifest.files}
    record = Quantization(
        method="FP16 by casts (opset and inputs as before); detection layer, decoding, RoiAlign, softmax and second look in float32",
        source=source.digest,
        frames=tuple(CalibrationFrame(name=picture.path.name, sha256=sha256_of(picture.path)) for picture in pictures),
        float_blocks=tuple(float_blocks),
        half=True,
    )
    return write_bundle(
        folder,
        manifest.model_copy(
            update={
                "schema_version": type(manifest).model_fields["schema_version"].default,
                "precision": HALF,
                "created": moment(),
                # What was measured of the float bundle does not hold for this one; what does is in the gate.
                "metrics": {"of the float bundle": manifest.metrics},
                "export_check": None,
                "quantization": record,
                "gate": None,
                "golden_tolerance": PRECISION_TOLERANCES["float16"],
                "second_look": None if look is None else look.model_copy(update={"open_cells": None}),
                "files": dict.fromkeys(files, next(iter(manifest.files.values()))),
            }
        ),
        files,
    )
