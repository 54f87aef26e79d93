"""What an engine in other arithmetic (INT8, FP16) loses against its float reference, on labelled pictures and on the golden one.

    result = compare_engines(reference, candidate, pictures, "pbc", "val")     both engines open
    result.passed, result.faults, result.record()                   record: what the manifest keeps

Where many candidates meet one reference, it is measured once: `compare(measure(reference, ...), measure(candidate, ...), limits)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from engines.data.leukemiaattri import LabelledImage
from engines.decode import AP_THRESHOLDS, candidates
from engines.errors import BundleError, DataError
from engines.evaluation.average_precision import Judged
from engines.evaluation.detection import coco_ap
from engines.evaluation.folder import Progress, counted, score
from engines.evaluation.pairs import Agreement
from engines.evaluation.picture import judge_picture
from engines.evaluation.result import Evaluation
from engines.evaluation.told import Told
from engines.evaluation.working_point import Blasts
from engines.gate.losses import Losses, floor_faults
from engines.manifest import GateFloors, GateLimits, GateRecord, ReferenceScores
from engines.runtime.engine import BundleEngine, NetworkEngine
from engines.runtime.precision import HALF


@dataclass(frozen=True, eq=False)
class Measured:
    """One engine on the labelled pictures. unsound: names of pictures on which it said something that is no number.

    golden_fault: how its answer to its bundle's golden picture differs from the one stored, None where it does not.
    """

    evaluation: Evaluation
    unsound: tuple[str, ...]
    golden_fault: str | None

    @property
    def map_points(self) -> float:
        """mAP50-95 by COCO's rule, in points (0 to 100)."""
        return 100 * self.evaluation.coco.map5095

    @property
    def f1_points(self) -> float:
        """F1 of the attributes, in points: mean over those that the labels state; 0 for one that was told of no cell."""
        stated = [s for s in self.evaluation.attributes.values() if not np.isnan(s.coverage)]
        return 100 * float(np.mean([s.f1 if s.n else 0.0 for s in stated])) if stated else float("nan")

    @property
    def youden_points(self) -> float:
        """Youden's J of blasts against other labelled cells, in points; NaN where not both are labelled."""
        return 100 * self.blasts.youden

    @property
    def blasts(self) -> Blasts | Told:
        """What is told of blasts: by the second look where the engine has one, else by the detector at its working point."""
        told = self.evaluation.told
        return told[-1] if len(told) > 1 else self.evaluation.blasts

    @property
    def scores(self) -> ReferenceScores:
        """What the floors are held against."""
        point, blasts = self.evaluation.working_point, self.blasts
        sensitivity, youden = (None if np.isnan(share) else share for share in (blasts.sensitivity, blasts.youden))
        return ReferenceScores(found=point.recall, sensitivity=sensitivity, youden=youden)

    def losses(self, candidate: Measured) -> Losses:
        """What `candidate` loses against this."""
        return Losses(
            self.map_points - candidate.map_points, self.f1_points - candidate.f1_points, self.youden_points - candidate.youden_points
        )


