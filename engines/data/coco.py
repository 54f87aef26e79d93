"""COCO detection JSON with the attributes of the published labels, read with the place of every annotation and written one a line."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from engines.data.faults import Fault, Kind, Place, Report
from engines.data.labels import CellLabel, Picture, PictureLabels, sound_box
from engines.data.vocabulary import attribute_codes, class_code, json_code, json_key, json_values, nearest_class
from engines.taxonomy import Taxonomy

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_LISTS = ("images", "annotations", "categories")
_IMAGE_KEYS = {"id", "file_name", "width", "height"}
_ANNOTATION_KEYS = {"id", "image_id", "category_id", "category_name", "bbox"}


@dataclass(frozen=True, eq=False)
class CocoLabels:
    """A JSON file as labels. pictures: by file name as it stands there. extra: what is at the top besides the three lists.

    readable: False where the file as a whole was not understood.
    """

    pictures: dict[str, PictureLabels]
    extra: Mapping[str, Any] = field(default_factory=dict)
    readable: bool = True


class _Text:
    """A JSON text that knows line and column of an offset."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.text = file, text
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def place(self, offset: int) -> Place:
        line = bisect_right(self._starts, offset)
        return Place(self.file, line, offset - self._starts[line - 1] + 1)

    def skip(self, offset: int) -> int:
        found = _SPACE.match(self.text, offset)
        return found.end() if found else offset

    def value(self, offset: int) -> tuple[Any, int]:
        value, end = _DECODER.raw_decode(self.text, offset)
        return value, self.skip(end)

    def expect(self, marks: str, offset: int) -> tuple[str, int]:
        """The mark at `offset`, one of `marks`, and where what follows it begins."""
        mark = self.text[offset : offset + 1]
        if not mark or mark not in marks:
            words = " or ".join(f"'{m}'" for m in marks)
            raise json.JSONDecodeError(f"expecting {words}", self.text, offset)
        return mark, self.skip(offset + 1)


Entry = tuple[Any, int]
"""An element of a list and the offset at which it begins."""


def _walk(text: _Text) -> tuple[dict[str, list[Entry]], dict[str, Any]]:
    """The three lists of a COCO file, each element with its offset, and all other top-level values. Raises JSONDecodeError."""
    lists: dict[str, list[Entry]] = {}
    extra: dict[str, Any] = {}
    mark, at = text.expect("{", text.skip(0))
    if text.text[at : at + 1] == "}":
        mark, at = text.expect("}", at)
    while mark != "}":
        if text.text[at : at + 1] != '"':
            raise json.JSONDecodeError("expecting a name in double quotes", text.text, at)
        key, at = text.value(at)
        _, at = text.expect(":", at)
        if key in _LISTS and text.text[at : at + 1] == "[":
            lists[key], at = _elements(text, at)
        else:
            extra[key], at = text.value(at)
        mark, at = text.expect(",}", at)
    if at < len(text.text):
        raise json.JSONDecodeError("something follows the end", text.text, at)
    return lists, extra


def _elements(text: _Text, at: int) -> tuple[list[Entry], int]:
    elements: list[Entry] = []
    _, at = text.expect("[", at)
    if text.text[at : at + 1] == "]":
        return elements, text.skip(at + 1)
    mark = ","
    while mark == ",":
        start = at
        value, at = text.value(at)
        elements.append((value, start))
        mark, at = text.expect(",]", at)
    return elements, at


