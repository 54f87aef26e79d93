"""An engine against its float reference: both opened, compared on labelled pictures, the verdict kept and shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.bundle import Bundle, resolve
from engines.data.aspect import check_given, given_for
from engines.data.leukemiaattri import read_split
from engines.errors import BundleError
from engines.evaluation.trained_on import overlap
from engines.gate.measure import GateResult, compare_engines
from engines.gate.record import check_recordable, write_record
from engines.gate.request import GateRequest, folder_and_split
from engines.gate.rounded import open_judged
from engines.progress import SILENT, Reporter
from engines.runtime.factory import open_engine


@dataclass(frozen=True, eq=False)
class GateVerdict:
    """The result, the bundle as it was and with the verdict in its manifest (and so with another digest), and the page."""

    result: GateResult
    before: Bundle
    kept: Bundle
    page: Path | None

    @property
    def passed(self) -> bool:
        return self.result.passed

    @property
    def level(self) -> str:
        """green, amber or red; see `engines.gate.measure.GateResult.level`."""
        return self.result.level


def gate(request: GateRequest, reporter: Reporter = SILENT) -> GateVerdict:
    """Judge as `attridet gate` does: the verdict is kept in the candidate's manifest, also a bad one. Raises EnginesError."""
    root, split = folder_and_split(request.data)
    bundle = Bundle.open(resolve(request.candidate))
    check_recordable(bundle)
    request.check_page(bundle)
    data = root.resolve().name
    # The candidate's answer to its golden picture is part of the verdict, so that it is no reason to stop on opening.
    reference = open_engine(request.reference, "onnx", request.threads)
    candidate = open_judged(request.candidate, request.runtime, request.threads, request.plans)
    if candidate.bundle.digest == reference.bundle.digest:
        raise BundleError(f"{bundle.path}: is the reference itself, so there is nothing to compare. Name the bundle made from it.")
    check_given(request.pixel_aspect, [root])
    pictures = read_split(root, split, reference.info.taxonomy, given_for(root, request.pixel_aspect))
    seen = overlap(reference.trained_on, [picture.path.name for picture in pictures])
    if seen:
        reporter.warning(seen.words)
    with reference, candidate:
        progress = reporter.counter(f"{candidate.info.label} against {reference.info.label} on {data}/{split}")
        result = compare_engines(reference, candidate, pictures, data, split, request.limits, progress, request.floors)
    kept, page = write_record(bundle, result.record()), None
    if request.page is not None:
        from engines.gate.page import write_page

        page = write_page(result, request.page, datetime.now(timezone.utc), kept)
    return GateVerdict(result, bundle, kept, page)
