"""What an experiment is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import TAXONOMY, Option, Request


@dataclass(frozen=True, kw_only=True)
class ExperimentRequest(Request):
    """The options of `run_experiment`."""

    plan: Annotated[Path, Option("YAML file of runs, seeds and measures, as in docs/experiments.", argument=True)]
    data: Annotated[Path, Option("Folder that holds the data sets which the plan names.")]
    out: Annotated[Path, Option("Folder for runs, scores and the table; what is there already is not done again.")]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    at_once: Annotated[int, Option("Runs side by side, each with one processor thread.", low=1)] = 2
    only: Annotated[tuple[str, ...], Option("Only runs of these names (and those they start from).")] = ()
    device: Annotated[str, Option("cpu or cuda.")] = "cpu"
