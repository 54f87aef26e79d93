"""What `attridet transfer` writes: labels in the published layout with their provenance, tables of the pairs, the page's pictures."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.transfer.carry import Carried, Merged, ignore_regions, merge
from calibration.transfer.homography import Float64
from calibration.transfer.sides import Alone, SidePicture
from calibration.transfer.work import PairOutcome
from engines.data.coco import write_json
from engines.data.faults import Place
from engines.data.labels import CellLabel, Picture, PictureLabels
from engines.data.layout import FLAT
from engines.data.writing import Bring, bring, write_txt
from engines.errors import DataError
from engines.preprocess import PAD_VALUE
from engines.taxonomy import Taxonomy

STATUS, MANUAL = "status.csv", "manual.csv"

_NOT_CARRIED = {"area", "iscrowd", "segmentation", "provenance", "confidence", "flags"}
_COLUMNS = (
    "source", "target", "via", "status", "reason", "notes", "model", "matches", "inliers", "inlier_ratio", "residual_px", "scale",
    "rotation_deg", "side_ratio", "perspective", "cover", "overlap", "likeness", "labels", "carried", "lost", "marked", "label_check",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Labelled:
    """A target with what was carried to it: outcomes that carried, their labels merged, what nobody labelled; the split to write in."""

    target: SidePicture
    outcomes: tuple[PairOutcome, ...]
    merged: tuple[Merged, ...]
    ignored: tuple[Float64, ...]
    split: str

    carried: tuple[Carried, ...]

    def label(self, one: Merged) -> tuple[PairOutcome, Carried, int, CellLabel]:
        """PairOutcome, carried labels, place among these, and source label of a merged one."""
        outcome, carried = self.outcomes[one.source], self.carried[one.source]
        return outcome, carried, int(np.flatnonzero(carried.rows == one.row)[0]), outcome.source.cells[one.row]


def gather(outcomes: Iterable[PairOutcome]) -> list[Labelled]:
    """Targets that got labels, each with all its sources, sorted by name. DataError where the split to write in is not plain."""
    by_target: dict[Path, list[PairOutcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.carried is not None:
            by_target[outcome.target.path].append(outcome)
    found = []
    for several in by_target.values():
        target = several[0].target
        carried = tuple(o.carried for o in several if o.carried is not None)
        merged = merge(carried, [o.registration.fit.inliers for o in several])
        ignored = ignore_regions(target.size_hw[::-1], carried)
        found.append(Labelled(target, tuple(several), tuple(merged), tuple(ignored), _split(target, several), carried))
    return sorted(found, key=lambda one: one.target.name)


def _split(target: SidePicture, outcomes: Sequence[PairOutcome]) -> str:
    if target.split != FLAT:
        return target.split
    splits = sorted({o.source.split for o in outcomes})
    if len(splits) > 1:
        names = " and ".join(f"{o.source.name} ({o.source.split})" for o in outcomes[:2])
        raise DataError(f"{target.name} gets labels from several splits: {names}. Patients must stay on one side: use --from-split")
    return "train" if splits[0] == FLAT else splits[0]


def write_labels(
    out: Path, labelled: Sequence[Labelled], taxonomy: Taxonomy, how: Bring, grey_out: bool, about: dict[str, Any]
) -> None:
    """Images, JSON and TXT below `out`, one split each. `about` goes to the top of the JSON, the maps with it."""
    for split in sorted({one.split for one in labelled}):
        ones = [one for one in labelled if one.split == split]
        registrations: list[dict[str, Any]] = []
        pictures = [_picture(one, registrations, taxonomy) for one in ones]
        write_json(out, split, pictures, taxonomy, {"transfer": {**about, "registrations": registrations}})
        write_txt(out, split, pictures, taxonomy)
        for one in ones:
            place = out / "Images" / split / one.target.name
            if grey_out and one.ignored:
                _write_greyed(one, place)
            else:
                bring(one.target.path, place, how)


def _picture(one: Labelled, registrations: list[dict[str, Any]], taxonomy: Taxonomy) -> Picture:
    ids = []
    for outcome in one.outcomes:
        ids.append(len(registrations) + 1)
        registrations.append(_registration(ids[-1], outcome))
    cells = [_cell(one, merged, ids, taxonomy) for merged in one.merged]
    extra = {
        "registrations": ids,
        "labelled_fields": [_flat(c.field) for c in one.carried],
        "ignore_regions": [_flat(region) for region in one.ignored],
    }
    place = Place(one.target.path)
    labels = PictureLabels(one.target.name, place, one.target.size_hw, tuple(cells), extra)
    return Picture(one.target.path, one.target.size_hw, labels)


def _cell(one: Labelled, merged: Merged, ids: Sequence[int], taxonomy: Taxonomy) -> CellLabel:
    outcome, carried, n, label = one.label(merged)
    misfit_px = outcome.registration.fit.residual_px
    x1, y1, x2, y2 = (round(float(v), 3) for v in carried.boxes[n])
    provenance: dict[str, Any] = {
        "source": outcome.source.name,
        "source_bbox": [round(v, 3) for v in label.xywh_px],
        "registration": ids[merged.source],
        "visible": round(float(carried.visible[n]), 4),
        "position_error_px": round(misfit_px, 3) if math.isfinite(misfit_px) else None,
    }
    if merged.doubles:
        others = [(one.outcomes[s].source, row) for s, row in merged.doubles]
        provenance["also_in"] = [{"source": p.name, "category_name": taxonomy.classes[p.cells[row].code]} for p, row in others]
    if "provenance" in label.extra:
        provenance["earlier"] = label.extra["provenance"]
    extra = {k: v for k, v in label.extra.items() if k not in _NOT_CARRIED}
    extra |= {"provenance": provenance, "confidence": round(float(carried.confidence[n]), 4), "flags": notes_of(one, merged)}
    box = (x1, y1, round(x2 - x1, 3), round(y2 - y1, 3))
    return CellLabel(Place(one.target.path), label.code, box, label.attributes, extra=extra)


def notes_of(one: Labelled, merged: Merged) -> list[str]:
    """Why a carried label wants a person's eye: its own marks, and sources that call the cell differently."""
    _, carried, n, label = one.label(merged)
    notes = list(carried.flags[n])
    codes = {one.outcomes[s].source.cells[row].code for s, row in merged.doubles}
    if codes - {label.code}:
        notes.append("sources disagree on the type")
    return notes


