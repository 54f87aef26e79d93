"""`attridet transfer`: labels of one folder carried to pictures of the same fields in another, refusals with their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from calibration.transfer.output import MANUAL, STATUS, gather, limits_of, write_labels, write_tables
from calibration.transfer.registration import nominal_scale
from calibration.transfer.report import FOLDER, Drawing, write_report
from calibration.transfer.sides import Pairing, SidePicture, pair_all, pair_by_file, pair_by_name, read_side
from calibration.transfer.work import UNLABELLED, FeatureCache, LabelKeeper, Outcome, Wishes, carry_labels, register_pairs
from engines.commands.terminal import progress_bar
from engines.data.writing import Bring
from engines.errors import DataError
from engines.files import atomic_folder
from engines.taxonomy import LEUKEMIA_ATTRI, Taxonomy

_MOST_PRINTED = 40


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `engines.cli.transfer`."""

    source: Path
    target: Path
    out: Path
    via: Path | None = None
    pairs: Path | None = None
    every_pair: bool = False
    from_split: str | None = None
    to_split: str | None = None
    scale: float | None = None
    rotation_deg: float | None = 0.0
    check_labels: bool = True
    copy: bool = False
    grey_out: bool = False
    pictures: int = 60


def run(request: Request, taxonomy: Taxonomy = LEUKEMIA_ATTRI) -> list[Outcome]:
    """Reads, registers, carries, writes, prints; the outcomes are given back. Refused pairs are no error. Raises DataError."""
    if request.every_pair and request.pairs is not None:
        raise DataError("--every-pair and --pairs exclude each other; give one")
    sources, targets = read_side(request.source, request.from_split), read_side(request.target, request.to_split)
    between = read_side(request.via) if request.via is not None else []
    pairing = _pairing(request, sources, targets)
    console = Console()
    cache, keeper = FeatureCache(), LabelKeeper(taxonomy)
    wishes = Wishes(request.scale, request.rotation_deg, request.check_labels)
    # The folder first: a name that is taken must not be found out after the work.
    with atomic_folder(request.out) as folder, progress_bar() as bar:
        task = bar.add_task("registering", total=len(pairing.pairs))
        judged, scale = register_pairs(pairing.pairs, between, wishes, cache, lambda: bar.advance(task))
        task = bar.add_task("carrying labels", total=len(judged))
        outcomes = []
        for (source, target), registration in zip(pairing.pairs, judged, strict=True):
            outcomes.append(carry_labels(source, target, registration, wishes, cache, keeper, taxonomy))
            bar.advance(task)
        now = datetime.now(timezone.utc).replace(microsecond=0)
        labelled = gather(outcomes)
        about = _about(request, scale, now)
        write_labels(folder, labelled, taxonomy, Bring.COPY if request.copy else Bring.LINK, request.grey_out, about)
        write_tables(folder, outcomes, pairing.alone)
        task = bar.add_task("drawing", total=len(outcomes))
        title = (request.source.resolve().name, request.target.resolve().name)
        words = _scale_words(request, scale, outcomes)
        drawing = Drawing(title, taxonomy, wishes.limits, words, now, request.pictures)
        write_report(folder, drawing, outcomes, labelled, pairing.alone, lambda: bar.advance(task))
    _print(console, request, outcomes, pairing, words, sum(len(one.merged) for one in labelled), len(labelled))
    return outcomes


def _pairing(request: Request, sources: list[SidePicture], targets: list[SidePicture]) -> Pairing:
    if request.pairs is not None:
        return pair_by_file(request.pairs, sources, targets)
    return pair_all(sources, targets) if request.every_pair else pair_by_name(sources, targets)


def _about(request: Request, scale: float | None, now: datetime) -> dict[str, Any]:
    return {
        "made_by": "attridet transfer",
        "created": now.isoformat(),
        "from": request.source.resolve().name,
        "to": request.target.resolve().name,
        "via": None if request.via is None else request.via.resolve().name,
        "nominal_scale": scale,
        "rotation_deg": request.rotation_deg,
        "labels_checked": request.check_labels,
        "limits": limits_of(Wishes().limits),
        "ignored_painted_grey": request.grey_out,
    }


def _scale_words(request: Request, scale: float | None, outcomes: Sequence[Outcome]) -> str:
    if request.scale is not None:
        return f"Nominal scale {request.scale:g}, as given."
    if scale is None:
        return "The scale was not checked: fewer than three pairs were accepted; --scale gives the nominal one."
    accepted = nominal_scale((o.registration for o in outcomes), fewest=1)
    return f"Nominal scale {scale:.3f}, the median of the pairs accepted" + (
        "." if accepted is None or abs(accepted - scale) < 5e-4 else f" at first; of those accepted in the end {accepted:.3f}."
    )


def _print(
    console: Console, request: Request, outcomes: Sequence[Outcome], pairing: Pairing, scale: str, labels: int, targets: int
) -> None:
    shown = sorted(outcomes, key=lambda o: (o.registration.fit.h is None, o.accepted))[:_MOST_PRINTED]
    table = Table(
        title=f"{request.source.name} to {request.target.name}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for name, right in (("source", False), ("target", False), ("status", False), ("agree", True), ("alike", True), ("labels", True)):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for o in shown:
        found = o.registration.fit
        alike = f"{found.likeness:.2f}" if found.shape is not None else "-"
        carried = "-" if o.carried is None else str(len(o.carried))
        status = "[green]accepted[/green]" if o.accepted else "[red]refused[/red]"
        table.add_row(o.source.path.stem, o.target.path.stem, status, f"{found.inliers}/{found.matches}", alike, carried)
    console.print(table)
    if len(outcomes) > len(shown):
        console.print(f"and {len(outcomes) - len(shown)} more pairs, all in {STATUS}")
    refused = [o for o in outcomes if not o.accepted]
    with_map = [o for o in refused if o.registration.fit.h is not None]
    for o in with_map[:_MOST_PRINTED]:
        console.print(f"[red]refused[/red] {o.source.path.stem} → {o.target.path.stem}: {'; '.join(o.reasons)}", soft_wrap=True)
    for words, number in Counter(o.reasons[0].split(":")[0] for o in refused if o.registration.fit.h is None).items():
        console.print(f"[red]refused[/red] {number}: {words}", soft_wrap=True)
    noted = [o for o in outcomes if o.notes]
    unlabelled = [o for o in noted if o.notes == (UNLABELLED,)]
    if unlabelled:
        console.print(f"{len(unlabelled)} pairs: {UNLABELLED}")
    for o in [o for o in noted if o not in unlabelled][:_MOST_PRINTED]:
        console.print(f"{o.target.path.stem}: {'; '.join(o.notes)}", soft_wrap=True)
    console.print(
        f"{len(outcomes) - len(refused)} of {len(outcomes)} pairs accepted, {len(refused)} refused, {len(pairing.alone)} pictures "
        f"without a partner. {labels} labels on {targets} pictures. {scale}",
        soft_wrap=True,
    )
    console.print(f"written: {request.out} (look at {request.out / FOLDER / 'index.html'}; by hand: {MANUAL})", soft_wrap=True)
