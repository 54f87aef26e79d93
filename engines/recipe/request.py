"""What a recipe is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request


@dataclass(frozen=True, kw_only=True)
class RecipeRequest(Request):
    """The options of `run_recipe`."""

    plan: Annotated[str, Option("Shipped plan (h100-to-l100, paper), or a YAML file (docs/recipe.md).", argument=True)]
    data: Annotated[Path, Option("The download as it came, with its subsets somewhere below.", metavar="DOWNLOAD")]
    out: Annotated[Path, Option("Folder for all steps; what is done there is not done again.", metavar="RUN")]
    only: Annotated[
        tuple[str, ...],
        Option("Only this step, and what it needs that is not done; * and ? stand for letters; repeat for several.", metavar="STEP"),
    ] = ()
    dry_run: Annotated[bool, Option("Print each step, what it takes, and about how long; check everything and do nothing.")] = False
    tiny: Annotated[bool, Option("Smallest sizes, to see that it all works: minutes on two cores, and no figures to believe.")] = False
    at: Annotated[str, Option("Sizes that the plan holds under this name, such as tiny.", metavar="NAME")] = ""
    values: Annotated[
        tuple[str, ...], Option("Value of the plan in place of its own; repeat for several.", name="--set", metavar="NAME=VALUE")
    ] = ()
    device: Annotated[str, Option("cpu or cuda.")] = "cpu"
    processes: Annotated[int, Option("Processes that train together, one a GPU (torchrun).", low=1)] = 1
    threads: Annotated[int, Option("Processor threads of a step.", low=1)] = 2
