"""`attridet import-weights`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from engines.errors import DataError
from engines.families import DEFAULT, FAMILIES
from engines.files import check_file
from engines.options import TAXONOMY, Option, Request


@dataclass(frozen=True, kw_only=True)
class ImportRequest(Request):
    """The options of the command; `engines.network.foreign.import_weights` is what it calls."""

    file: Annotated[
        Path,
        Option(
            "A published YOLOv5 checkpoint, n to x, or AttriDet's detector (.pt); with --family a ResNet-18, ResNet-50 or FCOS of "
            "torchvision (.pth).",
            argument=True,
        ),
    ]
    attribute_cnn: Annotated[Path | None, Option("AttriDet's attribute CNN (last_weights.pth).", argument=True)] = None
    out: Annotated[Path, Option("The .safetensors to write: for train --initial, or export.")]
    family: Annotated[
        str,
        Option(
            "Of the detector that shall begin with a ResNet, such as fcos (docs/families.md).", metavar="NAME", choices=tuple(FAMILIES)
        ),
    ] = DEFAULT
    taxonomy: Annotated[Path | None, TAXONOMY] = None
    json: Annotated[Path | None, Option("Also write the account of every entry here.")] = None
    seed: Annotated[int, Option("Of the random start of what is not taken.", low=0)] = 0
    covered_only: Annotated[bool, Option("Without the attributes that the CNN does not tell: for use without training.")] = False
    replace: Annotated[bool, Option("Replace a file that is there.")] = False


def import_weights(request: ImportRequest) -> None:
    """Take over somebody else's weights without running anything of theirs, and say what fits and what does not."""
    _check(request)
    from engines.commands.import_tables import licence_of, remarks, table
    from engines.commands.terminal import Terminal
    from engines.families.base import Network
    from engines.files import sha256_of, write_json
    from engines.network.foreign import import_resnet
    from engines.network.foreign import import_weights as take
    from engines.network.weights import save_weights
    from engines.taxonomy import read_taxonomy

    taxonomy = read_taxonomy(request.taxonomy)
    model: Network
    if request.family != DEFAULT:
        model, transfer = import_resnet(request.file, request.family, taxonomy, request.seed)
    else:
        model, transfer = take(request.file, request.attribute_cnn, taxonomy, request.seed)
    if request.covered_only:
        attributes = tuple(a for a in taxonomy.attributes if a.key in transfer.attributes_taken)
        if not attributes:
            raise DataError(f"{request.attribute_cnn}: no attribute of it was taken, so --covered-only would leave none; leave it out")
        model, transfer = take(request.file, request.attribute_cnn, replace(taxonomy, attributes=attributes), request.seed)
    files = {path.name: sha256_of(path) for path in (request.file, request.attribute_cnn) if path is not None}
    told = {"files": files, "seed": request.seed, "licence": licence_of(transfer)}
    summary = {k: v for k, v in transfer.to_dict().items() if k not in ("entries", "left_out", "replaced")}
    save_weights(model, request.out, {"imported": {**told, **summary}})
    if request.json is not None:
        write_json(request.json, {**told, **transfer.to_dict()})
    terminal = Terminal()
    terminal.console.print(table(transfer, request.file.name))
    for line in remarks(transfer, taxonomy):
        terminal.console.print(line, soft_wrap=True)
    terminal.message(f"written: {request.out}")


def _check(request: ImportRequest) -> None:
    if request.out.suffix != ".safetensors":
        raise DataError(f"--out {request.out}: our weights are .safetensors; name it so")
    check_file(request.out)
    check_file(request.json)
    if request.out.exists() and not request.replace:
        raise DataError(f"{request.out}: is there already; name another file, or give --replace")
    if request.family != DEFAULT and (request.covered_only or request.attribute_cnn is not None):
        what = "--covered-only" if request.covered_only else str(request.attribute_cnn)
        raise DataError(f"{what}: {request.family} tells no attributes; leave it out")
    if request.covered_only and request.attribute_cnn is None:
        raise DataError("--covered-only: no attribute CNN was given, so no attribute would be left; name it as the second file")
