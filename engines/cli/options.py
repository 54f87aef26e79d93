"""Options that several commands of `attridet` share, and the types that typer needs spelled so on Python 3.10."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, List, Optional  # noqa: UP035  # typer reads the annotations at run time, on 3.10 too

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder in the published layout: Images/SPLIT, json_labels or txt_labels.")]
OptionalPath = Optional[Path]  # noqa: UP045  # typer on 3.10
OptionalNumber = Optional[float]  # noqa: UP045  # typer on 3.10
Names = Optional[List[str]]  # noqa: UP006, UP045  # typer on 3.10
Numbers = Optional[List[int]]  # noqa: UP006, UP045  # typer on 3.10
