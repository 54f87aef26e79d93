"""Labels of one folder carried to pictures of the same fields in another, refusals with their reasons, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from calibration.transfer.output import gather, write_labels, write_tables
from calibration.transfer.registration import LIMITS, nominal_scale
from calibration.transfer.report import write_report
from calibration.transfer.request import TransferRequest
from calibration.transfer.sides import Pairing, pair_all, pair_by_file, pair_by_name, read_side
from calibration.transfer.work import PairOutcome, Transfer
from engines.data.writing import Bring
from engines.errors import DataError
from engines.files import atomic_folder
from engines.progress import SILENT, Reporter
from engines.taxonomy import read_taxonomy


@dataclass(frozen=True, eq=False)
class TransferResult:
    """What became of each pair, of pictures without a partner, and how many labels lie on how many target pictures now.

    scale_note: which nominal scale pairs were held to, in a sentence.
    """

    outcomes: tuple[PairOutcome, ...]
    pairing: Pairing
    labels: int
    targets: int
    scale_note: str

    @property
    def refused(self) -> list[PairOutcome]:
        return [o for o in self.outcomes if not o.accepted]


def transfer_labels(request: TransferRequest, reporter: Reporter = SILENT) -> TransferResult:
    """Transfer as `attridet transfer` does. Refused pairs are no error. Raises DataError."""
    if request.every_pair and request.pairs is not None:
        raise DataError("--every-pair and --pairs exclude each other; give one")
    taxonomy = read_taxonomy(request.taxonomy)
    sources, targets = (
        read_side(root, split, taxonomy, reporter)
        for root, split in ((request.source, request.from_split), (request.target, request.to_split))
    )
    between = read_side(request.via, None, taxonomy, reporter) if request.via is not None else []
    if request.pairs is not None:
        pairing = pair_by_file(request.pairs, sources, targets)
    else:
        pairing = pair_all(sources, targets) if request.every_pair else pair_by_name(sources, targets)
    work = Transfer(request, taxonomy)
    # The folder first: a name that is taken must not be found out after the work.
    with atomic_folder(request.out) as folder:
        judged, scale = work.register(pairing.pairs, between, reporter.counter("registering"))
        outcomes = []
        for (source, target), registration in zip(pairing.pairs, judged, strict=True):
            outcomes.append(work.carry(source, target, registration))
            reporter.progress("carrying labels", len(outcomes), len(judged))
        now = datetime.now(timezone.utc).replace(microsecond=0)
        labelled = gather(outcomes)
        about = _about(request, scale, now)
        write_labels(folder, labelled, taxonomy, Bring.COPY if request.copy else Bring.LINK, request.grey_out, about)
        write_tables(folder, outcomes, pairing.alone)
        note = _scale_note(request, scale, outcomes)
        said = {"source": about["from"], "target": about["to"], "written_at": now, "scale": note, "alone": pairing.alone}
        write_report(folder, said, request.pictures, taxonomy, outcomes, labelled, reporter.counter("drawing"))
    return TransferResult(tuple(outcomes), pairing, sum(len(one.merged) for one in labelled), len(labelled), note)


def _about(request: TransferRequest, scale: float | None, now: datetime) -> dict[str, Any]:
    return {
        "made_by": "attridet transfer",
        "created": now.isoformat(),
        "from": request.source.resolve().name,
        "to": request.target.resolve().name,
        "via": None if request.via is None else request.via.resolve().name,
        "nominal_scale": scale,
        "rotation_deg": request.rotation_deg,
        "labels_checked": request.label_check,
        "limits": asdict(LIMITS),
        "ignored_painted_grey": request.grey_out,
    }


def _scale_note(request: TransferRequest, scale: float | None, outcomes: Sequence[PairOutcome]) -> str:
    if request.scale is not None:
        return f"Nominal scale {request.scale:g}, as given."
    if scale is None:
        return "The scale was not checked: fewer than three pairs were accepted; --scale gives the nominal one."
    accepted = nominal_scale((o.registration for o in outcomes), fewest=1)
    return f"Nominal scale {scale:.3f}, the median of the pairs accepted" + (
        "." if accepted is None or abs(accepted - scale) < 5e-4 else f" at first; of those accepted in the end {accepted:.3f}."
    )
