"""`attridet film`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from engines.options import TAXONOMY, Option, Request


@dataclass(frozen=True, kw_only=True)
class FilmRequest(Request):
    """The options of the command; `engines.film.write_dataset` is what it calls."""

    out: Annotated[Path, Option("Folder to write, in the published layout.", argument=True)]
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    train: Annotated[int, Option("Fields of the split train.", low=0)] = 400
    val: Annotated[int, Option("Fields of the split val.", low=0)] = 80
    seed: Annotated[int, Option(low=0)] = 1
    size: Annotated[int, Option("Side of a field in px.", low=64)] = 640
    domain: Annotated[tuple[str, ...], Option("H or L microscope, C1 or C2 camera, as L_C2; repeat for several; default: all.")] = ()
    objective: Annotated[tuple[int, ...], Option("10, 40 or 100; repeat for several; default: 40 and 100.")] = ()
    case: Annotated[
        tuple[str, ...],
        Option("Kind of slide: normal, ALL, AML, APML, CLL, CML, or mixed for types in even shares; repeat."),
    ] = ()
    cut_outs: Annotated[
        Path | None,
        Option("Folder of labelled cells on black ground, laid on the film in place of half of the drawn white cells.", metavar="DIR"),
    ] = None
    licence: Annotated[
        str | None,
        Option("Whose the cut-outs are, and their licence, for the JSON; else what their folder states.", metavar="TEXT"),
    ] = None
    workers: Annotated[int, Option("Processes.", low=1)] = 2


def film(request: FilmRequest) -> None:
    """Render fields of blood film with their truth. They are drawings: a figure on them says nothing about patients."""
    from typing import Any

    from engines.commands.terminal import Terminal
    from engines.film import write_dataset
    from engines.film.cut_outs import stated_licence
    from engines.taxonomy import read_taxonomy

    chosen: dict[str, Any] = {"domains": request.domain, "objectives": request.objective, "cases": request.case}
    with Terminal() as terminal:
        write_dataset(
            request.out,
            fields_train=request.train,
            fields_val=request.val,
            seed=request.seed,
            size_px=(request.size, request.size),
            workers=request.workers,
            taxonomy=read_taxonomy(request.taxonomy),
            cut_outs=request.cut_outs,
            licence=request.licence,
            progress=terminal.counter("rendering"),
            reading=terminal.counter("reading cut-outs"),
            **{name: value for name, value in chosen.items() if value},
        )
        if request.cut_outs is not None:
            licence = request.licence or stated_licence(request.cut_outs)
            if licence is None:
                terminal.warning(f"{request.cut_outs} states no licence; say with --licence whose the cells are")
            terminal.message("a montage: cells of photographs on rendered film. A figure on it says nothing about patients")
        terminal.message(f"written: {request.out}")
