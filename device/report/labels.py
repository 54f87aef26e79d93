"""Reviewed cells as labels to learn from: the layout of LeukemiaAttri, which `attridet data check`, `train` and `learn` read.

Only what a person looked at by itself or named is a label; all other ground of the field, cells that nobody looked at included, is
written as regions to ignore, in which nothing is learnt or scored. No specimen, operator or reviewer leaves with it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from device.errors import StoreError
from device.mqtt.message import one_line
from device.report.case import Case, DoubtfulSignatureError
from device.review.journal import Act
from device.slide.model import Cell, Field
from device.slide.picture_state import count_of
from device.slide.verdict import ARTEFACT, NOT_CLASSED, said
from engines.errors import DataError
from engines.files import atomic_folder
from engines.taxonomy import Taxonomy
from engines.version import version

SPLIT = "train"
_THINNEST_PX = 3
"""A strip of ground that is narrower is no region: readers take boxes of 2 px or less for faults."""
_UNSTATED = "UNSTATED"
"""Where a published file name has the diagnosis: nobody states one here."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Written:
    """What was written, and what could not be: fields without a picture, cells that nobody gave a type."""

    slides: int
    fields: int
    cells: int
    fields_without_picture: int
    cells_without_type: int
    slides_in_doubt: int = 0
    damaged: tuple[str, ...] = ()
    """Slides that the record holds and that cannot be read."""

    @property
    def words(self) -> str:
        """In one line."""
        found = f"{count_of(self.cells, 'cell')} on {count_of(self.fields, 'field')} of {count_of(self.slides, 'slide')}"
        left = [
            f"{self.fields_without_picture} fields have no stored picture" if self.fields_without_picture else "",
            f"{self.cells_without_type} reviewed cells have no type" if self.cells_without_type else "",
            f"{count_of(self.slides_in_doubt, 'slide')} left out: the journal does not bear the signature out"
            * bool(self.slides_in_doubt),
            f"damaged and left out: {', '.join(map(one_line, self.damaged))}; see leukoscope verify" * bool(self.damaged),
        ]
        return f"{found}{''.join(f'; {words}' for words in left if words)}"