def _registration(number: int, outcome: PairOutcome) -> dict[str, Any]:
    found = outcome.registration.fit
    return {
        "id": number,
        "source": outcome.source.name,
        "target": outcome.target.name,
        "via": list(found.via),
        "homography": [] if found.h is None else [[float(v) for v in row] for row in found.h],
        "homography_positions": "pixel middles, source to target",
        **{k: v for k, v in _numbers(outcome).items() if v != ""},
    }


def _flat(polygon: Float64) -> list[float]:
    return [round(float(v), 2) for v in polygon.ravel()]


def _write_greyed(one: Labelled, place: Path) -> None:
    """The target with its unlabelled parts painted grey, boxes that reach into these left whole."""
    image = one.target.read()
    mask = np.zeros(image.shape[:2], np.uint8)
    for region in one.ignored:
        cv2.fillPoly(mask, [np.round((region - 0.5) * 16).astype(np.int32)], 1, shift=4)
    for merged in one.merged:
        _, carried, n, _ = one.label(merged)
        x1, y1, x2, y2 = carried.boxes[n]
        mask[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)] = 0
    image[mask > 0] = PAD_VALUE
    place.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(place), image, [cv2.IMWRITE_JPEG_QUALITY, 97]):
        raise DataError(f"{place}: cannot be written; is the disk full?")


def write_tables(out: Path, outcomes: Sequence[PairOutcome], alone: Sequence[Alone]) -> None:
    """status.csv, one line a pair; manual.csv, what is left for people: refused pairs and pictures without a partner."""
    _write_csv(out / STATUS, _COLUMNS, [_status(o) for o in outcomes])
    rows = [{"source": o.source.name, "target": o.target.name, "reason": "; ".join(o.reasons)} for o in outcomes if not o.accepted]
    rows += [{"source": one.name, "target": "", "reason": one.why} for one in alone]
    _write_csv(out / MANUAL, ("source", "target", "reason"), rows)


def _status(outcome: PairOutcome) -> dict[str, Any]:
    carried = outcome.carried
    return {
        "source": outcome.source.name,
        "target": outcome.target.name,
        "via": " ".join(outcome.registration.fit.via),
        "status": "accepted" if outcome.accepted else "refused",
        "reason": "; ".join(outcome.reasons),
        "notes": "; ".join(outcome.notes),
        **_numbers(outcome),
        "labels": len(outcome.source.cells),
        "carried": "" if carried is None else len(carried),
        "lost": "" if carried is None else len(carried.lost),
        "marked": "" if carried is None else sum(map(bool, carried.flags)),
        "label_check": outcome.label_check,
    }


def _numbers(outcome: PairOutcome) -> dict[str, Any]:
    found = outcome.registration.fit
    numbers: dict[str, Any] = {"model": found.model, "matches": found.matches, "inliers": found.inliers}
    numbers["inlier_ratio"] = round(found.inlier_ratio, 4)
    measured = {} if found.shape is None else vars(found) | vars(found.shape)
    for key in ("residual_px", "scale", "rotation_deg", "side_ratio", "perspective", "cover", "overlap", "likeness"):
        value = float(measured.get(key, math.nan))
        numbers[key] = round(value, 4) if math.isfinite(value) else ""
    return numbers


def _write_csv(file: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, columns)
        writer.writeheader()
        writer.writerows(rows)
