"""Graphs put together as an `Engine`, with a bundle around them or not: prepare, detect, suppress, describe, back to the frame.

The same for every runtime, so that a number differs between two of them only by their arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from engines.bundle import Bundle
from engines.decode import Thresholds, candidates, detections, region_batches
from engines.detections import CellNames, Detections, Float32, Image, Int64
from engines.errors import BundleError, InferenceError
from engines.manifest import NEVER_FOR, Card
from engines.naming import NamingLayer
from engines.naming.choice import layer_of
from engines.naming.tiles import TileGeometry, cut_tiles
from engines.preprocess import Letterbox, place
from engines.provenance import DataSeen
from engines.runtime.base import EngineInfo, Inference
from engines.runtime.graphs import Graphs
from engines.runtime.precision import FLOAT32, shown, tolerance_of

NO_GOLDEN = "no golden picture: the engine cannot be checked"
NAMES_TOLERANCE = 0.01
"""Of what the second look says of the golden picture: it is computed in float32 whatever the precision of the detector."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """What the detector says of the picture seen last, before suppression: `rows` (N, 5 + classes), and how the frame lies there."""

    rows: Float32
    letterbox: Letterbox


class NetworkEngine:
    """The Protocol `Engine` for graphs, wherever they come from.

    graphs: what runs. info: how it describes itself; its `input_hw` is the network's input. scale_up: small frames are enlarged to fill
    it. thresholds: what `infer` keeps.
    """

    untold: tuple[int, ...] = ()
    """Places of attribute probabilities that the network never tells; NaN there is no fault."""
    concept_columns: tuple[int, ...] = ()
    """Attributes of which alone it makes types (a concept bottleneck), by their places in the taxonomy."""
    types_given: Callable[[Int64], Int64] | None = None
    """The types (K,) that it makes of attributes (K, A) that are stated to it."""
    intended_use: str = Card.model_fields["intended_use"].default
    pixel_aspect: float = 1.0
    must_not_be_used_for: tuple[str, ...] = NEVER_FOR
    trained_on: tuple[DataSeen, ...] = ()

    def __init__(self, graphs: Graphs, info: EngineInfo, scale_up: bool, thresholds: Thresholds) -> None:
        self.info = info
        self.thresholds = thresholds
        self.graphs = graphs
        self._scale_up = scale_up
        self._n_logits = info.taxonomy.n_logits
        self._placed: Image | None = None
        self.naming: NamingLayer | None = None
        self.tiles = TileGeometry()

    def __enter__(self) -> Self:
        try:
            self.graphs.open()
            self._placed = np.empty((*self.info.input_hw, 3), np.uint8)
            # Unlike the later ones, the first run sets up buffers; here it does so before a frame waits for it.
            self._first_look()
            self._opened()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._placed = None
        self.graphs.close()

    def infer(self, image: Image, thresholds: Thresholds | None = None) -> Inference:
        """Detections on a BGR frame of any size, (h, w, 3) uint8. Raises `InferenceError` with the runtime's words.

        thresholds: in place of the engine's own.
        """
        thresholds = thresholds or self.thresholds
        timings_ms: dict[str, float] = {}
        proposals = self.propose(image, timings_ms, thresholds.confidence)
        start = perf_counter()
        kept = candidates(proposals.rows, thresholds)
        if kept.non_finite and not len(kept):
            raise InferenceError(f"the network answers nothing but what is no number ({kept.non_finite} rows)")
        suppressed = perf_counter()
        attributes = self.describe(kept.boxes_px)
        unknown = int(np.count_nonzero(~self.sound(attributes))) if self.describes else 0
        if unknown and unknown == len(kept):
            raise InferenceError(f"the attributes of all {unknown} cells are no numbers")
        timings_ms["nms"] = 1e3 * (suppressed - start)
        timings_ms["attributes"] = 1e3 * (perf_counter() - suppressed)
        found = detections(kept, proposals.letterbox, self._n_logits, attributes)
        return Inference(replace(found, non_finite=found.non_finite + unknown) if unknown else found, timings_ms)

    def sound(self, attributes: Float32) -> NDArray[np.bool_]:
        """Which of some answers (N, logits) are numbers, but for what the network never tells."""
        return np.asarray(np.isfinite(np.delete(attributes, self.untold, 1)).all(1))

    @property
    def describes(self) -> bool:
        """Whether the network tells attributes."""
        return bool(self.graphs.regions)

    def propose(self, image: Image, timings_ms: dict[str, float] | None = None, confidence: float = 0.0) -> Proposals:
        """The detector's half of `infer`, for an evaluation with thresholds of its own. Raises `InferenceError`.

        The rows are overwritten by the next call; those of objectness up to `confidence` may be left out. `timings_ms` receives the
        milliseconds of preprocess and detector.
        """
        if self._placed is None:
            raise InferenceError("the engine is not open. Use it inside `with`.")
        start = perf_counter()
        try:
            placed, letterbox = place(image, self.info.input_hw, self._scale_up, self._placed)
        except ValueError as error:
            raise InferenceError(f"the frame cannot be prepared: {error}") from error
        ready = perf_counter()
        rows = self.graphs.detect(placed, confidence)
        if timings_ms is not None:
            timings_ms["preprocess"] = 1e3 * (ready - start)
            timings_ms["detector"] = 1e3 * (perf_counter() - ready)
        return Proposals(rows, letterbox)

    def describe(self, boxes_px: Float32) -> Float32:
        """Attribute probabilities (N, logits) of boxes in *input* px on the picture proposed last; any N.

        NaN, unknown, where the network tells no attributes.
        """
        out = np.full((len(boxes_px), self._n_logits), np.nan, np.float32)
        if not self.describes:
            return out
        done = 0
        for rois, count in region_batches(boxes_px, self.graphs.regions):
            out[done : done + count] = self.graphs.describe(rois)[:count]
            done += count
        return out

    def name_cells(self, image: Image, found: Detections, um_per_px: float | None = None) -> Detections:
        """As `engines.runtime.base.Engine.name_cells`."""
        if self.naming is None:
            return found
        features = self.look(cut_tiles(image, found.boxes_px, self.tiles))
        sides_px = np.sqrt((found.boxes_px[:, 2:] - found.boxes_px[:, :2]).prod(1))
        size_um = None if um_per_px is None else (sides_px * um_per_px).astype(np.float32)
        names, attributes = self.naming.names(features, self.info.taxonomy, size_um)
        return replace(found, classes=names.probabilities.argmax(1), attributes=attributes, names=names)

    def look(self, tiles: Image) -> Float32:
        """Features (N, F) of N tiles (N, side, side, 3) uint8 BGR, as `cut_tiles` cuts them; any N. Raises `InferenceError`."""
        side = self.tiles.side_px
        if tiles.ndim != 4 or tiles.shape[1:] != (side, side, 3) or tiles.dtype != np.uint8:
            raise InferenceError(f"tiles are (N, {side}, {side}, 3) uint8 BGR, these are {tiles.shape} {tiles.dtype}")
        features = self.graphs.look(tiles)
        if not np.isfinite(features).all():  # a naming layer would take them for those of a usual cell
            bad = int(np.count_nonzero(~np.isfinite(features).all(1)))
            raise InferenceError(f"the second look at {bad} of {len(features)} cells gives what is no number")
        return features

    def _first_look(self) -> None:
        """The first run on an empty picture. Raises BundleError where the graphs do not belong to the taxonomy."""
        rows = self.propose(np.zeros((*self.info.input_hw, 3), np.uint8)).rows
        classes, values = len(self.info.taxonomy.classes), self._n_logits
        if self.describes:
            values = self.graphs.describe(np.zeros((self.graphs.regions, 4), np.float32)).shape[-1]
        for told, has, wanted in (
            ("types", rows.shape[-1] - 5, classes),
            ("attribute values", values, self._n_logits),
        ):
            if has != wanted:
                raise BundleError(
                    f"{self.info.name}: its graphs tell {has} {told}, and its taxonomy names {wanted}. Do not use this bundle: "
                    "export it again."
                )

    def _opened(self) -> None:
        """What is checked once everything runs."""


class BundleEngine(NetworkEngine):
    """The engine of a bundle on any runtime.

    runtime: its name and version as shown. score_threshold: takes the place of the manifest's confidence. verify: on opening, the
    golden picture must be answered as the bundle says, else BundleError. precision: of what the graphs leave in float.
    """

    def __init__(
        self,
        bundle: Bundle,
        graphs: Graphs,
        runtime: str,
        score_threshold: float | None = None,
        verify: bool = False,
        precision: str = FLOAT32,
    ) -> None:
        if score_threshold is not None and not 0 < score_threshold < 1:
            raise BundleError(f"a score threshold lies between 0 and 1, not {score_threshold}")
        manifest = bundle.manifest
        thresholds = manifest.decode_thresholds
        thresholds = replace(thresholds, confidence=thresholds.confidence if score_threshold is None else score_threshold)
        layer = layer_of(bundle)
        info = EngineInfo(
            name=manifest.name,
            version=manifest.version,
            digest=bundle.digest,
            runtime=runtime,
            precision=shown(manifest.precision, precision),
            input_hw=manifest.input.hw,
            taxonomy=bundle.taxonomy,
            score_threshold=thresholds.confidence,
            naming=layer.info if layer is not None else None,
            gate_fault=manifest.gate_fault or "",
            unchecked="" if bundle.has_golden else NO_GOLDEN,
        )
        super().__init__(graphs, info, manifest.input.scale_up, thresholds)
        self.bundle = bundle
        self.naming = layer
        if (look := manifest.second_look) is not None:
            self.tiles = TileGeometry(look.side_px, look.cell_px)
        self.intended_use = manifest.intended_use
        self.pixel_aspect = manifest.pixel_aspect
        self.must_not_be_used_for = manifest.must_not_be_used_for
        self.trained_on = manifest.training.data
        self.untold = bundle.untold_places
        self.precision = precision
        self._verify = verify

    def check_golden(self) -> None:
        """Raises BundleError when the golden picture is not answered as the bundle says: this runtime or copy is broken."""
        try:
            fault = self.golden_fault()
        except InferenceError as error:
            fault = str(error)
        if fault:
            raise BundleError(
                f"{self.bundle.path}: {self.info.runtime} in {self.info.precision} does not answer the golden picture as it should "
                f"({fault}). Do not count with it: export the bundle again, or choose another runtime or precision."
            )

    def golden_fault(self) -> str | None:
        """How the answer to the golden picture differs from the one stored, in words; None where it does not."""
        golden = self.bundle.golden()
        if golden is None:
            return "the bundle has none"
        image, expected = golden
        thresholds, allowed = self.bundle.manifest.decode_thresholds, tolerance_of(self.bundle.manifest, self.precision)
        found = self.infer(image, thresholds).detections
        fault = golden_difference(
            found, expected, allowed.corner_px, allowed.probability, thresholds.confidence, self.bundle.golden_margins()
        )
        if fault or expected.names is None or (layer := layer_of(self.bundle)) is None:
            return fault
        features = self.look(cut_tiles(image, expected.boxes_px, self.tiles))
        return names_difference(layer.names(features, self.info.taxonomy)[0], expected.names)

    def _opened(self) -> None:
        if self.naming is not None:  # no field shall wait for the graph to be loaded
            self.look(np.zeros((1, self.tiles.side_px, self.tiles.side_px, 3), np.uint8))
        if self._verify:
            self.check_golden()
        if not self.bundle.has_golden:
            self._check_sense()

    def _check_sense(self) -> None:
        """Of a bundle without a golden picture: two pictures that differ are answered by numbers, and not alike. Raises BundleError."""
        regions = np.tile(np.array([[32, 32, 160, 160]], np.float32), (self.graphs.regions, 1))
        answers = []
        for picture in _two_pictures(self.info.input_hw):
            rows = self.propose(picture).rows.ravel().copy()
            # A network that suppresses boxes itself may find none on either, and still tell them apart by what it says of a place.
            told = np.delete(self.graphs.describe(regions), self.untold, 1).ravel() if self.describes else rows[:0]
            answers.append((rows, told.copy()))
        if not all(np.isfinite(some).all() for answer in answers for some in answer):
            fault = "answers a picture by what is no number"
        elif all(np.array_equal(*some) for some in zip(*answers, strict=True)):
            fault = "answers two different pictures alike, as a network without weights does"
        else:
            return
        raise BundleError(f"{self.bundle.path}: {self.info.runtime} {fault}. Do not count with it: copy or export the bundle again.")


def _two_pictures(hw: tuple[int, int]) -> tuple[Image, Image]:
    """Bare glass, and glass with dark discs on it."""
    glass = np.full((*hw, 3), 225, np.uint8)
    cells = glass.copy()
    side = min(hw)
    for share in (0.25, 0.5, 0.75):
        cv2.circle(cells, (int(share * side), int(share * side)), max(4, side // 12), (150, 60, 110), -1)
    return glass, cells


def golden_difference(
    found: Detections,
    expected: Detections,
    corner_px: float = 1.0,
    tolerance: float = 0.01,
    confidence: float = 0.0,
    margins: Float32 | None = None,
) -> str | None:
    """What differs between two answers to one picture, in words, or None when every detection has its equal.

    Each detection needs one of its own in the other answer, with every corner within `corner_px`, the same class, and score and
    attribute probabilities within `tolerance`. Only one whose score is within `tolerance` of the threshold `confidence` may have none:
    on another runtime it may fall just below. margins (N,): by how much the score of each expected cell's type exceeds that of its
    second type; a cell for which that is less than `tolerance` may have another type. None: they are not known, and none may.
    """
    distance_px = np.abs(expected.boxes_px[:, None] - found.boxes_px[None]).max(2)
    first, second = nearest_pairs(distance_px, corner_px)
    alone = (np.delete(expected.scores, first), np.delete(found.scores, second))
    # Here and below written so that a NaN is a difference.
    if any(not (scores <= confidence + tolerance).all() for scores in alone):
        if len(found) != len(expected):
            return f"{len(found)} detections, expected {len(expected)}"
        return f"a box lies elsewhere, by {distance_px.min(1).max():.1f} px"
    if not len(first):
        return None
    matched, wanted = found.select(second), expected.select(first)
    other = matched.classes != wanted.classes
    if margins is not None:
        other &= ~(margins[first] <= tolerance)
    if other.any():
        return "a cell has another type"
    said, stored = matched.attributes, wanted.attributes
    off = np.where(np.isnan(said) & np.isnan(stored), 0, np.abs(said - stored))  # both unknown: alike
    worst = np.maximum(np.abs(matched.scores - wanted.scores).max(), off.max(initial=0))
    return None if worst <= tolerance else f"a score or attribute differs by {worst:.3f}"


def names_difference(found: CellNames, expected: CellNames, tolerance: float = NAMES_TOLERANCE) -> str | None:
    """What differs between two second looks at the same cells, in words, or None. tolerance: of probabilities."""
    if not (np.abs(found.probabilities - expected.probabilities) <= tolerance).all():  # a NaN is a difference
        return f"a probability of the second look differs by {np.abs(found.probabilities - expected.probabilities).max():.3f}"
    if found.groups != expected.groups:
        return "the second look tells another group"
    return None


def nearest_pairs(distance: NDArray[np.floating], limit: float) -> tuple[Int64, Int64]:
    """Rows and columns of a matrix (N, M) as pairs, the nearest first, each row and column once, none further than `limit`."""
    rows, columns = np.nonzero(distance <= limit)
    order = np.argsort(distance[rows, columns], kind="stable")
    pairs: dict[int, int] = {}
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return np.array(list(pairs), np.int64), np.array(list(pairs.values()), np.int64)
