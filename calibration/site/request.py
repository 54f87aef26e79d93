"""What fitting a naming layer is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import PIXEL_ASPECT, Option, Request


@dataclass(frozen=True, kw_only=True)
class LearnRequest(Request):
    """The options of `learn`. Either `cells` (and, or, `confirmed_normal`) for a site layer, or `open` with `data` and `open_cells`."""

    bundle: Annotated[str, Option("The engine whose second look gives the features: a folder or zoo:NAME.", argument=True)]
    out: Annotated[Path, Option("The layer to write (.npz); its card lies beside it as a page (.md).", metavar="LAYER")]
    cells: Annotated[
        Path | None,
        Option("Labelled cells of one microscope: a folder of data, or an appliance's record.", "Site layer", "FOLDER|RECORD"),
    ] = None
    confirmed_normal: Annotated[
        Path | None,
        Option(
            "Cells of this microscope that a person confirmed as normal: open cells are aligned to it by them.", "Site layer", "FOLDER"
        ),
    ] = None
    patients: Annotated[
        Path | None,
        Option("CSV with the columns picture,patient, where names of pictures do not say whose slide they show.", metavar="CSV"),
    ] = None
    fewest: Annotated[int, Option("Refuse fewer white cells of this microscope.", "Site layer", low=20)] = 50
    fewest_slides: Annotated[int, Option("Refuse cells of fewer slides.", "Site layer", low=2)] = 2
    partly_labelled: Annotated[
        bool, Option("Not every cell is labelled, so what else the detector finds is not taken for artefacts.")
    ] = False
    open: Annotated[bool, Option("Fit the layer that ships, to open data alone.", "Open layer")] = False
    data: Annotated[tuple[Path, ...], Option("A folder of labelled open pictures. Repeatable.", "Open layer", "DIR")] = ()
    rendered: Annotated[
        tuple[Path, ...],
        Option("A folder of rendered film: teaches names, and makes no film known. Repeatable.", "Open layer", "DIR"),
    ] = ()
    rendered_share: Annotated[float, Option("What rendered film weighs among the open cells.", "Open layer", low=0.01, high=0.99)] = 0.3
    open_cells: Annotated[Path | None, Option("Also write the cells, for site layers to be mixed with.", "Open layer", "FILE")] = None
    licence: Annotated[
        tuple[str, ...],
        Option("Licence of a folder that the bundle's card does not name. Repeatable.", "Open layer", "NAME=TEXT"),
    ] = ()
    leave_out: Annotated[str, Option("What is left out to calibrate on.", "Open layer", choices=("source", "patient"))] = "source"
    colour_copies: Annotated[int, Option("Copies of each cell with shaken colours.", "Open layer", low=0, high=8)] = 0
    split: Annotated[str, Option("Which split of the folders.")] = "train"
    boxes: Annotated[
        str,
        Option("Cells at the boxes that the detector finds, as when counting, or as labelled.", choices=("found", "labelled")),
    ] = "found"
    pixel_aspect: Annotated[tuple[str, ...], PIXEL_ASPECT] = ()
    name: Annotated[str | None, Option("Name of the layer [default: that of LAYER]; its versions count up.")] = None
    ridge: Annotated[float, Option("Penalty on the weights, a multiple of the number of cells.", low=0.001, high=1000)] = 4.0
    blast_cost: Annotated[float, Option("What a missed blast costs, in other cells told as blasts.", low=0.1, high=100)] = 3.0
    cell_cost: Annotated[float, Option("What a lost white cell costs, in artefacts told as cells.", low=0.1, high=100)] = 4.0
    lost_blasts: Annotated[float, Option("Share of blasts that may be told as artefacts at most.", low=0, high=1)] = 0.02
    right: Annotated[float, Option("Share that must be right of the cells named.", low=0.5, high=0.99)] = 0.85
    seed: Annotated[int, Option("Draws reference cells and colours.", low=0)] = 0
    threads: Annotated[int, Option("Processor threads.", low=1)] = 2
