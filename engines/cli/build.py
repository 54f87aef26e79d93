"""What `attridet build` understands."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

APPLIANCE_PLANS = Path("/var/lib/leukoscope/plans")
"""Where the appliance's service looks for plans."""


class Runtime(str, Enum):
    """TensorRT under its two names."""

    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt_rtx"


def build(
    bundle: Annotated[str, typer.Argument(help="Engine folder, or zoo:NAME.")],
    plans: Annotated[Path, typer.Option(help="Folder of this device's plans (engine.plans of the configuration).")] = APPLIANCE_PLANS,
    runtime: Annotated[Runtime, typer.Option(help="tensorrt on a Jetson; tensorrt_rtx on a desktop's RTX card.")] = Runtime.TENSORRT,
    force: Annotated[bool, typer.Option("--force", help="Build although a plan is there that answers the golden picture.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Parse and compile only, keep nothing; tensorrt_rtx does so without a GPU.")
    ] = False,
) -> None:
    """Compile an engine folder for this machine's GPU, prove it on the golden picture, and put it in the old plan's place."""
    from engines.commands.build import Request, run

    run(Request(bundle, plans, runtime.value, force, check))
