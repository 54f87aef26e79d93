"""What a box learns from its reviewer, end to end on real pictures: counted, reviewed, signed, learnt, and a new slide read with it.

    python docs/experiments/learning_on_the_box.py ../shared/data/lld_40x --work runs/box

The fields of each patient of `train` are one slide: the appliance counts them as it counts a camera's, and a reviewer who says what
the labels say (a box on nothing labelled is an artefact, one on a part of a cell is left unclassed) signs it. Then `leukoscope learn`
fits a site layer, and each patient of `val`, whom nobody reviewed, is counted twice: with the bundle's own layer and with the site's.
Published squares are squeezed 16:9 frames; they are shown round, as a camera gives them. Prints a table for docs/naming.md.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from device.app import run
from device.review.review import Review
from device.service.learning import fit_to_reviewed
from device.settings.broker import BrokerSection
from device.settings.config import (
    Config,
    DeviceSection,
    DisplaySection,
    EngineSection,
    MicroscopeSection,
    RecordSection,
    ReplayCamera,
    SlideSection,
)
from device.slide.model import Cell, Slide
from device.slide.verdict import NOT_CLASSED
from device.store import Store
from engines.data.leukemiaattri import LabelledImage, read_split
from engines.decode import box_iou
from engines.progress import Reporter
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

OVERLAP, TOUCHES = 0.5, 0.1
"""IoU from which a counted cell is a labelled one, and below which with all labels it is none."""
console = Console()


class Printed(Reporter):
    """Messages as lines."""

    def message(self, text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Told:
    """One slide against its labels: labelled white cells that were counted, blasts among them, and what was told of both groups."""

    blasts: int
    blasts_told: int
    others: int
    others_told: int
    counted_percent: float  # blasts of all white cells told on the slide

    @property
    def words(self) -> str:
        return f"{self.blasts_told} of {self.blasts} | {self.others_told} of {self.others} | {self.counted_percent:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder in the published layout with train and val")
    parser.add_argument("--work", type=Path, required=True, help="a new folder for records, pictures and the layer")
    parser.add_argument("--bundle", default="zoo:attridet-n")
    parser.add_argument("--objective", type=int, default=40)
    given = parser.parse_args()
    if given.work.exists():
        parser.error(f"{given.work} is there already; name a new folder")
    config = configuration(given.work / "box", given.bundle, given.objective)
    for patient, pictures in by_patient(given.data, "train"):
        slide = counted(config, pictures, given.work / "fields" / f"train-{patient}")
        cells = review(config, slide, pictures)
        console.print(f"train patient {patient}: {len(pictures)} fields, {cells} cells named as labelled, signed", highlight=False)
    result = fit_to_reviewed(config, Printed())
    console.print(str(result.layer.card["said"]), highlight=False)
    console.print("| val patient | layer | blasts told as blasts | others told as blasts | blasts, % of the slide (labels) |")
    console.print("|---|---|---|---|---|")
    for patient, pictures in by_patient(given.data, "val"):
        for name, layer in (("the bundle's own", None), ("the site's", result.path)):
            box = configuration(given.work / f"val-{patient}-{'site' if layer else 'own'}", given.bundle, given.objective, layer)
            told = against_labels(counted(box, pictures, given.work / "fields" / f"val-{patient}"), pictures)
            share = 100 * told.blasts / max(1, told.blasts + told.others)
            console.print(f"| {patient} | {name} | {told.words} ({share:.0f}) |", highlight=False)


def configuration(state: Path, bundle: str, objective: int, layer: Path | None = None) -> Config:
    """A box without screen and broker; `camera` is put in by `counted`."""
    return Config(
        camera=ReplayCamera(kind="replay", source=str(state)),
        device=DeviceSection(id="box", state_dir=state),
        microscope=MicroscopeSection(objective=objective),  # type: ignore[arg-type]
        engine=EngineSection(bundle=bundle, runtime="onnx", layer=layer),
        slide=SlideSection(auto_start=True),
        display=DisplaySection(kind="none"),
        record=RecordSection(),
        broker=BrokerSection(enabled=False),
        log_level="error",
    )


def by_patient(data: Path, split: str) -> Iterator[tuple[str, list[LabelledImage]]]:
    """The patients of a split, each with its labelled pictures."""
    found: dict[str, list[LabelledImage]] = {}
    for picture in read_split(data, split, TAXONOMY):
        found.setdefault(picture.path.name.partition("_")[0], []).append(picture)
    yield from found.items()


def counted(config: Config, pictures: list[LabelledImage], folder: Path) -> Slide:
    """The slide as the appliance counts it from these pictures, shown round as the reader gives them."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for picture in pictures:
            cv2.imwrite(str(folder / f"{picture.path.stem}.png"), picture.read())
    outcome = run(config.model_copy(update={"camera": ReplayCamera(kind="replay", source=str(folder))}), signals=False)
    assert outcome.slide is not None
    assert outcome.saved
    if folder.name.startswith("train"):
        shutil.rmtree(folder)
    return outcome.slide