def write_labels(cases: Sequence[Case], pictures: Path, out: Path) -> Written:
    """Write the signed slides among `cases` to the new folder `out`. All are of one taxonomy.

    pictures: the folder of whole fields beside the record. Raises StoreError: nothing to write, several taxonomies, `out` is there.
    """
    signed, in_doubt = _signed(cases)
    if not signed:
        raise StoreError("no signed slide to take labels from; review and sign one, or name another --since")
    taxonomy = signed[0].taxonomy
    if other := next((case for case in signed if case.taxonomy.meaning != taxonomy.meaning), None):
        words = f"slides {signed[0].slide.slide_id} and {other.slide.slide_id} were counted with different taxonomies"
        raise StoreError(f"{words}; export them apart, with --since")
    names = _patients(signed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    no_picture = no_type = cells = 0
    try:
        with atomic_folder(out) as folder:
            (folder / "Images" / SPLIT).mkdir(parents=True)
            for case in signed:
                patient, film = names[case.slide.slide_id]
                for field in case.slide.fields:
                    labelled, untyped = _labels(case, field)
                    no_type += untyped
                    if not labelled:
                        continue
                    source = _picture(pictures, case, field)
                    if source is None:
                        no_picture += 1
                        continue
                    name = f"{patient}_{field.index}_{film}_{_objective(case)}_{_UNSTATED}.jpg"
                    shutil.copyfile(source, folder / "Images" / SPLIT / name)
                    images.append(_image(len(images) + 1, name, case, field))
                    annotations += _annotations(len(images), len(annotations), labelled, field, case)
                    cells += len(labelled)
            if not images:
                why = f"{no_picture} fields have no stored picture" if no_picture else "no cell of them was looked at or named"
                raise StoreError(f"nothing to write of {len(signed)} signed slides: {why}")
            _write_json(folder, images, annotations, taxonomy, len(signed))
    except DataError as error:
        raise StoreError(str(error)) from error
    return Written(len({image["leukoscope"]["slide"] for image in images}), len(images), cells, no_picture, no_type, in_doubt)


def _signed(cases: Sequence[Case]) -> tuple[list[Case], int]:
    """The signed ones, and how many are called so while their journal does not bear it out."""
    signed, in_doubt = [], 0
    for case in cases:
        try:
            signed += [case] if case.signature is not None else []
        except DoubtfulSignatureError:
            in_doubt += 1
    return signed, in_doubt


def _patients(cases: Sequence[Case]) -> dict[str, tuple[str, int]]:
    """By slide: a name that slides of one specimen share, made of the oldest of them, and the slide's number among these."""
    of_specimen: dict[str, list[str]] = {}
    for case in sorted(cases, key=lambda case: (case.slide.started_at, case.slide.slide_id)):
        of_specimen.setdefault(case.slide.specimen or f"slide {case.slide.slide_id}", []).append(case.slide.slide_id)
    # no underscore: it parts the pieces of a published file name
    plain = {ids[0]: "s" + "".join(c for c in ids[0] if c.isalnum()) for ids in of_specimen.values()}
    return {slide_id: (plain[ids[0]], n) for ids in of_specimen.values() for n, slide_id in enumerate(ids, 1)}


def _objective(case: Case) -> int:
    """As published names have it: 1000 is 100x with its eyepiece."""
    calibration = case.stored.provenance.calibration
    return {100: 1000, 40: 400, 10: 100}.get(0 if calibration is None else calibration.objective, 1000)


def _labels(case: Case, field: Field) -> tuple[list[tuple[Cell, str, str]], int]:
    """The cells of a field that a person spoke of, each with its class and what the person said, sightings of cells counted elsewhere
    too; and how many of them have no class (kind uncertain, not classed).
    """
    taxonomy, foreign = case.taxonomy, bool(case.slide.foreign)
    whole = {cell.cell_id: cell for cell in case.slide.cells}
    found, untyped = [], 0
    for sighting in (*field.cells, *field.seen):
        entry, cell = case.looked_at.get(sighting.cell_id), whole.get(sighting.cell_id)
        if entry is None or cell is None:
            continue
        word = said(cell, taxonomy, foreign)
        name = word if word in taxonomy.classes else _artefact(word, taxonomy)
        if not name:
            untyped += 1
            continue
        found.append((replace(cell, box_px=_within(sighting.box_px, field.size_px)), name, word))
    return found, untyped


def _artefact(word: str, taxonomy: Taxonomy) -> str:
    """What the layout calls that only a person says: nucleated red cells and smudge cells are lumped with the artefacts, as the
    published labels do. "" for a cell whose type nobody gave."""
    is_none = word == ARTEFACT or (taxonomy.person_class(word) is not None and word != NOT_CLASSED)
    return taxonomy.artefact if is_none and taxonomy.artefact in taxonomy.classes else ""


def _within(box: Box, size_px: tuple[int, int]) -> Box:
    x1, y1, x2, y2 = box
    return max(0.0, x1), max(0.0, y1), min(float(size_px[0]), x2), min(float(size_px[1]), y2)


def _picture(pictures: Path, case: Case, field: Field) -> Path | None:
    """The whole field's picture, if it was kept and is of the field's size."""
    path = pictures / field.picture
    if not field.picture or not path.is_file():
        return None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or image.shape[1::-1] != field.size_px:
        raise StoreError(
            f"{path}: is no picture of {field.size_px[0]} x {field.size_px[1]} px; slide {case.slide.slide_id} was not written"
        )
    return path


def ground(size_px: tuple[int, int], boxes: Iterable[Box]) -> list[tuple[int, int, int, int]]:
    """All of the picture that no box touches, as rectangles x1 y1 x2 y2 that do not overlap; strips too thin for one are left out."""
    taken = [(math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)) for x1, y1, x2, y2 in boxes]
    cuts = sorted({0, size_px[1], *(y for _, y1, _, y2 in taken for y in (y1, y2))})
    done: list[tuple[int, int, int, int]] = []
    open_: dict[tuple[int, int], int] = {}
    for top, bottom in zip(cuts, [*cuts[1:], size_px[1]], strict=True):
        free, left = [], 0
        for x1, y1, x2, y2 in sorted(taken):
            if y1 < bottom and y2 > top:
                free.append((left, x1))
                left = max(left, x2)
        here = {(a, b) for a, b in (*free, (left, size_px[0])) if b > a} if bottom > top else set()
        done += [(a, since, b, top) for (a, b), since in open_.items() if (a, b) not in here]
        open_ = {span: open_.get(span, top) for span in here}
    return sorted((x1, y1, x2, y2) for x1, y1, x2, y2 in done if min(x2 - x1, y2 - y1) >= _THINNEST_PX)


