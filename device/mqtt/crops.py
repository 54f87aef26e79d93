"""Pictures of single cells in a summary: few, small, and the first that are left out where a message grows too large."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from device.mqtt.message import Line, Part, one_line
from device.slide.model import Slide
from device.slide.tally import counted_as
from device.slide.verdict import BLASTS
from engines.taxonomy import Taxonomy

MAX_BYTES: Final = 256 * 1024
"""Of all pictures of one summary together, as they are sent (base64)."""


class CellCrop(Part):
    """One cell told as a blast or equivalent, with a margin. No picture of the film around it, nothing that names a patient."""

    cell_id: Annotated[int, Field(ge=0)] = Field(description="The cell's number on its slide; 0 in old records.")
    name: Line = Field(description="The type that it is told as, or the group where only that is sure.")
    equivalent: bool = Field(description="True: of a type that is a blast equivalent.")
    certainty: Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] = Field(
        description="How probable the device holds that it is what `name` says; rounded to 2 decimals."
    )
    jpeg: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")] = Field(description="The JPEG file, base64.")


@dataclass(frozen=True)
class Crops:
    """What goes into a summary. left_out: pictures that were wanted and are not there."""

    crops: tuple[CellCrop, ...] = ()
    left_out: int = 0


def choose_crops(slide: Slide, taxonomy: Taxonomy, most: int, max_bytes: int = MAX_BYTES) -> Crops:
    """Up to `most` pictures of the slide's blasts and equivalents, the least certain first, of `max_bytes` together at most.

    slide: with the crops of its cells; cells without one (crops switched off, or not on the disk yet) are left out.
    """
    if not most:
        return Crops()
    told = [(cell, counted_as(cell, taxonomy, bool(slide.foreign))) for cell in slide.cells]
    blasts = [(cell, of) for cell, of in told if of == BLASTS or (isinstance(of, int) and taxonomy.is_blast(of))]
    blasts.sort(key=lambda pair: (pair[0].certainty(pair[1]), pair[0].cell_id))
    names = {group.key: group.name for group in taxonomy.told_groups}
    equivalents = taxonomy.members("equivalents")
    crops: list[CellCrop] = []
    room = max_bytes
    for cell, of in blasts[:most]:
        jpeg = base64.b64encode(cell.crop_jpeg).decode()
        if jpeg and len(jpeg) <= room:
            room -= len(jpeg)
            name = taxonomy.classes[of] if isinstance(of, int) else names[str(of)]
            crops.append(
                CellCrop(
                    cell_id=cell.cell_id,
                    name=one_line(name),
                    equivalent=isinstance(of, int) and name in equivalents,
                    certainty=round(min(1.0, max(0.0, float(cell.certainty(of)))), 2),
                    jpeg=jpeg,
                )
            )
    return Crops(tuple(crops), min(most, len(blasts)) - len(crops))


def fitted(payload: bytes, max_bytes: int) -> bytes:
    """A summary's bytes with so many pictures left out, the most certain first, that it has at most `max_bytes`.

    The same bytes where it fits already, has none, or would be too large without them; always the same for the same limit."""
    if len(payload) <= max_bytes:
        return payload
    try:
        content = json.loads(payload)
        crops, left_out = list(content["crops"]), int(content["crops_left_out"])
    except (ValueError, KeyError, TypeError):
        return payload
    while crops:
        crops.pop()
        left_out += 1
        smaller = _dumped(content | {"crops": crops, "crops_left_out": left_out})
        if len(smaller) <= max_bytes:
            return smaller
    return payload


def _dumped(content: dict[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
