"""`attridet evidence`."""

from __future__ import annotations

from calibration.evidence import EvidenceRequest


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
