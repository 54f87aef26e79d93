"""`attridet transfer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.transfer import TransferRequest

if TYPE_CHECKING:
    from calibration.transfer import TransferResult
    from engines.commands.terminal import Terminal

_MOST_PRINTED = 40


def transfer(request: TransferRequest) -> None:
    """Carry labels to other pictures of the same fields (another objective, microscope or camera), or say why not."""
    from calibration.transfer import transfer_labels
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        result = transfer_labels(request, terminal)
        _print(terminal, request, result)


def _print(terminal: Terminal, request: TransferRequest, result: TransferResult) -> None:
    from collections import Counter

    from rich import box
    from rich.table import Table

    from calibration.transfer.output import MANUAL, STATUS
    from calibration.transfer.report import FOLDER
    from calibration.transfer.work import UNLABELLED

    console, outcomes = terminal.console, result.outcomes
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
    refused = result.refused
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
        f"{len(outcomes) - len(refused)} of {len(outcomes)} pairs accepted, {len(refused)} refused, {len(result.pairing.alone)} "
        f"pictures without a partner. {result.labels} labels on {result.targets} pictures. {result.scale_note}",
        soft_wrap=True,
    )
    console.print(f"written: {request.out} (look at {request.out / FOLDER / 'index.html'}; by hand: {MANUAL})", soft_wrap=True)
