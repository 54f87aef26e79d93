"""COCO detection JSON with the attributes of the published labels, read with the place of every annotation and written one a line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.json_text import Entry, JsonText, walk
from engines.data.labelled_regions import KEY as LABELLED_REGION
from engines.data.labelled_regions import region_boxes
from engines.data.labels import CellLabel, IgnoredRegion, Picture, PictureLabels, sound_box
from engines.data.masks import Box, segmentation_box
from engines.data.vocabulary import attribute_codes, class_code, json_code, json_values, nearest_class
from engines.taxonomy import Taxonomy

_LISTS = ("images", "annotations", "categories")
_IMAGE_KEYS = {"id", "file_name", "width", "height"}
_ANNOTATION_KEYS = {"id", "image_id", "category_id", "category_name", "bbox"}


@dataclass(frozen=True, eq=False)
class CocoLabels:
    """A JSON file as labels. pictures: by file name as it stands there. extra: what is at the top besides the three lists."""

    pictures: dict[str, PictureLabels]
    extra: Mapping[str, Any]


def read_coco(file: Path, taxonomy: Taxonomy, report: Report) -> CocoLabels | None:
    """The labels of a JSON file; what cannot be understood goes to `report` with line and column and is left out.

    None where the file as a whole cannot be understood.
    """
    try:
        text = JsonText(file, file.read_bytes().decode("utf-8-sig"))
        lists, extra = walk(text, _LISTS)
    except json.JSONDecodeError as error:
        words = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        fault = Fault(Kind.MALFORMED_JSON, Place(file, error.lineno, error.colno), words)
    except UnicodeDecodeError as error:
        fault = Fault(Kind.MALFORMED_JSON, Place(file), f"not UTF-8 at byte {error.start}; write the file again as UTF-8")
    except (OSError, RecursionError) as error:
        fault = Fault(Kind.MALFORMED_JSON, Place(file), f"cannot be read: {error}")
    else:
        absent = [key for key in ("images", "annotations") if key not in lists]
        if not absent:
            return _Reading(text, taxonomy, report).labels(lists, extra)
        fault = Fault(Kind.NOT_COCO, Place(file), f"not a COCO detection file: no list {' and no list '.join(absent)}")
    report(fault)
    return None


@dataclass(frozen=True)
class _Listed:
    """An image as the file lists it. key: its id. name: without folders. size_hw: None where the file does not say."""

    key: int | str
    name: str
    value: dict[str, Any]
    offset: int
    size_hw: tuple[int, int] | None


class _Reading:
    """One pass over the lists of one file."""

    def __init__(self, text: JsonText, taxonomy: Taxonomy, report: Report) -> None:
        self.text, self.taxonomy, self._report = text, taxonomy, report
        self.categories: dict[int, str] = {}
        self.boxed_outlines: list[int] = []
        self.misread: set[str] = set()
        self._codes: dict[object, int | None] = {}

    def report(self, kind: Kind, offset: int, message: str) -> None:
        self._report(Fault(kind, self.text.place(offset), message))

    def labels(self, lists: dict[str, list[Entry]], extra: dict[str, Any]) -> CocoLabels:
        for value, offset in lists.get("categories", ()):
            try:
                self.categories[_whole_number(value["id"], "id")] = str(value["name"])
            except (KeyError, TypeError, ValueError):
                self.report(Kind.NOT_COCO, offset, "a category needs id (a number) and name")
        listed = self._images(lists["images"])
        annotations = lists["annotations"]
        images, part_of = self._parts(listed, annotations)
        found: dict[int, list[CellLabel | IgnoredRegion]] = defaultdict(list)
        seen: set[tuple[int, str]] = set()
        for number, (value, offset) in enumerate(annotations):
            part = part_of[number] if part_of else 0
            image = self._image_of(value, offset, images[part])
            if image is None:
                continue
            key = (part, str(value.get("id", f"at {offset}")))
            who = f"{image.name}, annotation {value.get('id', '?')}"
            if key in seen:
                self.report(Kind.ANNOTATION_ID_TWICE, offset, f"{who}: this id is already taken")
            seen.add(key)
            label = self._annotation(value, offset, who)
            if label is not None:
                found[image.offset].append(label)
        if self.boxed_outlines:
            words = f"{len(self.boxed_outlines)} annotations have an outline and no bbox; the boxes around the outlines are read"
            self.report(Kind.OUTLINES, self.boxed_outlines[0], words)
        return CocoLabels(self._pictures([image for part in images for image in part.values()], found), extra)

    def _pictures(self, images: Sequence[_Listed], found: Mapping[int, list[CellLabel | IgnoredRegion]]) -> dict[str, PictureLabels]:
        """Labels by file name, those of an image listed under two ids taken together."""
        pictures: dict[str, PictureLabels] = {}
        folders: dict[str, str] = {}
        for image in images:
            folder = PureWindowsPath(image.value["file_name"]).parent.as_posix()
            other = folders.setdefault(image.name, folder)
            before = pictures.get(image.name)
            if other != folder and "." not in (other, folder):
                words = f"{folder}/{image.name} and {other}/{image.name} have one file name; name each picture differently"
                self.report(Kind.NAME_TWICE, image.offset, words)
            elif before is not None:
                message = f"{image.name} is listed a second time (first at {before.place}); its labels are taken together"
                self.report(Kind.IMAGE_LISTED_TWICE, image.offset, message)
            place = before.place if before else self.text.place(image.offset)
            rest = {k: v for k, v in image.value.items() if k not in _IMAGE_KEYS}
            outlines = rest.pop("ignore_regions", ())
            try:
                marked = [IgnoredRegion(place, box) for outline in outlines if (box := segmentation_box(outline))]
            except (TypeError, ValueError) as error:
                self.report(Kind.NOT_COCO, image.offset, f"{image.name}: ignore_regions is no list of outlines: {error}")
                marked = []
            here = found.get(image.offset, ())
            together = (*(before.cells if before else ()), *(one for one in here if isinstance(one, CellLabel)))
            ignored = (*(before.ignored if before else ()), *(one for one in here if isinstance(one, IgnoredRegion)), *marked)
            labelled = self._labelled(image, rest, before)
            pictures[image.name] = PictureLabels(image.name, place, image.size_hw, together, rest, ignored, labelled)
        return pictures

    def _labelled(self, image: _Listed, rest: dict[str, Any], before: PictureLabels | None) -> tuple[Box, ...] | None:
        """The part of an image that was labelled, taken out of `rest`; of one listed twice both parts, and all where either says so."""
        stated = rest.pop(LABELLED_REGION, None)
        try:
            boxes = None if stated is None else region_boxes(stated)
        except ValueError as error:
            self.report(Kind.NOT_COCO, image.offset, f"{image.name}: {LABELLED_REGION}: {error}")
            boxes = ()
        if before is None or boxes is None:
            return boxes
        return None if before.labelled is None else (*before.labelled, *boxes)

    def _images(self, entries: list[Entry]) -> list[_Listed]:
        """The images; what is listed again in the same words, once a box for instance, is passed over and said once."""
        images: list[_Listed] = []
        known: set[tuple[int | str, str]] = set()
        again: list[_Listed] = []
        for value, offset in entries:
            try:
                name = value["file_name"]
                if not isinstance(name, str) or not name:
                    raise TypeError(f"file_name is {name!r}; text is needed")
                image = _Listed(_key(value["id"], "id"), PureWindowsPath(name).name, value, offset, _size_hw(value))
            except KeyError as error:
                self.report(Kind.NOT_COCO, offset, f"an image needs id and file_name; here is no {error.args[0]}")
            except (TypeError, ValueError) as error:
                self.misread.add(str(value.get("id")) if isinstance(value, dict) else "")
                self.report(Kind.NOT_COCO, offset, f"an image is not as it should be: {error}")
            else:
                (again if (image.key, name) in known else images).append(image)
                known.add((image.key, name))
        if again:
            words = f"{len(again)} images are listed again with the same id and name, {again[0].name} first; each is read once"
            self.report(Kind.IMAGE_REPEATED, again[0].offset, words)
        return images

    def _parts(self, listed: Sequence[_Listed], annotations: Sequence[Entry]) -> tuple[list[dict[int | str, _Listed]], list[int]]:
        """Images by id, a mapping for each of the files that were joined, and the part of each annotation; nothing where none were.

        Files were joined where ids start again among images and annotations alike, and each annotation finds its image within its part.
        """
        by_id: dict[int | str, _Listed] = {}
        doubles = [image for image in listed if by_id.setdefault(image.key, image) is not image]
        if not doubles:
            return [by_id], []
        ids, owners = ([entry.get(key) if isinstance(entry, dict) else None for entry, _ in annotations] for key in ("id", "image_id"))
        for falls in (False, True):
            cut = _cut([image.key for image in listed], falls)
            parts: list[dict[int | str, _Listed]] = [{} for _ in range(cut[-1] + 1)]
            for image, part in zip(listed, cut, strict=True):
                parts[part][image.key] = image
            for part_of in (_cut(ids, falls), _cut(owners, falls=True, again=False)):
                if part_of and part_of[-1] == cut[-1] and all(o in parts[p] for o, p in zip(owners, part_of, strict=True)):
                    second = next(image for image, part in zip(listed, cut, strict=True) if part)
                    words = f"ids start again at {second.name}: {len(parts)} label files joined, each is read with its own ids"
                    self.report(Kind.FILES_JOINED, second.offset, words)
                    return parts, part_of
        for image in doubles:
            both = f"{image.name} and to {by_id[image.key].name}"
            words = f"image id {image.key} is given to {both}; whose the annotations are is not known"
            self.report(Kind.IMAGE_ID_TWICE, image.offset, words)
        return [by_id], []

    def _image_of(self, value: Any, offset: int, images: Mapping[int | str, _Listed]) -> _Listed | None:
        try:
            key = _key(value["image_id"], "image_id")
        except (KeyError, TypeError, ValueError, AttributeError):
            self.report(Kind.NOT_COCO, offset, "an annotation needs image_id and bbox (x, y, width, height)")
            return None
        if key not in images and str(value["image_id"]) not in self.misread:
            self.report(Kind.ORPHAN, offset, f"annotation {value.get('id', '?')}: image_id {key} is no image of this file")
        return images.get(key)

    def _annotation(self, value: dict[str, Any], offset: int, who: str) -> CellLabel | IgnoredRegion | None:
        place = self.text.place(offset)
        try:
            box = tuple(float(v) for v in value.get("bbox") or ()) or segmentation_box(value.get("segmentation"))
            if box is None:
                raise ValueError
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            self.report(Kind.NOT_COCO, offset, f"{who}: an annotation needs image_id and bbox (x, y, width, height)")
            return None
        if len(box) != 4:
            self.report(Kind.BOX_IMPOSSIBLE, offset, f"{who}: the box has {len(box)} numbers; it needs x, y, width, height")
        crowd = value.get("iscrowd") in (1, True, "1")
        code = self._code(value.get("category_name") or self._named_by_id(value)) if crowd else self._class(value, offset, who)
        if (code is None and not crowd) or len(box) != 4 or not sound_box(box, place, who, self._report):
            return None
        xywh_px = (box[0], box[1], box[2], box[3])
        extra = {k: v for k, v in value.items() if k not in _ANNOTATION_KEYS}
        if crowd or code is None:
            named = {} if code is None else {"category_id": code, "category_name": self.taxonomy.classes[code]}
            return IgnoredRegion(place, xywh_px, extra | named)
        self.boxed_outlines += [] if value.get("bbox") else [offset]
        raw, read = json_values(value, self.taxonomy)
        found = attribute_codes(raw, self.taxonomy, lone_two_is_odd=True)
        for kind, messages in ((Kind.UNKNOWN_VALUE, found.wrong), (Kind.ODD_VALUE, found.odd)):
            for message in messages:
                self.report(kind, offset, f"{who}: {message}")
        return CellLabel(place, code, xywh_px, tuple(found.codes), 0, {k: v for k, v in extra.items() if k not in read})

    def _class(self, value: dict[str, Any], offset: int, who: str) -> int | None:
        """The class by name; by the category's id where the annotation bears no name."""
        by_id = self._named_by_id(value)
        name = value.get("category_name") or by_id
        code = self._code(name)
        if code is None:
            unknown = f"unknown class '{name}'{nearest_class(name, self.taxonomy)}"
            self.report(Kind.UNKNOWN_CLASS, offset, f"{who}: {unknown if name else 'neither category_name nor a known category_id'}")
        elif by_id is not None and self._code(by_id) != code:
            message = f"{who}: category_name is '{name}', category_id {value['category_id']} is '{by_id}'; the name is taken"
            self.report(Kind.CLASS_DISAGREES, offset, message)
        return code

    def _named_by_id(self, value: dict[str, Any]) -> str | None:
        try:
            return self.categories.get(_whole_number(value["category_id"], "category_id"))
        except (KeyError, TypeError, ValueError):
            return None

    def _code(self, name: object) -> int | None:
        """`class_code`, asked once for each spelling: a file has few names and very many annotations."""
        if not isinstance(name, str):
            return None
        if name not in self._codes:
            self._codes[name] = class_code(name, self.taxonomy)
        return self._codes[name]


