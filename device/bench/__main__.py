"""`python -m device.bench`: reads the command line; measuring is `run`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def main(
    out: Annotated[Path, typer.Option(help="The Markdown file whose section is replaced; its other sections are kept.")] = Path(
        "docs/benchmarks.md"
    ),
    engine: Annotated[str, typer.Option(help="A bundle: a folder, or zoo:NAME.")] = "zoo:attridet-n",
    frames: Annotated[int, typer.Option(min=12, max=1000, help="Frames of one reading; all are held in memory, 6 MB each.")] = 60,
    repeats: Annotated[int, typer.Option(min=1, help="Readings; fewer, at least 3, where they take too long.")] = 5,
    runtime: Annotated[str, typer.Option(help="What runs it: auto, onnx, openvino.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of the engine.")] = 2,
    source: Annotated[Optional[Path], typer.Option(help="A folder of pictures of one size instead of rendered film.")] = None,  # noqa: UP045  # typer on 3.10
    objective: Annotated[int, typer.Option(help="Of the rendered film: 100, or 40 with six times as many cells a field.")] = 100,
    section: Annotated[str, typer.Option(help="Name of the section, to keep several machines or engines side by side.")] = "whole-path",
) -> None:
    """Measure frames a second of the whole way and milliseconds of each stage on this machine."""
    from calibration.profile import ProfileError
    from device.bench.run import Objective, run_bench
    from device.errors import LeukoscopeError
    from engines.errors import EnginesError

    if objective not in (40, 100):
        raise typer.BadParameter(f"{objective}: film is rendered for 40 or 100", param_hint="--objective")
    try:
        lens: Objective = 40 if objective == 40 else 100
        run_bench(out, repeats, frames, engine, runtime=runtime, threads=threads, source=source, objective=lens, section=section)
    except (LeukoscopeError, EnginesError, ProfileError) as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(error.exit_code or 1) from None


if __name__ == "__main__":
    typer.run(main)
