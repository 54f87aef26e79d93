"""A finished slide for the tests of the review: fields with pictures, cells with crops, named as by a second look that errs.

`painted` is quick; `rendered` has the drawn film of the simulator and takes seconds a field. `python tests/support/reviewing.py DIR`
writes every page of a review of rendered film as PNG files, in four sizes, for whoever changes their looks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import gallery
import numpy as np

from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.desk.review_desk import ReviewDesk
from device.display.base import ScreenView
from device.display.inputs import Input, Kind, key
from device.display.overlay import draw
from device.review.journal import Entry
from device.review.review import Review
from device.settings.config import SimulatorCamera as Section
from device.slide.bank import crop_jpeg
from device.slide.model import Cell, Field, Place, Slide, SlideState
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI

WHEN = datetime(2026, 3, 2, 9, 30, tzinfo=timezone.utc)
SLIDE_ID = "20260302-093000-7f3a1c"
SIZES = ((1024, 600), (1280, 800), (1920, 1080), (3840, 2160))
T = LEUKEMIA_ATTRI
Box = tuple[float, float, float, float]


@dataclass
class Kept:
    """Stands for the record: keeps entries, and has the pictures of fields."""

    pictures: dict[int, Image] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    fault: Exception | None = None

    def keep(self, review: Review, entries: Sequence[Entry]) -> None:
        if self.fault is not None:
            raise self.fault
        self.entries += entries

    def picture(self, one: Field) -> Image | None:
        return self.pictures.get(one.index)


class Sitting:
    """A person at the review of `slide`, under a clock that stands still until `do` or `wait` moves it."""

    def __init__(
        self, slide: Slide, pictures: dict[int, Image], who: str = "AB", own: bool = True, entries: Sequence[Entry] = ()
    ) -> None:
        self.now_s = 100.0
        self.kept = Kept(pictures)
        made_by = "attridet-n 2.0.0 · open-cells 1.0.0"
        review = Review(slide, T, tuple(entries), who=who)
        self.desk = ReviewDesk(review, self.kept, lambda: self.now_s, made_by=made_by, um_per_px=0.26, own=own)
        self.wait()

    def wait(self, seconds: float = 1.0) -> None:
        self.now_s += seconds
        self.desk.take([])

    def do(self, *given: str | Input) -> None:
        """One after the other, each looked at for a second; a word is a key, with "+" before it together with Shift."""
        for one in given:
            given_key = replace(key(one.removeprefix("+")), shift=one.startswith("+")) if isinstance(one, str) else one
            self.desk.take([given_key])
            self.wait()

    def view(self, slide: Slide | None = None) -> ScreenView:
        """What the screen is to show now."""
        return replace(gallery.view(None), message="", slide=slide, page=self.desk.page)


def press(word: str, at: tuple[float, float] = (0.5, 0.5), shift: bool = False) -> Input:
    return Input(Kind.PRESS, word, at=at, shift=shift)


def drag(word: str, onto: str) -> Input:
    return Input(Kind.DRAG, word, onto=onto)


def slide_of(fields: Sequence[Field]) -> Slide:
    """A slide in review with these fields."""
    made = Slide(SLIDE_ID, WHEN, SlideState.REVIEW, WHEN + timedelta(hours=1), fields=tuple(fields), foreign=False)
    return replace(made, specimen="H26-004711", operator="MK")


def painted(told: Sequence[str], charts: int = 1, per_field: int = 12) -> tuple[Slide, dict[int, Image]]:
    """A slide whose cells were told as `told` says (class, told group, "artefact" or "" for unidentified), painted in a moment."""
    fields, pictures = [], {}
    size = 960, 540
    for first in range(0, len(told), per_field):
        index = first // per_field + 1
        image = gallery.film(*size, seed=index)
        cells = []
        for at, (word, box) in enumerate(zip(told[first : first + per_field], gallery.grid(per_field, size, 60), strict=False)):
            gallery.add_cell(image, box)
            sure = 0.5 + 0.45 * ((first + at) * 7 % 20) / 20
            cells.append((box, gallery.told_cell("None" if word == "artefact" else word, box, sure=sure)))
        made = tuple(replace(cell, cell_id=first + at + 1, crop_jpeg=crop_jpeg(image, box, 85)) for at, (box, cell) in enumerate(cells))
        place = Place(0 if index > charts - 1 or charts == 1 else index, 800.0 * index, 0.0)
        picture = f"{SLIDE_ID}/field-{index:06d}.jpg"
        fields.append(Field(index, WHEN + timedelta(seconds=9 * index), "camera", size, 30.0, made, place=place, picture=picture))
        pictures[index] = image
    return replace(slide_of(fields), lost_rests=charts - 1), pictures


def rendered(cells: int, seed: int = 5, case: str = "AML", objective: int = 40) -> tuple[Slide, dict[int, Image]]:
    """A slide of the simulator's film with so many cells; what was "told" of them is now and then wrong."""
    a_field = 12 if objective == 40 else 2
    section = Section(kind="simulator", seed=seed, case=case, objective=objective, fields=-(-cells // a_field), hand="fields")
    rng = np.random.default_rng(seed)
    fields: list[Field] = []
    pictures: dict[int, Image] = {}
    number = resting = -1
    with SimulatorCamera(section, SystemClock()) as camera:
        path = camera._on_stage[1]
        for index in range(section.fields):
            resting = [n for n in range(resting + 1, path.frames) if path.at(n).field == index][-1]
            image = camera._render(camera._on_stage[0], replace(path.at(resting), defocus_um=0.0), resting)
            found: list[Cell] = []
            for box, kind in zip(*(each.tolist() for each in camera.true_cells(resting, T)), strict=True):
                if number + 1 < cells and min(box[2] - box[0], box[3] - box[1]) >= 10:
                    number += 1
                    found.append(_cell(number + 1, int(kind), (box[0], box[1], box[2], box[3]), image, rng))
            place, name = Place(0, 1500.0 * index, 0.0), f"{SLIDE_ID}/field-{index + 1:06d}.jpg"
            when = WHEN + timedelta(seconds=9 * index)
            fields.append(Field(index + 1, when, "simulator", (1920, 1080), 30.0, tuple(found), place=place, picture=name))
            pictures[index + 1] = image
            if number + 1 >= cells:
                break
    return slide_of(fields), pictures


def _cell(number: int, kind: int, box: Box, image: Image, rng: np.random.Generator) -> Cell:
    sure, blast, white = float(rng.beta(6, 2)), T.is_blast(kind), not T.is_artefact(kind)
    if rng.random() < 0.08 and white:
        kind = int(rng.integers(1, len(T.classes)))
    told = sure > 0.6 or not white
    group = T.group_of(kind) if sure > 0.4 else ""
    share = float(np.clip((sure if blast else 1 - sure) + rng.normal(0, 0.05), 0.01, 0.99))
    words = rng.random(T.n_logits).astype(np.float32)
    return Cell(kind, sure, told, box, words, crop_jpeg(image, box, 90), group, sure, share, 0.5, number)


def pages(slide: Slide, pictures: dict[int, Image]) -> dict[str, ScreenView]:
    """Every kind of page of a review, on its way to the signature."""
    out: dict[str, ScreenView] = {}
    one = Sitting(slide, pictures)

    def shot(name: str, *keys: str | Input) -> None:
        one.do(*keys)
        out[name] = one.view(slide)

    shot("blasts")
    shot("blasts-some", "SPACE", "SPACE", "L", "RIGHT", "+RIGHT", "+RIGHT")
    shot("compare", "Q", "+RIGHT", "V")
    shot("field", "V", "RETURN")
    shot("field-bare", "B")
    shot("field-adding", "B", "I", press("picture", (0.62, 0.4)))
    shot("field-added", "P")
    shot("sign-not-yet", "RETURN", "G")
    one.do("ESCAPE")  # which leads to the first cell that is left
    for _ in range(4 * len(slide.cells)):
        batch, cell = one.desk._batch, one.desk.review.cells[one.desk.spot.cell_id]
        if batch is None or batch.key[0] not in ("blasts", "perhaps", "unidentified"):
            break
        if not cell.said and "unidentified" not in out:
            shot("unidentified")
            shot("unidentified-warned", "SPACE", "LEFT")
        one.do("SPACE" if cell.said else "T")
        if not cell.said and cell.cell_id == one.desk.spot.cell_id:
            one.do("SPACE")
    shot("others")
    shot("others-accepted", "+SPACE")
    shot("sign", "K", "G")
    for letter in "few cells" if out["sign"].page.reason is not None else "":  # type: ignore[union-attr]
        one.do(Input(Kind.KEY, letter.upper() if letter != " " else "SPACE", letter))
    shot("signed", "RETURN")
    shot("signed-cells", "ESCAPE")
    return out


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make: Callable[..., tuple[Slide, dict[int, Image]]] = rendered
    for name, seen in pages(*make(int(sys.argv[2]) if len(sys.argv) > 2 else 200)).items():
        for width, height in SIZES:
            cv2.imwrite(str(folder / f"review-{name}-{width}.png"), draw(seen, (width, height)))
