"""A float bundle in INT8: frames chosen, ranges measured, blocks taken back to float until the gate passes, the bundle written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from calibration.int8.bundles import Quantiser, blocks_of_bundle, check_places
from calibration.int8.frames import FrameSet, aspects_of, choose, pictures_in, read_set
from calibration.int8.request import QuantizeRequest
from calibration.int8.search import BlockChoice, BlockSearch
from engines.bundle import Bundle, resolve
from engines.data.aspect import check_given, given_for
from engines.data.leukemiaattri import LabelledImage, read_split
from engines.errors import DataError
from engines.evaluation.trained_on import overlap
from engines.files import sha256_of
from engines.gate.measure import check_pictures
from engines.gate.request import folder_and_split
from engines.progress import SILENT, Reporter


@dataclass(frozen=True, eq=False)
class QuantizeResult:
    """The bundle in INT8, the frames that it was calibrated on, which blocks stayed in float with what each costs, and the page."""

    bundle: Bundle
    frames: FrameSet
    blocks: BlockChoice
    page: Path | None

    @property
    def passed(self) -> bool:
        return self.blocks.result.passed


def quantize(request: QuantizeRequest, reporter: Reporter = SILENT) -> QuantizeResult:
    """Quantise as `attridet quantize` does. Raises EnginesError.

    The bundle is written also when the gate fails, with its fault: an appliance refuses it then.
    """
    source = Bundle.open(resolve(request.bundle))
    _check(request, source)
    root, split = folder_and_split(request.data)
    check_given(request.pixel_aspect, [root, *request.frames])
    aspect = given_for(root, request.pixel_aspect)
    pictures, data = read_split(root, split, source.taxonomy, aspect), root.resolve().name
    check_pictures(pictures, data, split)
    seen = overlap(source.manifest.training.data, [picture.path.name for picture in pictures])
    if seen:
        reporter.warning(seen.words)
    frames = _frames(request, pictures, reporter)
    for note in frames.notes:
        reporter.warning(note)
    quantiser = Quantiser(source, frames.frames, request.method, request.threads, reporter.counter("measuring ranges"))  # type: ignore[arg-type]  # one of its choices
    if request.finetune:
        first, last = quantiser.finetune(request, frozenset(sha256_of(p.path) for p in pictures), reporter)
        reporter.message(f"fine-tuned for {request.finetune} steps: loss {first:.3f} at first, {last:.3f} at the end")
    chosen = BlockSearch(request, quantiser, pictures, data, split, reporter).run()
    made = quantiser.write(
        request.out,
        chosen.float_blocks,
        half=request.half,
        sensitivity={block: round(cost.worst(request.limits)[1], 2) for block, cost in chosen.costs.items()},
        gate=chosen.result.record(),
        files={"README.md": request.readme.read_bytes()} if request.readme else None,
        replace=request.replace,
    )
    page = None
    if request.page is not None:
        from engines.gate.page import write_page

        page = write_page(chosen.result, request.page, datetime.now(timezone.utc), made)
    return QuantizeResult(made, frames, chosen, page)


def _frames(request: QuantizeRequest, pictures: Sequence[LabelledImage], reporter: Reporter) -> FrameSet:
    """The calibration set: a list that `attridet frames` wrote, or chosen now from folders; never a picture that judges."""
    judging = frozenset(sha256_of(p.path) for p in pictures)
    if len(request.frames) == 1 and request.frames[0].suffix == ".json":
        chosen = read_set(request.frames[0])
        for frame in chosen.frames:
            if frame.sha256 in judging:
                raise DataError(
                    f"{frame.path}: is one of the pictures that judge ({request.data}). Choose the frames again without it."
                )
        return chosen
    paths = [path for folder in request.frames for path in pictures_in(folder)]
    given = {folder: given_for(folder, request.pixel_aspect) for folder in request.frames}
    aspects, words = aspects_of(request.frames, given)
    for each in words:
        reporter.warning(each)
    return choose(paths, request.count, excluded_sha256=judging, aspects=aspects, progress=reporter.counter("choosing frames"))


def _check(request: QuantizeRequest, source: Bundle) -> None:
    """Refuses before the work what can be."""
    check_places(request, source, blocks_of_bundle(source))
    if request.tune_data and not request.finetune:
        raise DataError("--tune-data is what --finetune STEPS learns on: say how many steps, e.g. --finetune 300")
