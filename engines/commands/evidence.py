"""`attridet evidence` and `working-point`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration.evidence import EvidenceRequest
from engines.evaluation.working_point_request import WorkingPointRequest

if TYPE_CHECKING:
    from engines.bundle import Bundle


def evidence(request: EvidenceRequest) -> None:
    """Write docs/accuracy.md: what an engine finds, names and misses on the plan's sets, and what a site's own cells bring.

    attridet evidence zoo:attridet-n --root ../shared/data

    attridet evidence    (the page anew, from the results beside it)
    """
    from calibration.evidence import evidence as run
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        for path in run(request, terminal).written:
            terminal.message(f"written: {path}")


def working_point(request: WorkingPointRequest) -> None:
    """Choose the working point of a bundle on labelled pictures, by what a missed blast costs, and write the bundle with it.

    The detector's confidence, and the thresholds of its naming layer where it has one; the split's name goes into its manifest.
    """
    from engines.commands.terminal import Terminal
    from engines.evaluation.working_point_choice import choose_working_point

    with Terminal() as terminal:
        terminal.message(chosen_words(choose_working_point(request, terminal)))


def chosen_words(made: Bundle) -> str:
    """The working point of a bundle, where it was chosen and what is told there; empty where none was chosen."""
    chosen = made.manifest.working_point
    if chosen is None:
        return ""
    naming = "" if chosen.naming is None else f", naming layer: {', '.join(f'{k} {v:g}' for k, v in chosen.naming.items())}"
    return (
        f"{made.path}: confidence {chosen.confidence:g}{naming}, chosen on {chosen.data}/{chosen.split} ({chosen.images} "
        f"pictures; a blast not told costs {chosen.blast_cost:g}, another cell lost {chosen.cell_cost:g}): "
        f"{chosen.blasts_told} of {chosen.blasts} blasts told, {chosen.others_told_blast} of {chosen.others} others told as a "
        f"blast, {chosen.invented} cells told on nothing. These same pictures chose it: judge it on others. Digest {made.digest[:8]}"
    )
