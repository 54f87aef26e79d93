"""The working point chosen on labelled pictures by stated costs: the detector's confidence, and the naming layer's thresholds.

A missed blast costs most. What is chosen, where and by which costs stands in the manifest of the bundle that is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import GOLDEN_ANSWER, Bundle, golden_answer, resolve, write_bundle
from engines.data.layout import judging_split
from engines.data.leukemiaattri import SplitData, read_split
from engines.decode import candidates
from engines.detections import Float32, Float64, Image, Int64
from engines.errors import BundleError, DataError
from engines.evaluation.attributes import pair_with_truth
from engines.evaluation.folder import counted
from engines.evaluation.frame import WholeFrame
from engines.evaluation.looks import DETECTOR, SECOND_LOOK, Look
from engines.evaluation.picture import PictureResult, judge_picture
from engines.evaluation.told import ToldCounts
from engines.evaluation.trained_on import Overlap, overlap
from engines.evaluation.working_point_request import Weighing, WorkingPointRequest
from engines.manifest import ChosenPoint, ThresholdsRecord
from engines.naming import NamingLayer
from engines.naming.calibrate import chosen_thresholds
from engines.naming.layer import NamingThresholds, told
from engines.progress import SILENT, Reporter
from engines.provenance import DataSeen
from engines.runtime.engine import BundleEngine
from engines.runtime.onnx import OnnxEngine
from engines.taxonomy import Taxonomy

LOWEST, HIGHEST, STEP = 0.05, 0.6, 0.01
"""Confidences that are tried."""


@dataclass(frozen=True)
class Costs:
    """Of a blast not told as a blast, and of another white cell lost; a blast told of another cell, and a cell on nothing, cost 1."""

    blast: float
    cell: float

    def of(self, counts: ToldCounts) -> float:
        """What the answers cost in all."""
        lost = counts.white - counts.found + counts.dropped - counts.blasts_lost
        return (
            self.blast * (counts.blasts - counts.blasts_told)
            + self.cell * max(lost, 0)
            + counts.others_told_blast
            + counts.named_invented
            + counts.grouped_invented
            + counts.unsure_invented
        )


def choose_confidence(
    results: Sequence[PictureResult], look: str, costs: Costs, taxonomy: Taxonomy, thresholds: NamingThresholds | None = None
) -> tuple[float, ToldCounts]:
    """The confidence of least cost, and what is told at it. results: judged at `LOWEST`. thresholds: of the layer, in place of its own.

    Of equal ones the middle of the first run of them.
    """
    grid = np.round(np.arange(LOWEST, HIGHEST + STEP / 2, STEP), 2)
    counts = [sum((ToldCounts.of(_above(r, look, c, taxonomy, thresholds), taxonomy) for r in results), ToldCounts()) for c in grid]
    cost = np.array([costs.of(one) for one in counts])
    least = np.flatnonzero(cost == cost.min())
    run = least[: int(np.argmax(np.append(np.diff(least) != 1, True))) + 1]
    best = int(run[len(run) // 2])
    return float(grid[best]), counts[best]


def choose_naming(results: Sequence[PictureResult], costs: Costs, right: float, taxonomy: Taxonomy) -> NamingThresholds:
    """Thresholds of the layer from what it says of all boxes; a box on nothing holds an artefact."""
    artefact = next(i for i in range(len(taxonomy.classes)) if taxonomy.is_artefact(i))
    probabilities, classes = [], []
    for result in results:
        look = result.looks[SECOND_LOOK]
        label = np.full(len(look.names.types), artefact, np.int64)
        found = look.partner >= 0
        label[look.partner[found]] = look.truth_classes[found]
        probabilities.append(look.names.probabilities)
        classes.append(label)
    every, labels = np.concatenate(probabilities), np.concatenate(classes)
    weights: Float64 = np.ones(len(labels))
    return chosen_thresholds(every, labels, weights, taxonomy, costs.blast, costs.cell, right)


@dataclass(frozen=True)
class Labelled:
    """Labelled pictures to choose on. seen: which of their patients the network was trained on."""

    folder: Path
    split: str
    pictures: SplitData
    seen: Overlap


def read_labelled(folder: Path, split: str | None, taxonomy: Taxonomy, data: Sequence[DataSeen], reporter: Reporter) -> Labelled:
    """The pictures of a split (None: val, or test without one), which must hold blasts and other white cells. Raises DataError.

    data: what the network was trained on; a patient on both sides is told at once.
    """
    name = split or judging_split(folder)
    pictures = read_split(folder, name, taxonomy)
    kinds = np.concatenate([picture.classes for picture in pictures]) if len(pictures) else np.zeros(0, np.int64)
    blasts = sum(taxonomy.group_of(int(kind)) == "blasts" for kind in kinds)
    others = sum(taxonomy.group_of(int(kind)) == "others" for kind in kinds)
    if not blasts or not others:
        missing = "blast" if not blasts else "white cell that is no blast"
        raise DataError(f"{folder}: no {missing} is labelled in split {name!r}, so nothing can be weighed. Name another set.")
    seen = overlap(data, [picture.path.name for picture in pictures])
    if seen:
        reporter.warning(seen.words)
    return Labelled(folder, name, pictures, seen)


def choose_working_point(request: WorkingPointRequest, reporter: Reporter = SILENT) -> Bundle:
    """The bundle at the working point chosen, as `attridet working-point` writes it. Raises EnginesError."""
    root, _, split = request.data.rpartition(":")
    folder, name = (Path(root), split) if root and not Path(request.data).is_dir() else (Path(request.data), None)
    source = Bundle.open(resolve(request.bundle))
    if source.manifest.precision != "fp32":
        raise BundleError(f"{source.path}: is {source.manifest.precision}. Choose on the float bundle, then quantise it.")
    if request.out.exists() and not request.replace:
        raise BundleError(f"{request.out}: exists already. Choose another folder, or say --replace.")
    if request.out.resolve() == source.path.resolve():
        raise BundleError(f"{request.out}: is the bundle itself. Name another folder.")
    labelled = read_labelled(folder, name, source.taxonomy, source.manifest.training.data, reporter)
    return at_chosen_point(source, request.out, labelled, request, request.replace, reporter)


def at_chosen_point(
    source: Bundle, out: Path, labelled: Labelled, weighing: Weighing, replacing: bool = False, reporter: Reporter = SILENT
) -> Bundle:
    """A copy of a float bundle at the working point of least cost on these pictures. Raises EnginesError."""
    frame = None if weighing.frame is None else WholeFrame.parse(weighing.frame)
    costs = Costs(weighing.blast_cost, weighing.cell_cost)
    engine = OnnxEngine(source, weighing.threads)
    engine.thresholds = replace(engine.thresholds, confidence=LOWEST)
    data = labelled.folder.resolve().name
    with engine:
        progress = reporter.counter(f"{engine.info.label} on {data}/{labelled.split}")
        results = [judge_picture(engine, picture, frame=frame) for picture in counted(labelled.pictures, progress)]
    layer, naming = engine.naming, None
    if layer is not None:
        naming = choose_naming(results, costs, weighing.right, source.taxonomy)
        layer = replace(layer, thresholds=naming)
    look = DETECTOR if layer is None else SECOND_LOOK
    confidence, counts = choose_confidence(results, look, costs, source.taxonomy, naming)
    chosen = ChosenPoint(
        data=data,
        split=labelled.split,
        images=len(results),
        blasts=counts.blasts,
        others=counts.others,
        blast_cost=costs.blast,
        cell_cost=costs.cell,
        confidence=confidence,
        naming=None if naming is None else asdict(naming),
        blasts_told=counts.blasts_told,
        others_told_blast=counts.others_told_blast,
        invented=counts.invented,
    )
    on_card = {"confidence": confidence, "chosen on": f"{data}/{labelled.split}"}
    if labelled.seen:
        on_card["caution"] = labelled.seen.words
    return _write(source, out, chosen, on_card, layer, replacing)


def _above(result: PictureResult, look: str, confidence: float, taxonomy: Taxonomy, thresholds: NamingThresholds | None) -> Look:
    """A look at a picture as it is with a higher confidence: fewer boxes, the labelled cells paired anew."""
    keep = np.flatnonzero(result.shown.scores > confidence)
    one = result.looks[look]
    names = one.names.select(keep)
    if thresholds is not None:
        types, groups = told(names.probabilities, taxonomy, thresholds)
        names = replace(names, types=types, groups=groups)
    partner: Int64 = pair_with_truth(result.shown.boxes_px[keep], result.shown.truth_boxes_px)
    return replace(one, names=names, partner=partner, attributes=one.attributes[keep])


def _write(
    source: Bundle, out: Path, chosen: ChosenPoint, on_card: Mapping[str, Any], layer: NamingLayer | None, replacing: bool
) -> Bundle:
    manifest = source.manifest
    files: dict[str, bytes | Path] = {name: source.path / name for name in manifest.files}
    thresholds = ThresholdsRecord(**{**manifest.thresholds.model_dump(), "confidence": chosen.confidence})
    metrics = {**manifest.metrics, "working point": dict(on_card)}
    manifest = manifest.model_copy(update={"thresholds": thresholds, "working_point": chosen, "metrics": metrics})
    look = manifest.second_look
    if layer is not None and look is not None and look.layer is not None:
        files[look.layer] = replace(layer, card={**layer.card, "working_point": chosen.model_dump()}).to_bytes()
    readme = source.path / "README.md"
    loose = {"README.md": readme.read_bytes()} if readme.is_file() else None
    golden = source.golden()
    if golden is None:
        return write_bundle(out, manifest, files, replacing, loose)
    # The golden picture is answered at the working point, so its answer is another now.
    del files[GOLDEN_ANSWER]
    draft = write_bundle(out, manifest, files, replacing, loose)
    files[GOLDEN_ANSWER] = _golden(draft, golden[0], source.golden_margins() is not None)
    return write_bundle(out, manifest, {**files, **_kept(draft, files)}, True, loose)


def _kept(draft: Bundle, files: dict[str, bytes | Path]) -> dict[str, bytes | Path]:
    """The draft's own files, read before it is replaced."""
    return {name: (draft.path / name).read_bytes() for name in draft.manifest.files if name in files}


def _golden(draft: Bundle, image: Image, with_margins: bool) -> bytes:
    with OnnxEngine(draft) as engine:
        found = engine.infer(image).detections
        margins = _margins(engine, image, found.scores) if with_margins else None
        stored = replace(found, boxes_px=found.boxes_px.round(3))  # as the file has them
        return golden_answer(replace(found, names=engine.name_cells(image, stored).names), margins, engine.info.taxonomy)


def _margins(engine: BundleEngine, image: Image, scores: Float32) -> Float32 | None:
    """By how much each golden cell's type exceeds its second one, as `Bundle.golden_margins` says; None where boxes were cut off."""
    rows = engine.propose(image).rows
    kept = candidates(rows, engine.thresholds)
    if kept.rows is None or len(kept) != len(scores):
        return None
    two = np.sort(rows[kept.rows, 5:] * rows[kept.rows, 4:5], 1)[:, -2:]
    margins: Float32 = (two[:, 1] - two[:, 0]).astype(np.float32)
    return margins
