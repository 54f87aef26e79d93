"""What `attridet adapt` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List  # noqa: UP035  # typer reads the annotations at run time, on 3.10 too

import typer

from engines.cli.options import OptionalNumber


def adapt(
    source: Annotated[
        List[str],  # noqa: UP006  # typer on 3.10
        typer.Option(
            help="Labelled folder of the known microscope, with :N to show its pictures N times an epoch; repeat for several."
        ),
    ],
    target: Annotated[
        List[str],  # noqa: UP006  # typer on 3.10
        typer.Option(help="Folder of the new microscope; its labels, if any, are not looked at; :N and repeating as above."),
    ],
    initial: Annotated[Path, typer.Option(help="Network trained on the source: .pt or .safetensors.")],
    out: Annotated[Path, typer.Option(help="The run's folder: last.pt, results.csv.")],
    method: Annotated[str, typer.Option(help="confmix, daca, or source-only: the same steps without the target.")] = "confmix",
    oracle: Annotated[bool, typer.Option("--oracle", help="Learn from the target's labels too: what adaptation could reach.")] = False,
    size: Annotated[str, typer.Option(help="n, s, m, l or x.")] = "n",
    imgsz: Annotated[int, typer.Option(min=64, help="Side of the training pictures in px.")] = 320,
    epochs: Annotated[int, typer.Option(min=1, help="Times through the source.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Source pictures a step, and as many of the target.")] = 16,
    hyper: Annotated[str, typer.Option(help="low (as published), med, high, film or adapt.")] = "adapt",
    learning_rate: Annotated[OptionalNumber, typer.Option(min=0, help="In place of the set's.")] = None,
    teacher: Annotated[str, typer.Option(help="Who makes the pseudo-labels: ema, the average, or student (as published).")] = "ema",
    source_boxes: Annotated[
        str, typer.Option(help="What mixed pictures say of their source part: truth or pseudo (as published).")
    ] = "truth",
    confidence: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Score from which a box becomes a pseudo-label (published: .25 confmix, .1 daca).")
    ] = 0.7,
    unsure: Annotated[
        OptionalNumber,
        typer.Option(min=0.01, max=0.99, help="Leave out quarters of the target with a box above this that is no pseudo-label."),
    ] = None,
    weight: Annotated[float, typer.Option(min=0, help="Weight of the target's loss.")] = 1.0,
    recolour: Annotated[
        float, typer.Option(min=0, max=1, help="Share of source pictures that take on colours of the target (published: 0).")
    ] = 0.7,
    target_crop: Annotated[
        float, typer.Option(min=0, max=1, help="Share of target pictures cut to a window at their own scale, the others shrunk.")
    ] = 0.0,
    published: Annotated[
        bool, typer.Option("--published", help="Teacher, source boxes, confidence and colours as in the papers, whatever else is said.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Carry a trained network over to another microscope without labels of its pictures (ConfMix, DACA)."""
    from engines.commands.adapt import Request, run

    run(
        Request(
            tuple(source),
            tuple(target),
            initial,
            out,
            method,
            oracle,
            size,
            imgsz,
            epochs,
            batch,
            hyper,
            learning_rate,
            teacher,
            source_boxes,
            confidence,
            unsure,
            weight,
            recolour,
            target_crop,
            published,
            seed,
            resume,
            device,
            threads,
        )
    )
