"""What `attridet train` understands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from engines.cli.options import Names, OptionalNumber, OptionalPath

OptionalCount = Optional[int]  # noqa: UP045  # typer on 3.10
OptionalSwitch = Optional[bool]  # noqa: UP045  # typer on 3.10
OptionalWord = Optional[str]  # noqa: UP045  # typer on 3.10

LEARN, NETWORK, COURSE, JUDGING, MACHINE = "What it learns from", "Network and loss", "Course", "Judging", "Machine"


def _option(panel: str, metavar: str, words: str, **limits: Any) -> Any:
    return typer.Option(metavar=metavar, help=words, rich_help_panel=panel, **limits)


def _switch(panel: str, name: str, words: str) -> Any:
    return typer.Option(name, help=words, rich_help_panel=panel, show_default=False)


def train(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the run: last.pt, best.pt, results.csv, results.png, train.json.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out where it stopped, with the settings that it has.")
    ] = False,
    data: Annotated[
        Names,
        _option(
            LEARN, "DIR", "Folder in the published layout; DIR:N shows its pictures N times an epoch; repeat for several. Required."
        ),
    ] = None,
    imgsz: Annotated[int, _option(LEARN, "PX", "Side of a training picture, rounded up to a multiple of 32.", min=64)] = 320,
    hyper: Annotated[
        str, _option(LEARN, "SET", "Hyper-parameters: low, med, high (as published: SGD) or film (AdamW, for short runs on a CPU).")
    ] = "film",
    seed: Annotated[int, _option(LEARN, "N", "Of weights, pictures and noise.", min=0)] = 0,
    size: Annotated[str, _option(NETWORK, "NAME", "n, s, m, l or x.")] = "n",
    initial: Annotated[OptionalPath, _option(NETWORK, "FILE", "Weights to start from, .pt or .safetensors; random without it.")] = None,
    autoanchor: Annotated[
        bool, _switch(NETWORK, " /--no-autoanchor", "Keep the anchors even if fewer than 98 % of the cells are within reach of one.")
    ] = True,
    attribute_weight: Annotated[
        OptionalNumber,
        _option(
            NETWORK,
            "X",
            "lambda of L = L_det + lambda x L_attr, in place of the set's (film .2, the published ones 1); 0 trains YOLOv5 alone.",
            min=0,
        ),
    ] = None,
    detach: Annotated[bool, _switch(NETWORK, "--detach", "Keep the attribute loss from reaching the backbone.")] = False,
    epochs: Annotated[int, _option(COURSE, "N", "Times through all pictures.", min=1)] = 30,
    phases: Annotated[
        OptionalWord,
        _option(
            COURSE,
            "E1,E2",
            "Instead of --epochs: E1 of them, then E2 from the last weights with fresh optimiser and schedule. The first phase is kept "
            "in phase-1 of --out. Published: 100,200.",
        ),
    ] = None,
    batch: Annotated[int, _option(COURSE, "N", "Pictures in a step, over all processes together.", min=1)] = 16,
    cosine: Annotated[
        OptionalSwitch, _switch(COURSE, "--cosine/--linear", "Decay of the learning rate; without it cosine for film, else linear.")
    ] = None,
    patience: Annotated[int, _option(COURSE, "N", "Stop after so many epochs without a better fitness on val; 0: never.", min=0)] = 100,
    judge: Annotated[
        bool, _switch(JUDGING, "--judge/--no-judge", "Score the split val of each folder after each epoch; done unless told not to.")
    ] = True,
    judge_imgsz: Annotated[
        OptionalCount,
        _option(
            JUDGING, "PX", "Longer side at which val is judged; without it --imgsz, or twice that for film, which cuts windows.", min=64
        ),
    ] = None,
    pictures: Annotated[
        bool,
        _switch(
            JUDGING,
            "--pictures/--no-pictures",
            "Draw curves while it trains and a page of each val at its end; TensorBoard's events if it is installed; done unless told "
            "not to.",
        ),
    ] = True,
    device: Annotated[str, _option(MACHINE, "NAME", "cpu or cuda.")] = "cpu",
    amp: Annotated[bool, _switch(MACHINE, " /--no-amp", "Convolutions in 32 bits, not bfloat16 (CPU) or scaled float16 (GPU).")] = True,
    threads: Annotated[int, _option(MACHINE, "N", "Processor threads of the network.", min=1)] = 2,
    workers: Annotated[
        OptionalCount, _option(MACHINE, "N", "Processes that prepare pictures; without it 1, on a GPU up to 8.", min=0)
    ] = None,
) -> None:
    """Train an AttriDet: detector and attributes by one loss, in one backward.

    attridet train --data DIR --out runs/1

    attridet train --out runs/1 --resume

    torchrun --nproc-per-node 2 -m engines train --device cuda ...

    Ctrl-C is safe: what the last full epoch reached is kept, and --resume makes the identical next step.

    torchrun shares each batch among GPUs, or processes of a CPU; but for dropout's draws the result is that of one.
    """
    from engines.commands.train import run
    from engines.training.request import Request

    asked = {name for name in ctx.params if getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    request = Request(
        out=out,
        resume=resume,
        data=tuple(data or ()),
        imgsz=imgsz,
        hyper=hyper,
        seed=seed,
        size=size,
        initial=initial,
        autoanchor=autoanchor,
        attribute_weight=attribute_weight,
        detach=detach,
        epochs=epochs,
        phases=phases,
        batch=batch,
        cosine=cosine,
        patience=patience,
        judge=judge,
        judge_imgsz=judge_imgsz,
        pictures=pictures,
        device=device,
        amp=amp,
        threads=threads,
        workers=workers,
    )
    run(request, asked)