def labels_of(slide: Slide, pictures: list[LabelledImage]) -> Iterator[tuple[Cell, str]]:
    """Each counted cell with what its label says: a class, the artefact where no label is near, "" where one is touched only."""
    labelled = {picture.path.stem: picture for picture in pictures}
    for field in slide.fields:
        picture = labelled[Path(field.source).stem]
        boxes = np.array([cell.box_px for cell in field.cells], np.float32).reshape(-1, 4)
        overlap = box_iou(boxes, picture.boxes_px)
        for row, cell in enumerate(field.cells):
            best = int(overlap[row].argmax()) if overlap.shape[1] else -1
            share = float(overlap[row, best]) if best >= 0 else 0.0
            yield (
                cell,
                TAXONOMY.classes[int(picture.classes[best])] if share >= OVERLAP else TAXONOMY.artefact if share < TOUCHES else "",
            )


def review(config: Config, slide: Slide, pictures: list[LabelledImage]) -> int:
    """Open every cell, say what its label says, acknowledge what was never joined, sign; the number of cells that were named."""
    with Store.open(config.record_path) as store:
        stored = store.slide(slide.slide_id)
        held = Review(stored.slide, TAXONOMY, who="RA")
        named = 0

        def act(entries: list[object]) -> None:
            nonlocal held
            store.put_review(slide.slide_id, entries, None, None)  # type: ignore[arg-type]
            held = held.after(entries)  # type: ignore[arg-type]

        for cell, label in labels_of(held.counted, pictures):
            act([*held.open(cell.cell_id)])
            act([*held.name([cell.cell_id], label or NOT_CLASSED)])
            named += bool(label)
        for chart in held.charts_open:
            act([*held.acknowledge(chart)])
        entries = held.sign(why="all fields that there are")
        held = held.after(entries)
        store.put_review(slide.slide_id, entries, held.slide, None)
        return named


def against_labels(slide: Slide, pictures: list[LabelledImage]) -> Told:
    """What was told of the labelled white cells that were counted."""

    def as_blast(cell: Cell) -> bool:
        told = slide.told(cell)
        return told == "blasts" if isinstance(told, str) else TAXONOMY.is_blast(told)

    groups = {"blasts": [0, 0], "others": [0, 0], "": [0, 0]}
    for cell, label in labels_of(slide, pictures):
        counts = groups[TAXONOMY.group_of(TAXONOMY.classes.index(label)) if label else ""]
        counts[0] += 1
        counts[1] += as_blast(cell)
    white = [as_blast(cell) for cell in slide.cells if not TAXONOMY.is_artefact(cell.class_index)]
    (blasts, blasts_told), (others, others_told) = groups["blasts"], groups["others"]
    return Told(blasts, blasts_told, others, others_told, 100 * sum(white) / max(1, len(white)))


if __name__ == "__main__":
    main()
