"""Weights of a training run as an engine folder: graphs, card, golden picture, and how far the graphs are from torch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from engines.bundle import Bundle
from engines.data.aspect import check_given, folder_aspect, given_for, read_undone
from engines.decode import Thresholds
from engines.detections import Image
from engines.errors import BundleError, DataError
from engines.evaluation.working_point_choice import at_chosen_point, read_labelled
from engines.evaluation.working_point_request import Weighing
from engines.export.bundle import export_bundle
from engines.export.golden import clear_picture
from engines.export.request import ExportRequest
from engines.export.second_look import NamingFiles
from engines.families.base import Network
from engines.film import require_drawable
from engines.manifest import Card
from engines.network import AttriDet, without_variances
from engines.network.checkpoint import load_any, load_attridet
from engines.pictures import PICTURE_SUFFIXES, list_folder
from engines.progress import SILENT, Reporter
from engines.provenance import LABELLED, UNLABELLED, Training, data_of

CHECK_IMAGES = 20
_WITHOUT_ATTRIBUTES = "A second pair of eyes beside a technician: proposes white blood cells for review; it tells no attributes."
"""The intended use of a network that describes no cell, where its card does not say another."""
AUTO = "auto"
"""The golden picture is searched, see `engines.export.golden`."""
_NOTES = {
    LABELLED: "labelled: its labels were learnt from",
    UNLABELLED: "unlabelled: its pictures were shown, no label of them was learnt from",
}


def export(request: ExportRequest, reporter: Reporter = SILENT) -> Bundle:
    """Export as `attridet export` does; the bundle's manifest says how far its graphs are from torch. Raises EnginesError."""
    if request.side_px % 32:
        raise BundleError(f"--input {request.side_px}: the network's input must be a multiple of 32 px, e.g. 640")
    _check_choice(request)
    model, state = load_any(request.checkpoint)
    if request.plain_scores and not isinstance(model, AttriDet):
        raise DataError(f"--plain-scores: {request.checkpoint} is of the family {model.family}, which has no variances; leave it out")
    iou = request.iou if "iou" in request.given else min(model.iou, 0.99)
    if str(request.golden) == AUTO:
        require_drawable(model.taxonomy)  # found now rather than after the graphs
    # What is learnt now rather than after the graphs: pictures on which nothing can be weighed, and a patient on both sides.
    chosen_on = read_labelled(request.data, request.split, model.taxonomy, data_of(state), reporter) if request.data else None
    if chosen_on is None:
        bundle = _written(request, request.out, model, state, iou, reporter)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            draft = _written(request, Path(scratch) / "draft", model, state, iou, reporter)
            bundle = at_chosen_point(draft, request.out, chosen_on, request, request.replace, reporter)
    if chosen_on is None and "confidence" not in request.given:
        halved = isinstance(model, AttriDet) and model.detect.variances and not request.plain_scores
        why = " An adapted network's scores are multiplied by its box certainty: at it, far fewer cells may be shown." if halved else ""
        reporter.warning(
            f"the working point is the default, confidence {request.confidence:g}, chosen on no labelled split.{why} Choose it: "
            "name labelled pictures by --data DIR, which writes it and the split's name into the manifest "
            f"(of this folder: attridet working-point {request.out} NEW --data DIR:SPLIT)"
        )
    golden = bundle.golden()
    if golden is None or not len(golden[1]):
        reporter.warning("nothing is found on the golden picture, so it proves little; name another with --golden")
    return bundle


def _check_choice(request: ExportRequest) -> None:
    """Raises BundleError for options that contradict each other or say nothing."""
    if request.data is None:
        if idle := [name for name in ("split", *(one.name for one in fields(Weighing) if one.init)) if name in request.given]:
            raise BundleError(
                f"--{idle[0].replace('_', '-')}: is of the working point that --data chooses; name --data DIR, or leave it out"
            )
        return
    if "confidence" in request.given:
        raise BundleError(f"--confidence {request.confidence:g}: --data {request.data} chooses it. Leave one of them out.")
    if request.out.exists() and not request.replace:
        raise BundleError(f"{request.out}: exists already. Choose another folder, or say --replace.")


def _written(request: ExportRequest, out: Path, model: Network, state: Mapping[str, Any], iou: float, reporter: Reporter) -> Bundle:
    """The folder `out` at the confidence of the request."""
    auto = str(request.golden) == AUTO
    return export_bundle(
        without_variances(model) if request.plain_scores and isinstance(model, AttriDet) else model,
        out,
        _fitting(read_card(request.card) if request.card else card_of(request.out, state, request.checkpoint), model),
        (request.side_px, request.side_px),
        check_images(request.images, None if auto else request.golden, request.pixel_aspect, reporter),
        thresholds=Thresholds(request.confidence, iou, request.max_boxes),
        scale_up=request.scale_up,
        keep_weights=request.keep_weights,
        replace=request.replace,
        readme=_text(request.readme) if request.readme else None,
        golden=partial(clear_picture, progress=reporter.counter("searching a golden picture")) if auto else None,
        encoder=load_attridet(request.second_look_weights)[0] if request.second_look_weights else None,
        naming=NamingFiles(request.layer, request.open_cells),
    )


def check_images(folder: Path, golden: Path | None, pixel_aspect: Sequence[str] = (), reporter: Reporter = SILENT) -> list[Image]:
    """Up to 20 pictures of a folder, spread over it, the golden one first; squeezed ones undone. Raises DataError, naming which.

    pixel_aspect: as of the option.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of pictures to verify the export on")
    paths = sorted(list_folder(folder).pictures)
    if not paths:
        raise DataError(f"{folder}: holds no picture to verify the export on; supported: {', '.join(sorted(PICTURE_SUFFIXES))}")
    spread = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, CHECK_IMAGES).round().astype(int))]
    wanted = ([golden] if golden else []) + spread
    places = list(dict.fromkeys(path.parent for path in wanted))
    check_given(pixel_aspect, places)
    aspects = {place: folder_aspect(place, given_for(place, pixel_aspect)) for place in places}
    for place, aspect in aspects.items():
        if aspect.words:
            reporter.warning(f"{place}: {aspect.words}")
    return [read_undone(path, aspects[path.parent].value) for path in wanted]


def read_card(path: Path) -> Card:
    """The card from a YAML file. Raises DataError with file and line, or file and key."""
    try:
        raw = yaml.safe_load(_text(path))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}, line {line}: not YAML ({error.problem})") from error
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc'])) or 'card'}: {first['msg']}. Correct the card.") from error


def _fitting(card: Card, model: Network) -> Card:
    """The card without the promise of attributes where the network tells none."""
    if model.describes or card.intended_use != Card.model_fields["intended_use"].default:
        return card
    return card.model_copy(update={"intended_use": _WITHOUT_ATTRIBUTES})


def card_of(out: Path, state: Mapping[str, Any], checkpoint: Path) -> Card:
    """A card that claims nothing, from what the weights' file itself knows: data with counts and roles, seed, command, epochs."""
    data = tuple(one if one.note else one.model_copy(update={"note": _NOTES.get(one.role, "")}) for one in data_of(state))
    epochs = state.get("epoch", state.get("epochs"))
    training = Training(
        data=data,
        seed=state.get("seed"),
        command=str(state.get("command") or f"not kept; exported from {checkpoint.name}"),
        epochs=epochs,
        note="written without a card",
    )
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in out.name.lower()).lstrip("._-") or "attridet"
    return Card(name=name[:100], version="0.0.0", licence="not stated", training=training)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Name another file.") from error
