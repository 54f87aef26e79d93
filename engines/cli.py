"""The command `attridet`: reads the command line, calls what does the work, turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, List, Optional  # noqa: UP035  # typer reads the annotations at run time, on 3.10 too

import typer

from engines.errors import EnginesError

app = typer.Typer(
    help="From data to engine: train, score, export and make data for AttriDet. Figures on rendered film are about rendered film only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, typer.Option("--data", help="Folder in the published layout: Images/SPLIT, json_labels or txt_labels.")]
EXTRAS = {"torch": "train", "onnx": "train", "safetensors": "train", "scipy": "train", "faster_coco_eval": "evaluate"}
"""Modules that only some commands need, and the extra that brings each."""

OptionalPath = Optional[Path]  # noqa: UP045  # typer on 3.10
Names = Optional[List[str]]  # noqa: UP006, UP045  # typer on 3.10
Numbers = Optional[List[int]]  # noqa: UP006, UP045  # typer on 3.10


@app.command()
def evaluate(
    bundle: Annotated[str, typer.Argument(help="Engine folder, or zoo:NAME for one that ships.")],
    data: Data,
    split: Annotated[str, typer.Option(help="Which split of the folder.")] = "val",
    json: Annotated[OptionalPath, typer.Option("--json", help="Also write every number here.")] = None,
    runtime: Annotated[str, typer.Option(help="What runs the graphs.")] = "onnx",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Score a bundle on labelled pictures: AP by COCO's and by YOLOv5's rule, the working point, attributes."""
    from engines.commands.evaluate import run

    run(bundle, data, split, json, runtime=runtime, threads=threads)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Weights: .pt or .safetensors of a training run.")],
    out: Annotated[Path, typer.Argument(help="Engine folder to write.")],
    images: Annotated[Path, typer.Option(help="Folder of fields on which the graphs must equal torch.")],
    golden: Annotated[
        OptionalPath, typer.Option(help="The golden picture (default: the first of --images). It ships with the bundle.")
    ] = None,
    card: Annotated[OptionalPath, typer.Option(help="YAML: name, version, licence, training (data, seed, command), metrics.")] = None,
    readme: Annotated[OptionalPath, typer.Option(help="Model card to lay beside it as README.md.")] = None,
    size: Annotated[int, typer.Option("--input", min=32, help="Side of the network's input in px, a multiple of 32.")] = 640,
    confidence: Annotated[float, typer.Option(min=0.001, max=0.999)] = 0.25,
    iou: Annotated[float, typer.Option(min=0.01, max=0.99)] = 0.45,
    scale_up: Annotated[bool, typer.Option(help="Enlarge pictures that are smaller than the input.")] = True,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Lay the weights beside the graphs.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an engine folder that is there.")] = False,
) -> None:
    """Turn weights into an engine folder: two ONNX graphs, verified against torch, with manifest and golden picture."""
    from engines.commands.export import Request, run

    run(Request(checkpoint, out, images, golden, card, readme, size, confidence, iou, scale_up, keep_weights, replace))


@app.command()
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
) -> None:
    """Train an AttriDet: detector and attributes by one loss, in one backward."""
    from engines.commands.train import Request, run

    run(Request(tuple(data), out, size, imgsz, epochs, batch, hyper, seed, initial, resume, device, threads, judge))


@app.command()
def film(
    out: Annotated[Path, typer.Argument(help="Folder to write, in the published layout.")],
    train: Annotated[int, typer.Option(min=0, help="Fields of the split train.")] = 400,
    val: Annotated[int, typer.Option(min=0, help="Fields of the split val.")] = 80,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    size: Annotated[int, typer.Option(min=64, help="Side of a field in px.")] = 640,
    domain: Annotated[
        Names, typer.Option(help="H or L microscope, C1 or C2 camera, as L_C2; repeat for several; default: all.")
    ] = None,
    objective: Annotated[Numbers, typer.Option(help="10, 40 or 100; repeat for several; default: 40 and 100.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Render fields of blood film with their truth. They are drawings: a figure on them says nothing about patients."""
    from engines.commands.film import run

    chosen = {name: value for name, value in (("domains", domain), ("objectives", objective)) if value}
    run(out, fields_train=train, fields_val=val, seed=seed, size_px=(size, size), workers=workers, **chosen)


def main() -> None:
    """Entry of the program. Exit codes: 0 done, 1 it failed, 2 what was asked for cannot be done."""
    with _advice():
        app()


@contextmanager
def _advice() -> Iterator[None]:
    """An error that a person can do something about becomes one line on stderr and its exit code."""
    try:
        yield
    except EnginesError as error:
        typer.echo(f"attridet: {error}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        typer.echo(f"attridet: this needs {error.name}, which is not installed. Run: pip install 'leukoscope[{extra}]'", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
