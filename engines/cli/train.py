"""What `attridet train` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List  # noqa: UP035  # typer reads the annotations at run time, on 3.10 too

import typer

from engines.cli.options import OptionalNumber, OptionalPath


def train(
    data: Annotated[
        List[str],  # noqa: UP006  # typer on 3.10
        typer.Option(help="Folder in the published layout, with :N to show its pictures N times an epoch; repeat for several."),
    ],
    out: Annotated[Path, typer.Option(help="The run's folder: last.pt, best.pt, results.csv.")],
    size: Annotated[str, typer.Option(help="n, s, m, l or x.")] = "n",
    imgsz: Annotated[int, typer.Option(min=64, help="Side of the training pictures in px.")] = 320,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    batch: Annotated[int, typer.Option(min=1)] = 16,
    hyper: Annotated[str, typer.Option(help="low, med, high (as published) or film.")] = "film",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    initial: Annotated[OptionalPath, typer.Option(help="Checkpoint whose network is the start.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 2,
    judge: Annotated[bool, typer.Option(help="Score the split val of each folder after each epoch.")] = True,
    attribute_weight: Annotated[
        OptionalNumber,
        typer.Option(min=0, help="lambda of L = L_det + lambda x L_attr; 0 trains YOLOv5 alone (default: the set's, 1)."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="The attribute loss does not reach the backbone.")] = False,
) -> None:
    """Train an AttriDet: detector and attributes by one loss, in one backward."""
    from engines.commands.train import Request, run

    run(
        Request(
            tuple(data), out, size, imgsz, epochs, batch, hyper, seed, initial, resume, device, threads, judge, attribute_weight, detach
        )
    )