def read_coco(file: Path, taxonomy: Taxonomy, report: Report) -> CocoLabels:
    """The labels of a JSON file; what cannot be understood goes to `report` with line and column and is left out.

    Where the file as a whole cannot be understood, the result is empty.
    """
    try:
        text = _Text(file, file.read_bytes().decode("utf-8-sig"))
        lists, extra = _walk(text)
    except json.JSONDecodeError as error:
        report(Fault(Kind.MALFORMED_JSON, Place(file, error.lineno, error.colno), f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"))
        return CocoLabels({}, readable=False)
    except UnicodeDecodeError as error:
        report(Fault(Kind.MALFORMED_JSON, Place(file), f"not UTF-8 at byte {error.start}; write the file again as UTF-8"))
        return CocoLabels({}, readable=False)
    except (OSError, RecursionError) as error:
        report(Fault(Kind.MALFORMED_JSON, Place(file), f"cannot be read: {error}"))
        return CocoLabels({}, readable=False)
    absent = [key for key in ("images", "annotations") if key not in lists]
    if absent:
        report(Fault(Kind.NOT_COCO, Place(file), f"not a COCO detection file: no list {' and no list '.join(absent)}"))
        return CocoLabels({}, readable=False)
    return _Reading(text, taxonomy, report).labels(lists, extra)


class _Reading:
    """One pass over the lists of one file."""

    def __init__(self, text: _Text, taxonomy: Taxonomy, report: Report) -> None:
        self.text, self.taxonomy, self._report = text, taxonomy, report
        self.categories: dict[int, str] = {}

    def report(self, kind: Kind, offset: int, message: str) -> None:
        self._report(Fault(kind, self.text.place(offset), message))

    def labels(self, lists: dict[str, list[Entry]], extra: dict[str, Any]) -> CocoLabels:
        for value, offset in lists.get("categories", ()):
            try:
                self.categories[int(value["id"])] = str(value["name"])
            except (KeyError, TypeError, ValueError):
                self.report(Kind.NOT_COCO, offset, "a category needs id and name")
        images = self._images(lists["images"])
        cells: dict[int, list[CellLabel]] = {key: [] for key in images}
        seen: set[object] = set()
        for value, offset in lists["annotations"]:
            found = self._annotation(value, offset, images, seen)
            if found is not None:
                cells[found[0]].append(found[1])
        pictures: dict[str, PictureLabels] = {}
        for key, (value, offset) in images.items():
            name = picture_name(str(value["file_name"]))
            rest = {k: v for k, v in value.items() if k not in _IMAGE_KEYS}
            before = pictures.get(name)
            if before is not None:
                message = f"{name} is listed a second time (first at {before.place}); its labels are taken together"
                self.report(Kind.IMAGE_LISTED_TWICE, offset, message)
            size = _size_hw(value)
            together = (*(before.cells if before else ()), *cells[key])
            pictures[name] = PictureLabels(name, before.place if before else self.text.place(offset), size, together, rest)
        return CocoLabels(pictures, extra)

    def _images(self, entries: list[Entry]) -> dict[int, Entry]:
        images: dict[int, Entry] = {}
        for value, offset in entries:
            try:
                key = int(value["id"])
                _ = str(value["file_name"]), _size_hw(value)
            except (KeyError, TypeError, ValueError):
                self.report(Kind.NOT_COCO, offset, "an image needs id and file_name; width and height are whole numbers")
                continue
            if key in images:
                first = images[key][0]["file_name"]
                message = f"image id {key} is given to {value['file_name']} and to {first}; whose the annotations are is not known"
                self.report(Kind.IMAGE_ID_TWICE, offset, message)
                continue
            images[key] = (value, offset)
        return images

    def _annotation(self, value: Any, offset: int, images: dict[int, Entry], seen: set[object]) -> tuple[int, CellLabel] | None:
        try:
            image_id = int(value["image_id"])
            box = tuple(float(v) for v in value["bbox"])
            who = f"annotation {value.get('id', '?')}"
        except (KeyError, TypeError, ValueError, AttributeError):
            self.report(Kind.NOT_COCO, offset, "an annotation needs image_id and bbox (x, y, width, height)")
            return None
        if image_id not in images:
            self.report(Kind.ORPHAN, offset, f"{who}: image_id {image_id} is no image of this file")
            return None
        who = f"{picture_name(str(images[image_id][0]['file_name']))}, {who}"
        if "id" in value and str(value["id"]) in seen:
            self.report(Kind.ANNOTATION_ID_TWICE, offset, f"{who}: this id is already taken")
        seen.add(str(value.get("id", offset)))
        code = self._class(value, offset, who)
        place = self.text.place(offset)
        if len(box) != 4:
            self.report(Kind.BOX_IMPOSSIBLE, offset, f"{who}: the box has {len(box)} numbers; it needs x, y, width, height")
        if code is None or len(box) != 4 or not sound_box(box, place, who, self._report):
            return None
        raw, read = json_values(value, self.taxonomy)
        found = attribute_codes(raw, self.taxonomy, lone_two_is_odd=True)
        for kind, messages in ((Kind.UNKNOWN_VALUE, found.wrong), (Kind.ODD_VALUE, found.odd)):
            for message in messages:
                self.report(kind, offset, f"{who}: {message}")
        extra = {k: v for k, v in value.items() if k not in _ANNOTATION_KEYS and k not in read}
        return image_id, CellLabel(place, code, (box[0], box[1], box[2], box[3]), tuple(found.codes), 0, extra)

    def _class(self, value: dict[str, Any], offset: int, who: str) -> int | None:
        """The class by name; by the category's id where the annotation bears no name."""
        try:
            by_id = self.categories.get(int(value["category_id"]))
        except (KeyError, TypeError, ValueError):
            by_id = None
        name = value.get("category_name") or by_id
        code = class_code(name, self.taxonomy)
        if code is None:
            words = (
                f"unknown class '{name}'{nearest_class(name, self.taxonomy)}"
                if name
                else "neither category_name nor a known category_id"
            )
            self.report(Kind.UNKNOWN_CLASS, offset, f"{who}: {words}")
        elif by_id is not None and class_code(by_id, self.taxonomy) != code:
            message = f"{who}: category_name is '{name}', category_id {value['category_id']} is '{by_id}'; the name is taken"
            self.report(Kind.CLASS_DISAGREES, offset, message)
        return code


def _size_hw(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width as stated; None where they are not."""
    height, width = image.get("height"), image.get("width")
    return None if height is None or width is None else (int(height), int(width))


def picture_name(file_name: str) -> str:
    """The last part of a `file_name`, which may bear folders and either kind of slash."""
    return PureWindowsPath(file_name).name


def write_coco(file: Path, pictures: Iterable[Picture], taxonomy: Taxonomy, extra: Mapping[str, Any] | None = None) -> None:
    """Write the labelled among `pictures` as the published JSON does, but one annotation a line.

    Category ids are the taxonomy's codes, the others count from 1. Keys that the source had besides (of the file, the pictures, the
    annotations) are kept.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        if picture.labels is None:
            continue
        image = {"id": len(images) + 1, "file_name": picture.path.name, "width": picture.size_hw[1], "height": picture.size_hw[0]}
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
                **{json_key(a): json_code(code) for a, code in zip(taxonomy.attributes, cell.attributes, strict=True)},
            }
            annotations.append({**annotation, **cell.extra})
    categories = [{"id": code, "name": name} for code, name in enumerate(taxonomy.classes)]
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in (extra or {}).items()]
    for key, values in (("images", images), ("annotations", annotations), ("categories", categories)):
        lines = ",\n".join(json.dumps(value) for value in values)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]" if lines else f"{json.dumps(key)}: []")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
