"""`attridet concepts`: what a concept bottleneck sees in the cells of one picture, and what a person's correction makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engines.data.aspect import folder_aspect, undone
from engines.decode import Thresholds
from engines.detections import Image
from engines.errors import DataError
from engines.evaluation.concepts_request import ConceptsRequest
from engines.families.cbm.concepts import parse_said
from engines.families.cbm.explain import Reading, as_bottleneck, corrected, read_picture, values_told
from engines.files import check_file, write_result
from engines.network.checkpoint import load_any
from engines.pictures import read_image

_TOLD, _CHANGED = (160, 90, 0), (0, 90, 230)
"""Blue, and orange for what a correction changed; BGR."""
_READABLE = 0.4
"""Size of the font below which the notice takes two lines."""
NOTICE = (
    "UNREVIEWED - for review, not a diagnosis.",
    "Names that a network proposes: a blast is final only once a person has named it.",
)
"""What stands below each picture and is said beside each table; lines of ASCII, which is all that the font has."""


@dataclass(frozen=True, eq=False)
class CellSeen:
    """One cell before and after what was said. values: each concept's likeliest value and its probability, after, by attribute key."""

    number: int
    told: Reading
    corrected: Reading
    before: str
    after: str
    values: dict[str, tuple[str, float]]


def see_concepts(request: ConceptsRequest) -> list[CellSeen]:
    """The cells of a picture by falling score, each as told and as corrected; draws them where that is asked. Raises EnginesError."""
    check_file(request.out)
    said = parse_said(request.say)
    if request.cell is not None and not said:
        raise DataError(f"--cell {request.cell}: nothing is said of it; add --say ATTRIBUTE=VALUE")
    network = as_bottleneck(load_any(request.model)[0], str(request.model))
    network.concepts.keyed(said)  # a wrong word is told before the picture is looked at
    aspect = folder_aspect(request.picture.parent).value
    picture = undone(read_image(request.picture), aspect)
    readings = read_picture(network, picture, request.side_px, Thresholds(confidence=request.confidence))
    if request.cell is not None and request.cell > len(readings):
        raise DataError(f"--cell {request.cell}: {request.picture} has {len(readings)} cells that score above {request.confidence:g}")
    names = network.taxonomy.classes
    seen = []
    for number, told in enumerate(readings, 1):
        now = corrected(network, told, said) if said and request.cell in (None, number) else told
        seen.append(CellSeen(number, told, now, names[told.code], names[now.code], values_told(network, now)))
    if request.out is not None:
        written, data = cv2.imencode(".png", draw(picture, seen))
        assert written
        write_result(request.out, data.tobytes())
    return seen


def draw(picture: Image, cells: Sequence[CellSeen]) -> Image:
    """The BGR picture with a box, number and type for each cell, and `NOTICE` in a strip below, which hides no cell.

    Cells whose type a correction changed have another colour.
    """
    drawn: Image = picture.copy()
    scale = max(0.4, min(picture.shape[:2]) / 1400)
    for cell in cells:
        changed = cell.before != cell.after
        colour = _CHANGED if changed else _TOLD
        x1, y1, x2, y2 = (round(float(v)) for v in cell.told.box_px)
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, max(1, round(2 * scale)))
        words = f"{cell.number} {cell.before}" + (f" > {cell.after}" if changed else "")
        (width, height), base = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = min(x1, max(0, picture.shape[1] - width)), y1 - 3 if y1 > height + 6 else y2 + height + 4
        cv2.rectangle(drawn, (x, y - height - 2), (x + width, y + base - 1), (255, 255, 255), -1)
        cv2.putText(drawn, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return np.concatenate([drawn, _strip(drawn.shape[1])])


def _strip(width: int) -> Image:
    """`NOTICE` on dark ground, as wide as the picture, as large as it fits: its lines stand beside or below each other."""
    face, lines = cv2.FONT_HERSHEY_SIMPLEX, [" ".join(NOTICE)]
    if width < cv2.getTextSize(lines[0], face, _READABLE, 1)[0][0] + 16:
        lines = list(NOTICE)
    longest = max(cv2.getTextSize(line, face, 1.0, 1)[0][0] for line in lines)
    scale = min(0.98 * (width - 16) / longest, 1.0)  # strokes reach a little beyond what the size tells
    height = round(34 * scale) + 2
    strip: Image = np.full((height * len(lines) + 4, width, 3), 40, np.uint8)
    for number, line in enumerate(lines):
        cv2.putText(strip, line, (8, height * number + round(26 * scale) + 2), face, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return strip