def _size_hw(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width as stated; None where they are not."""
    height, width = image.get("height"), image.get("width")
    return None if height is None or width is None else (_whole_number(height, "height"), _whole_number(width, "width"))


def _whole_number(value: object, what: str) -> int:
    """A whole number, also as "480.0"."""
    number = float(value) if isinstance(value, int | float | str) else float("nan")
    if not number.is_integer():
        raise ValueError(f"{what} is {value!r}; a whole number is needed")
    return int(number)


def _key(value: object, what: str) -> int | str:
    """An id: a whole number, or a text such as a UUID."""
    if isinstance(value, str) and value and not value.strip().isdecimal():
        return value
    return _whole_number(value, what)


def _cut(ids: Sequence[Any], falls: bool, again: bool = True) -> list[int]:
    """The part of each of some ids: a new one begins where an id comes `again`, or `falls` below the first of its part."""
    parts: list[int] = []
    seen: set[Any] = set()
    part, first, last = 0, None, None
    for value in ids:
        below = falls and isinstance(value, int) and isinstance(last, int) and value < (first if again else last)  # type: ignore[operator]  # int, as last is
        if below or (again and value in seen):
            part, seen, first = part + 1, set(), None
        seen.add(value)
        first, last = value if first is None else first, value
        parts.append(part)
    return parts


def write_json(root: Path, split: str, pictures: Iterable[Picture], taxonomy: Taxonomy, extra: Mapping[str, Any] | None = None) -> None:
    """Write the labelled among `pictures` to `json_labels/{split}.json` as the published JSON does, but one annotation a line.

    Category ids are the taxonomy's codes, the others count from 1. Keys that the source had besides (of the file, the pictures, the
    annotations) are kept. Regions to ignore are written as `iscrowd` 1, of class None where they had no class.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    none = taxonomy.classes.index(taxonomy.artefact) if taxonomy.artefact in taxonomy.classes else 0
    for picture in pictures:
        if picture.labels is None:
            continue
        image = {"id": len(images) + 1, "file_name": picture.path.name, "width": picture.size_hw[1], "height": picture.size_hw[0]}
        if (labelled := picture.labels.labelled) is not None:
            image[LABELLED_REGION] = [list(box) for box in labelled]
        images.append(image | {k: v for k, v in picture.labels.extra.items() if k not in image})
        for cell in picture.cells:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": cell.code,
                "category_name": taxonomy.classes[cell.code],
                "bbox": list(cell.xywh_px),
                "area": round(cell.xywh_px[2] * cell.xywh_px[3], 2),
                "iscrowd": 0,
                **{(*a.json, a.key)[0]: json_code(code) for a, code in zip(taxonomy.attributes, cell.attributes, strict=True)},
            }
            annotations.append({**annotation, **cell.extra})
        for region in picture.ignored:
            about = {"category_id": none, "category_name": taxonomy.classes[none], "bbox": list(region.xywh_px)}
            about["area"] = round(region.xywh_px[2] * region.xywh_px[3], 2)
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], **about, **region.extra, "iscrowd": 1})
    categories = [{"id": code, "name": name} for code, name in enumerate(taxonomy.classes)]
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in (extra or {}).items()]
    for key, values in (("images", images), ("annotations", annotations), ("categories", categories)):
        lines = ",\n".join(json.dumps(value) for value in values)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]" if lines else f"{json.dumps(key)}: []")
    file = root / "json_labels" / f"{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