def _image(number: int, name: str, case: Case, field: Field) -> dict[str, Any]:
    about = {"slide": case.slide.slide_id, "field": field.index, "revision": case.slide.revision, "simulated": case.simulated}
    return {"id": number, "file_name": name, "width": field.size_px[0], "height": field.size_px[1], "leukoscope": about}


def _annotations(image: int, before: int, labelled: Sequence[tuple[Cell, str, str]], field: Field, case: Case) -> list[dict[str, Any]]:
    taxonomy = case.taxonomy
    made: list[dict[str, Any]] = []
    for cell, name, word in labelled:
        pre, entry = case.pre.get(cell.cell_id), case.looked_at[cell.cell_id]
        x1, y1, x2, y2 = cell.box_px
        provenance = {
            "slide": case.slide.slide_id,
            "cell": cell.cell_id,
            "act": entry.act.value,  # who it was stays in the record
            "said": word,
            "before_review": "" if pre is None else said(pre, taxonomy, bool(case.slide.foreign)),
            "box_by": "person" if entry.act is Act.ADDED or pre is None else "network",
        }
        made.append(
            {
                **_head(before + len(made) + 1, image, name, taxonomy, (x1, y1, x2, y2)),
                "iscrowd": 0,
                **{(*a.json, a.key)[0]: -1 for a in taxonomy.attributes},  # no person spoke of attributes
                "provenance": provenance,
            }
        )
    none = taxonomy.artefact if taxonomy.artefact in taxonomy.classes else taxonomy.classes[0]
    for region in ground(field.size_px, (cell.box_px for cell, _, _ in labelled)):
        made.append({**_head(before + len(made) + 1, image, none, taxonomy, region), "iscrowd": 1})
    return made


def _head(number: int, image: int, name: str, taxonomy: Taxonomy, box: tuple[float, float, float, float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    wide, high = round(x2 - x1, 3), round(y2 - y1, 3)
    kind = {"category_id": taxonomy.classes.index(name), "category_name": name}
    return {"id": number, "image_id": image, **kind, "bbox": [round(x1, 3), round(y1, 3), wide, high], "area": round(wide * high, 2)}


def _write_json(folder: Path, images: list[Any], annotations: list[Any], taxonomy: Taxonomy, slides: int) -> None:
    about = {
        "made_by": f"leukoscope {version()}",
        "slides": slides,
        "what": "cells that a person looked at or named on signed slides; other ground is to be ignored; attributes were not reviewed",
    }
    categories = [{"id": code, "name": name} for code, name in enumerate(taxonomy.classes)]
    parts = [f'"leukoscope": {json.dumps(about)}']
    for key, values in (("images", images), ("annotations", annotations), ("categories", categories)):
        parts.append(f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, values)) + "\n]")
    (folder / "json_labels").mkdir()
    (folder / "json_labels" / f"{SPLIT}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    (folder / "pictures.yaml").write_text("pixel_aspect: 1 # frames as the camera gave them\n", encoding="utf-8")