@dataclass(frozen=True, eq=False)
class GateResult:
    """Both engines beside each other, and what the gate says to that. Losses are reference minus candidate: a gain is negative."""

    reference: Measured
    candidate: Measured
    limits: GateLimits
    floors: GateFloors = field(default_factory=GateFloors)

    @cached_property
    def agreement(self) -> Agreement:
        """The boxes of both, paired, at the working point."""
        return Agreement.of(self.reference.evaluation.examples, self.candidate.evaluation.examples)

    @cached_property
    def losses(self) -> Losses:
        """What the candidate loses, points."""
        return self.reference.losses(self.candidate)

    @property
    def map_loss_points(self) -> float:
        """Loss of mAP50-95 by COCO's rule, points."""
        return self.losses.map_points

    @property
    def f1_loss_points(self) -> float:
        """Loss of the attributes' mean F1, points."""
        return self.losses.f1_points

    @property
    def shift_px(self) -> float:
        """Median over the pairs of the largest distance of a corner, px of the picture; NaN without a pair."""
        return self.agreement.median_shift_px

    @property
    def passed(self) -> bool:
        """Whether the candidate loses little enough; how good the reference is, is in `cautions`."""
        return not self.faults

    @property
    def level(self) -> str:
        """red: not passed; amber: passed against a reference that is weak or was trained on those judged (`cautions`); green: else."""
        return "red" if not self.passed else "amber" if self.cautions else "green"

    @cached_property
    def cautions(self) -> tuple[str, ...]:
        """Whom of the judged it was trained on, and which floors the reference does not reach, in words; empty where all is well."""
        seen = self.reference.evaluation.trained_on.said
        return (*((seen,) if seen else ()), *floor_faults(self.reference.scores, self.floors))

    @cached_property
    def faults(self) -> tuple[str, ...]:
        """Why it is not passed, in words; empty where it is."""
        limits, candidate = self.limits, self.candidate
        found = []
        # Each is written so that a NaN is a fault.
        if not self.map_loss_points <= limits.map_points:
            found.append(f"mAP50-95 (COCO) falls by {self.map_loss_points:.2f} points, {limits.map_points:g} allowed")
        if not self.f1_loss_points <= limits.f1_points:
            found.append(f"mean attribute F1 falls by {self.f1_loss_points:.2f} points, {limits.f1_points:g} allowed")
        if self.losses.youden_points > limits.youden_points:  # a NaN: blasts, or others, are not labelled there
            found.append(f"Youden's J of blasts falls by {self.losses.youden_points:.2f} points, {limits.youden_points:g} allowed")
        if not self.agreement.paired:
            found.append("no box of the two engines could be paired")
        elif not self.shift_px <= limits.shift_px:
            found.append(f"paired boxes move by {self.shift_px:.2f} px (median), {limits.shift_px:g} allowed")
        if candidate.unsound:
            more = f" and {len(candidate.unsound) - 1} more" if len(candidate.unsound) > 1 else ""
            found.append(f"what it says of {candidate.unsound[0]}{more} holds what is no number")
        if candidate.golden_fault is not None:
            found.append(f"the golden picture is not answered as stored: {candidate.golden_fault}")
        return tuple(found)

    @property
    def fault(self) -> str:
        """All faults as one line, empty where there is none."""
        return "; ".join(self.faults)

    def record(self) -> GateRecord:
        """What the manifest of the candidate keeps of it."""
        told = self.candidate.evaluation
        return GateRecord(
            passed=self.passed,
            fault=self.fault,
            caution="; ".join(self.cautions),
            reference=self.reference.evaluation.engine.digest,
            runtime=told.engine.runtime,
            precision=told.engine.precision,
            data=told.data,
            split=told.split,
            images=told.images,
            cells=told.working_point.cells,
            limits=self.limits,
            map_loss_points=self.map_loss_points,
            f1_loss_points=self.f1_loss_points,
            youden_loss_points=None if np.isnan(self.losses.youden_points) else self.losses.youden_points,
            shift_px=self.shift_px if self.agreement.paired else None,
            floors=self.floors,
            reference_scores=self.reference.scores,
        )


