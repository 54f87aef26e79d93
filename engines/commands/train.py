"""`attridet train`."""

from __future__ import annotations

from engines.training import TrainRequest


def train(request: TrainRequest) -> None:
    """Train an AttriDet: detector and attributes by one loss, in one backward.

    attridet train --data DIR --out runs/1

    attridet train --out runs/1 --resume

    torchrun --nproc-per-node 2 -m engines train --device cuda ...

    Ctrl-C is safe: what the last full epoch reached is kept, and --resume makes the identical next step.

    torchrun shares each batch among GPUs, or processes of a CPU; but for dropout's draws the result is that of one.
    """
    from engines.commands.terminal import Terminal
    from engines.training import train as run

    with Terminal() as terminal:
        run(request, terminal)
