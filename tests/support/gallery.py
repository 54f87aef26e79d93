"""Sample views of the screen, for its tests, the documentation and whoever changes its looks; nothing here runs in the daemon.

`python tests/support/gallery.py DIR` writes each as a PNG, 1920 x 1080; `… DIR 1280 720` in another size.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from device.camera.base import CameraState, CameraStatus, Frame, SkippedPicture
from device.display.base import PartState, ScreenView
from device.display.overlay import draw
from device.slide.description import describe
from device.slide.model import Cell, Field, Slide, SlideState
from device.slide.tally import differential, tally
from engines.detections import Detections, Float32, Image
from engines.naming import NamingInfo
from engines.runtime.base import EngineInfo
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Taxonomy

SEVEN = next(one.keys for one in LEUKEMIA_ATTRI.txt_layouts if one.name == "published-12")
WHEN = datetime(2026, 3, 2, 9, 30, tzinfo=timezone.utc)


def film(width: int = 1920, height: int = 1080, seed: int = 1) -> Image:
    """A rough picture of stained film: pale ground, red cells. Not for any network."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (222, 219, 228), np.uint8)
    for _ in range(width * height // 6000):
        centre, r = (int(rng.integers(width)), int(rng.integers(height))), int(rng.integers(34, 46))
        cv2.circle(image, centre, r, (186, 168, 214), -1, cv2.LINE_AA)
        cv2.circle(image, centre, r // 2, (206, 194, 224), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 2).astype(np.uint8)


def add_cell(image: Image, box_px: tuple[float, float, float, float]) -> None:
    """Paint a nucleated cell into `image` where `box_px` says."""
    x0, y0, x1, y1 = (round(v) for v in box_px)
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
    cv2.ellipse(image, centre, axes, 0, 0, 360, (214, 182, 196), -1, cv2.LINE_AA)
    cv2.ellipse(image, centre, (axes[0] * 3 // 4, axes[1] * 7 // 10), 20, 0, 360, (128, 54, 104), -1, cv2.LINE_AA)


def probabilities(codes: Sequence[int], taxonomy: Taxonomy = LEUKEMIA_ATTRI, sure: float = 0.9) -> Float32:
    """Attribute vector (A,) in which the value of each code has probability `sure`; NaN where a code is UNKNOWN.

    codes: of the seven published attributes, in the order of their 12 columns; all others are unknown.
    """
    by_key = dict(zip(SEVEN, codes, strict=True))
    out = np.full(taxonomy.n_logits, np.nan, np.float32)
    for attribute, group in zip(taxonomy.attributes, taxonomy.groups, strict=True):
        code, n = by_key.get(attribute.key, UNKNOWN), len(attribute.values)
        if code != UNKNOWN:
            out[group] = (1 - sure) / (n - 1)
            out[group.start + code] = sure
    return out


def detections(rows: Sequence[tuple[tuple[float, float, float, float], str, float, Sequence[int]]]) -> Detections:
    """Detections from (box in px, class name, score, attribute codes), sorted by falling score."""
    if not rows:
        return Detections.empty(LEUKEMIA_ATTRI.n_logits)
    ordered = sorted(rows, key=lambda row: -row[2])
    return Detections(
        np.array([r[0] for r in ordered], np.float32),
        np.array([r[2] for r in ordered], np.float32),
        np.array([LEUKEMIA_ATTRI.classes.index(r[1]) for r in ordered], np.int64),
        np.stack([probabilities(r[3]) for r in ordered]),
    )


def frame(image: Image, source: str = "usb-ZZCAT_5MP-video-index0") -> Frame:
    """A frame of `image`."""
    return Frame(image, 41, 12.5, WHEN, source)


def slide(counts: dict[str, int], unidentified: int = 0, state: SlideState = SlideState.COUNTING, fields: int = 12) -> Slide:
    """A slide with so many cells of each type, spread over `fields` fields."""
    known = probabilities([0] * 7)
    cells = [Cell(LEUKEMIA_ATTRI.classes.index(name), 0.9, True, (0, 0, 9, 9), known) for name, n in counts.items() for _ in range(n)]
    cells += [Cell(1, 0.2, False, (0, 0, 9, 9), known)] * unidentified
    made = tuple(Field(i + 1, WHEN, "camera", (1920, 1080), 30.0, tuple(cells[i::fields])) for i in range(fields))
    return Slide("S-20260302-0930-7f3a", WHEN, state, fields=made, fields_undone=1)


ENGINE = EngineInfo("attridet-n", "1.0.0", "4be1c09d7a55" + "0" * 52, "onnxruntime 1.23 CPU", "fp32", (640, 640), LEUKEMIA_ATTRI, 0.25)
STREAMING = CameraStatus(CameraState.STREAMING, "ZZCAT 5MP", "", (1920, 1080), 29.8, 5211)
PARTS = (
    PartState("Camera", "ok", "ZZCAT 5MP, 1920 x 1080, 29.8 fps"),
    PartState("Engine", "ok", "18.3 fields/s, 41 ms"),
    PartState("Broker", "warn", "not reached, 3 messages wait"),
    PartState("Record", "ok", "saved, 11.4 GB free"),
)
COUNTS = {"Myeloblast": 71, "Neutrophil": 19, "Lymphocyte": 14, "Monocyte": 6, "Promonocyte": 5, "Myelocyte": 2, "Eosinophil": 1}
COUNTS |= {"None": 9}


NAMING = NamingInfo(
    "open-cells", "1.0.0", "9f2b61c4" + "0" * 56, said="On films of microscopes that it never saw it told 81 of 100 blasts."
)
TYPES_TOLD = {
    "Myeloblast": 11,
    "blasts": 19,
    "Neutrophil": 22,
    "Lymphocyte": 9,
    "Monocyte": 4,
    "others": 12,
    "Eosinophil": 1,
    "None": 6,
}
ALL_TOLD = {name: 1 + i for i, name in enumerate(LEUKEMIA_ATTRI.classes)} | {"blasts": 19, "others": 31}


def told_cell(told: str, box_px: tuple[float, float, float, float], score: float = 0.9, sure: float = 0.86) -> Cell:
    """A cell of a second look that told `told`: a class, a group's key, or "" for unidentified."""
    codes = [UNKNOWN] * 7 if told == "None" else [len(told) % 2, 1, 0, 1, 0, 0, 1]
    kind = LEUKEMIA_ATTRI.classes.index({"blasts": "Monoblast", "others": "Monocyte", "": "Lymphocyte"}.get(told, told))
    group = told if told in ("", "blasts", "others") else LEUKEMIA_ATTRI.group_of(kind)
    blast = sure if group == "blasts" else 0.4 if not group else 1 - sure
    named = told in LEUKEMIA_ATTRI.classes
    return Cell(kind, score, named, box_px, probabilities(codes), b"", group, sure if named else 0.4, blast, 0.6)


def named_view(
    told: Sequence[str], counts: dict[str, int], unidentified: int = 5, foreign: bool | None = False, naming: NamingInfo = NAMING
) -> ScreenView:
    """A view of a field that was just counted, of whose cells a second look told `told`; `counts` are those of the fields before."""
    image, boxes = film(), grid(max(1, len(told)), cell_px=180 if len(told) < 10 else 100)[: len(told)]
    for box in boxes:
        add_cell(image, box)
    before = [told_cell(one, (0, 0, 9, 9)) for one, n in (*counts.items(), ("", unidentified)) for _ in range(n)]
    cells = tuple(told_cell(one, box, 0.95 - 0.01 * i, 0.97 - 0.02 * i) for i, (one, box) in enumerate(zip(told, boxes, strict=True)))
    fields = [Field(i + 1, WHEN, "camera", (1920, 1080), 30.0, tuple(before[i::11])) for i in range(11)]
    counted = replace(slide({}), fields=(*fields, Field(12, WHEN, "camera", (1920, 1080), 30.0, cells)), foreign=foreign)
    sums = tally(counted, LEUKEMIA_ATTRI)
    engine = replace(ENGINE, naming=naming)
    first = detections([(box, "Lymphocyte", 0.95 - 0.01 * i, [UNKNOWN] * 7) for i, box in enumerate(boxes)])
    return replace(
        view(image, first),
        engine=engine,
        slide=counted,
        differential=sums,
        description=describe(counted, sums, LEUKEMIA_ATTRI, naming),
        message=f"Field 12 counted: {len(cells)} cells.",
    )


def displaced(seen: ScreenView, found: Detections, shift_px: tuple[int, int] = (-120, 40)) -> ScreenView:
    """The same field moved a little, so that one cell more has come into sight, which was not counted."""
    assert seen.frame is not None
    image = np.roll(seen.frame.image, shift_px[::-1], (0, 1))
    new = (1700.0, 60.0, 1860.0, 220.0)
    add_cell(image, new)
    boxes = [tuple(row) for row in (found.boxes_px + np.array(shift_px * 2, np.float32)).tolist()]
    now = detections([(box, "Monocyte", 0.9 - 0.01 * i, [UNKNOWN] * 7) for i, box in enumerate([*boxes, new])])
    return replace(seen, frame=frame(image), shift_px=shift_px, detections=now, identified=(True,) * len(now))


def named_views() -> dict[str, ScreenView]:
    """The sample views of an engine whose second look names cells."""
    some = ["Myeloblast", "blasts", "Neutrophil", "others", "", "None"]
    out = {"named": named_view(some, TYPES_TOLD)}
    seen = out["named"]
    found = seen.detections
    assert found is not None
    out["named-displaced"] = displaced(seen, found)
    out["named-moving"] = replace(seen, resting=False, field_counted=False, message="", focus=0.4, focus_text="")
    out["named-none-yet"] = replace(
        named_view(["others"], {}, 0, None), slide=slide({}, fields=1), differential=None, field_counted=False
    )
    others = ["Neutrophil", "others", "Lymphocyte", "Monocyte"]
    zero = {"Neutrophil": 20, "Lymphocyte": 9, "Monocyte": 3, "others": 7}
    out["named-zero"] = named_view(others, zero)
    site = replace(NAMING, name="st-marys-40x", site=True, said="")
    out["named-zero-site"] = named_view(others, zero, naming=site)
    out["named-few"] = named_view(others, {"Neutrophil": 3}, foreign=None)
    out["named-all"] = named_view([*LEUKEMIA_ATTRI.classes[1:], "blasts", "others", ""], ALL_TOLD)
    out["named-crowd"] = named_view([*some, *LEUKEMIA_ATTRI.classes] * 2, ALL_TOLD)
    out["foreign"] = named_view(some, TYPES_TOLD, foreign=True)
    out["foreign-zero"] = named_view(others, zero, 0, foreign=True)
    return out


def view(
    image: Image | None, found: Detections | None = None, *, source: str = "usb-ZZCAT_5MP-video-index0", identify_threshold: float = 0.4
) -> ScreenView:
    """A view of a slide half counted, with `image` under the objective; change it with `dataclasses.replace`."""
    counting = slide(COUNTS, unidentified=6)
    tally = differential(counting.cells, LEUKEMIA_ATTRI)
    return ScreenView(
        frame=None if image is None else frame(image, source),
        detections=found,
        identified=() if found is None else tuple(bool(s >= identify_threshold) for s in found.scores),
        engine=ENGINE,
        camera=STREAMING,
        slide=counting,
        differential=tally,
        target_cells=200,
        focus=0.84,
        focus_text="sharp",
        resting=True,
        field_counted=True,
        parts=PARTS,
        calibration_label="zzcat-5mp, 100x, version 3",
        message="Field 12 counted: 6 cells.",
        description=describe(counting, tally, LEUKEMIA_ATTRI),
    )


def grid(n: int, size_px: tuple[int, int] = (1920, 1080), cell_px: int = 110) -> list[tuple[float, float, float, float]]:
    """`n` boxes spread over a frame without touching."""
    width, height = size_px
    columns = max(1, round((n * width / height) ** 0.5))
    rows = -(-n // columns)
    boxes = []
    for i in range(n):
        x, y = (i % columns + 0.5) * width / columns, (i // columns + 0.5) * height / rows
        x, y = x + 37 * ((i * 7) % 5 - 2) / 2, y + 29 * ((i * 11) % 5 - 2) / 2
        boxes.append((x - cell_px / 2, y - cell_px / 2, x + cell_px / 2, y + cell_px / 2))
    return boxes


def crowd(n: int, size_px: tuple[int, int] = (1920, 1080), cell_px: int = 110) -> tuple[Image, Detections]:
    """A film with `n` cells of all types, every seventh an artefact, some too unsure to be named."""
    image = film(*size_px)
    rows: list[tuple[tuple[float, float, float, float], str, float, Sequence[int]]] = []
    for i, box in enumerate(grid(n, size_px, cell_px)):
        add_cell(image, box)
        name = "None" if i % 7 == 6 else LEUKEMIA_ATTRI.classes[1 + i % 13]
        score = 0.33 if i % 9 == 4 else 0.97 - 0.02 * i
        rows.append((box, name, max(0.26, score), [UNKNOWN] * 7 if name == "None" else [(i + k) % 2 for k in range(7)]))
    return image, detections(rows)


def views() -> dict[str, ScreenView]:
    """The sample views by name."""
    out: dict[str, ScreenView] = {}
    unseen = replace(view(None), message="", resting=False, field_counted=False, focus=0.0, focus_text="")
    idle = replace(unseen, slide=None, differential=None, description=())
    out["start"] = replace(idle, camera=CameraStatus(CameraState.OPENING, "usb-ZZCAT_5MP-video-index0"))
    for n in (1, 4, 9, 20, 45):
        image, found = crowd(n, cell_px=220 if n < 5 else 110 if n < 30 else 70)
        out[f"cells-{n:02d}"] = view(image, found)
    image, found = crowd(4, cell_px=200)
    base = view(image, found)
    open_slide = slide(COUNTS, unidentified=6)
    gone = "/dev/v4l/by-id/usb-ZZCAT_5MP-video-index0 is gone: plug the camera in again"
    lost = CameraStatus(CameraState.LOST, "ZZCAT 5MP", gone, retry_in_s=3.2)
    out["lost"] = replace(base, camera=lost, message="Camera lost; the count is kept.", message_level="fail")
    out["lost-at-start"] = replace(idle, camera=lost)
    stalled = CameraStatus(CameraState.STALLED, "ZZCAT 5MP", "120 frames alike for 4.0 s: check the cable and the light")
    out["stalled"] = replace(base, camera=stalled, message="The picture stands still.", message_level="warn")
    ended = CameraStatus(
        CameraState.ENDED, "lld_40x/val", "the folder has no more pictures", skipped=(SkippedPicture("damaged.png", "damaged", ""),)
    )
    done = slide({**COUNTS, "Myeloblast": 160}, 4, SlideState.REVIEW, 31)
    tally = differential(done.cells, LEUKEMIA_ATTRI)
    out["ended"] = replace(base, camera=ended, slide=done, differential=tally, message="Slide finished.", field_counted=False)
    paused = replace(base, slide=replace(open_slide, state=SlideState.PAUSED), field_counted=False)
    out["paused"] = replace(paused, message="Paused. P goes on.", message_level="warn")
    blurred = replace(base, focus=0.21, focus_text="turn the fine focus", message="")
    out["moving"] = replace(blurred, resting=False, field_counted=False)
    out["nothing-seen"] = view(film(), detections([]))
    seen = replace(idle, frame=frame(image), detections=found, identified=base.identified)
    out["idle"] = replace(seen, resting=True, focus=0.5, focus_text="nearly sharp")
    out["simulator"] = view(image, found, source="simulator")
    return out | named_views()


def main(arguments: Sequence[str]) -> int:
    """Write every sample view into the folder that `arguments` names, in the size that they name."""
    if len(arguments) not in (1, 3) or not all(number.isdecimal() for number in arguments[1:]):
        sys.stderr.write("usage: python tests/support/gallery.py DIR [WIDTH HEIGHT]\n")
        return 2
    size = (int(arguments[1]), int(arguments[2])) if arguments[1:] else (1920, 1080)
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, sample in views().items():
        cv2.imwrite(str(folder / f"{name}.png"), draw(sample, size), (cv2.IMWRITE_PNG_COMPRESSION, 9))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