def compare_engines(
    reference: NetworkEngine,
    candidate: NetworkEngine,
    pictures: Sequence[LabelledImage],
    data: str,
    split: str,
    limits: GateLimits | None = None,
    progress: Progress | None = None,
    floors: GateFloors | None = None,
) -> GateResult:
    """Compares two open engines on labelled pictures and on the golden one; each looks at every picture once.

    data, split: what the pictures are called. limits, floors: the defaults of their classes unless given. progress: called with how
    many of 2 x pictures are done. Raises DataError for pictures that prove nothing (none, no cell, no attribute, the reference finds
    no cell) or cannot be read, BundleError for engines that cannot be compared, InferenceError.
    """
    check_comparable(reference, candidate)

    def after(before: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(before + done, 2 * len(pictures))

    first = measure(reference, pictures, data, split, after(0))
    return compare(first, measure(candidate, pictures, data, split, after(len(pictures))), limits, floors)


def compare(reference: Measured, candidate: Measured, limits: GateLimits | None = None, floors: GateFloors | None = None) -> GateResult:
    """The gate on two engines that were measured on the same pictures.

    Raises BundleError for a reference that is itself broken, DataError where it finds no cell on these pictures.
    """
    told = reference.evaluation
    if reference.golden_fault is not None or reference.unsound:
        fault = reference.golden_fault or f"what it says of {reference.unsound[0]} holds what is no number"
        raise BundleError(f"{told.engine.label}: the reference is broken ({fault}). Export it again.")
    if not told.working_point.detections:
        raise DataError(f"{told.data}/{told.split}: the reference finds no cell there, so nothing can be compared. Name another split.")
    return GateResult(reference, candidate, limits or GateLimits(), floors or GateFloors())


def measure(
    engine: NetworkEngine, pictures: Sequence[LabelledImage], data: str, split: str, progress: Progress | None = None
) -> Measured:
    """One open engine on labelled pictures and on its golden picture; raises as `compare_engines`."""
    check_pictures(pictures, data, split)
    results = [judge_picture(engine, picture) for picture in counted(pictures, progress)]
    unsound = tuple(result.shown.path.name for result in results if not result.sound)
    return Measured(score(engine, results, data, split, resamples=0, pictures=pictures), unsound, golden_fault(engine))


def map_points(engine: NetworkEngine, pictures: Sequence[LabelledImage], progress: Progress | None = None) -> float:
    """mAP50-95 by COCO's rule of an open engine, in points (0 to 100): the detector alone, for tables of many variants.

    Raises DataError (a picture cannot be read) and InferenceError.
    """
    judged = []
    for picture in counted(pictures, progress):
        proposals = engine.propose(picture.read())
        every = candidates(proposals.rows, AP_THRESHOLDS)
        boxes_px = proposals.letterbox.to_frame(every.boxes_px)
        judged.append(Judged(boxes_px, every.scores, every.classes, picture.boxes_px, picture.classes, picture.ignored_px))
    return 100 * coco_ap(judged).map5095


def golden_fault(engine: NetworkEngine) -> str | None:
    """How an open engine's answer to its bundle's golden picture differs from the stored one, in words; None where it does not.

    An engine without a bundle has no golden picture and no fault.
    """
    return engine.golden_fault() if isinstance(engine, BundleEngine) else None


def check_comparable(reference: NetworkEngine, candidate: NetworkEngine) -> None:
    """Raises BundleError, naming what differs, for two engines whose difference would not be one of arithmetic."""
    mine, other = reference.info, candidate.info
    if mine.precision != "fp32":
        raise BundleError(f"{mine.label}: is {mine.precision}, and a reference is fp32. Name the bundle that the other was made from.")
    # As it is stored: a float bundle that is computed in fewer bits has its own graph, and may be compared.
    stored = candidate.bundle.manifest.precision if isinstance(candidate, BundleEngine) else other.precision
    if stored != "fp32" and _graph_of(reference) == _graph_of(candidate):
        first = "Make it first: attridet half" if stored == HALF else "Quantise it first"
        raise BundleError(f"{other.label}: says {stored}, but its detector is the reference's own. {first}.")
    for what, theirs, its in (
        ("taxonomy", mine.taxonomy.meaning, other.taxonomy.meaning),
        ("input, height and width in px", mine.input_hw, other.input_hw),
        ("way with small pictures (scale_up)", _scale_up(reference), _scale_up(candidate)),
        ("thresholds", reference.thresholds, candidate.thresholds),
    ):
        if theirs != its:
            values = "" if what == "taxonomy" else f": {its}, the reference's is {theirs}"
            raise BundleError(f"{other.label}: another {what} than {mine.label}{values}. Name the bundle that it was made from.")


def check_pictures(pictures: Sequence[LabelledImage], data: str, split: str) -> None:
    """Raises DataError, with the next step, for pictures on which nothing could be measured."""
    if not sum(len(p.classes) for p in pictures):
        raise DataError(f"{data}/{split}: no labelled cell to compare on. Name another folder or split.")
    if not any((p.attributes >= 0).any() for p in pictures):
        raise DataError(
            f"{data}/{split}: no label states an attribute, so what is lost of them cannot be measured. Name a set whose labels do, "
            "such as pbc."
        )


def _graph_of(engine: NetworkEngine) -> str:
    """What tells the engine's detector from others: its file's sha256, or the engine's digest where there is no bundle."""
    if not isinstance(engine, BundleEngine):
        return engine.info.digest
    manifest = engine.bundle.manifest
    return manifest.files[manifest.detector_graph].sha256


def _scale_up(engine: NetworkEngine) -> bool | None:
    return engine.bundle.manifest.input.scale_up if isinstance(engine, BundleEngine) else None
