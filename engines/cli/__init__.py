"""The command `attridet`: reads the command line, calls what does the work, turns errors into one line and an exit code.

Each command's words are in a file of this room, its work in the file of the same name in `engines.commands`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from engines.cli import (
    adapt,
    bench,
    build,
    data,
    evaluate,
    experiment,
    export,
    film,
    frames,
    gate,
    import_weights,
    quantize,
    train,
    transfer,
)
from engines.errors import EnginesError

app = typer.Typer(
    help="From data to engine: train, score, export and make data for AttriDet. Figures on rendered film are about rendered film only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

EXTRAS = {**dict.fromkeys(("torch", "onnx", "safetensors", "scipy"), "train"), "matplotlib": "evaluate"}
"""Modules that only some commands need, and the extra that brings each."""

for command in (
    adapt.adapt,
    bench.bench,
    build.build,
    evaluate.evaluate,
    experiment.experiment,
    export.export,
    train.train,
    film.film,
    frames.frames,
    gate.gate,
    import_weights.import_weights,
    quantize.quantize,
    transfer.transfer,
):
    app.command()(command)
app.add_typer(data.app, name="data")


def main() -> None:
    """Entry of the program. Exit codes: 0 done, 1 it failed, 2 what was asked for cannot be done."""
    # Torch's threads spin while they wait for each other, which on a machine that does something else as well made one picture 100
    # times slower. The OpenMP that torch loads reads this once, so it stands before every import of torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
