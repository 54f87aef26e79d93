"""What the evidence is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import Option, Request


@dataclass(frozen=True, kw_only=True)
class EvidenceRequest(Request):
    """The options of `evidence`. Without a bundle the page is written anew from the results that lie beside it."""

    bundle: Annotated[str | None, Option("Engine folder or zoo:NAME; without it, the page anew from its results.", argument=True)] = (
        None
    )
    plan: Annotated[Path, Option("YAML: which sets are judged, and the site whose own cells are tried.", metavar="FILE")] = Path(
        "docs/evidence.yaml"
    )
    root: Annotated[Path, Option("Folder that holds the plan's sets.", metavar="DIR")] = Path("../shared/data")
    rendered: Annotated[
        Path | None, Option("Rendered film (split val) as one more set; its worst errors are the page's pictures.", metavar="DIR")
    ] = None
    out: Annotated[Path, Option("The page; its results lie beside it as JSON, its pictures in images/.", metavar="FILE")] = Path(
        "docs/accuracy.md"
    )
    pictures: Annotated[
        Path | None, Option("Worst errors on the plan's sets, as pictures: a folder outside the repository.", metavar="DIR")
    ] = None
    draws: Annotated[int | None, Option("Draws of a site's cells; else the plan's.", low=1)] = None
    resamples: Annotated[int, Option("Draws of the bootstrapped intervals.", low=0)] = 500
    seed: Annotated[int, Option("Of all draws.", low=0)] = 0
    runtime: Annotated[str, Option("What runs the bundle's graphs.")] = "onnx"
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2
