"""`attridet adapt`."""

from __future__ import annotations

from engines.adapt import AdaptRequest


def adapt(request: AdaptRequest) -> None:
    """Carry a trained network over to another microscope without labels of its pictures (ConfMix, DACA).

    Ctrl-C is safe: what the last full epoch reached is kept; go on with attridet adapt --out DIR --resume
    """
    from engines.adapt import adapt as run
    from engines.commands.terminal import Terminal

    with Terminal() as terminal:
        run(request, terminal)
