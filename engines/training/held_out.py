"""A val for folders that have none, as the published ones: pictures of train held out by patient, the same on resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.data.census import in_order
from engines.data.layout import find_subsets, patient_of
from engines.data.leukemiaattri import LabelledImage, SplitData
from engines.data.look_alikes import field_units
from engines.data.splits import divide
from engines.errors import DataError
from engines.files import write_result

FILE = "val.json"
"""In a run's folder: which pictures of train judge."""
VAL = "val"


@dataclass(frozen=True)
class HeldOut:
    """What judges in place of a split val. pictures: file names by folder, as `names_of` calls it; patients: whose they are."""

    share: float
    seed: int
    patients: tuple[str, ...]
    pictures: Mapping[str, tuple[str, ...]]

    def write(self, folder: Path) -> None:
        """Keep it in a run's folder."""
        plain = {"share": self.share, "seed": self.seed, "patients": self.patients, "pictures": self.pictures}
        write_result(folder / FILE, (json.dumps(plain, indent=1) + "\n").encode())

    def said(self, train: Mapping[str, SplitData], out: Path) -> str:
        """One line for people. train: the folders' train as it was."""
        held, of = sum(map(len, self.pictures.values())), sum(len(train[name]) for name in self.pictures)
        whose = f" (patient{'s' * (len(self.patients) != 1)} {', '.join(self.patients)})" if self.patients else ""
        return (
            f"no split {VAL} in {', '.join(self.pictures)}: {held} of {of} pictures of train{whose} are held out by patient and judge "
            f"(--val {self.share:g}, kept in {out / FILE}; --judge-split names another split, --no-judge trains on all)"
        )


def names_of(folders: Sequence[Path]) -> list[str]:
    """A name of its own for each folder: its last part, with its parent's where that is taken."""
    names: list[str] = []
    for folder in folders:
        names.append(folder.name if folder.name not in names else f"{folder.parent.name}/{folder.name}")
    return names


def lacks(folder: Path, split: str) -> bool:
    """Whether no subset of the folder has pictures of that split. Raises DataError where there is no data set at all."""
    return not any(one.name == split and one.images is not None for subset in find_subsets(folder) for one in subset.splits)


def hold_out(
    train: Mapping[str, SplitData], without: Collection[str], share: float, seed: int, known: Callable[[str], bool] = lambda _: False
) -> HeldOut:
    """Pictures of the train of the folders `without` a val, whole patients, about `share` of them with their share of each type.

    A patient is held out of all folders together. known: of a patient's name, whether the network knows them already; such patients are
    not chosen while others are there. Raises DataError where there are not two patients (or, without names, fields).
    """
    owners = [name for name in train if name in without for _ in train[name]]
    images = [image for name in train if name in without for image in train[name]]
    units = field_units([image.path for image in images])
    new = [unit for unit in dict.fromkeys(units) if unit.startswith("file:") or not known(unit)]
    order = sorted(new or dict.fromkeys(units), key=in_order)
    classes = 1 + max((int(image.classes.max()) for image in images if len(image.classes)), default=0)
    counts = np.stack([_counts([i for i, u in zip(images, units, strict=True) if u == unit], classes) for unit in order])
    if len(order) < 2 or len(set(units)) < 2:
        if new and len(set(units)) > 1:
            side = np.ones(1, np.int64)  # the only patient that is not known yet
        else:
            raise DataError(
                f"{', '.join(without)}: no split {VAL}, and train has one patient only: none can be held out. Name --judge-split, or "
                "leave judging out with --no-judge"
            )
    else:
        side = divide(counts, (1 - share, share), seed)
    chosen = {unit for unit, where in zip(order, side, strict=True) if where}
    pictures: dict[str, list[str]] = {name: [] for name in train if name in without}
    for name, image, unit in zip(owners, images, units, strict=True):
        if unit in chosen:
            pictures[name].append(image.path.name)
    patients = sorted((unit for unit in chosen if not unit.startswith("file:")), key=in_order)
    return HeldOut(share, seed, tuple(patients), {name: tuple(found) for name, found in pictures.items()})


def read_held_out(folder: Path) -> HeldOut | None:
    """What a run's folder says; None where it says nothing. Raises DataError for a file that cannot be read."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        pictures = {str(name): tuple(map(str, names)) for name, names in plain["pictures"].items()}
        return HeldOut(float(plain["share"]), int(plain["seed"]), tuple(plain["patients"]), pictures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); bring it back, or train in another --out") from error


def parted(name: str, split: SplitData, held: HeldOut) -> tuple[SplitData, SplitData]:
    """A folder's train without the patients and pictures held out, and what of it judges. Raises DataError where a picture is gone."""
    judging = set(held.pictures.get(name, ()))
    gone = judging - {image.path.name for image in split}
    if gone:
        raise DataError(f"{name}: {min(gone)} judged this run ({FILE}) and is not in train any more; bring it back")

    def held_out(image: LabelledImage) -> bool:
        return image.path.name in judging or patient_of(image.path.name) in held.patients

    kept = tuple(image for image in split if not held_out(image))
    val = tuple(image for image in split if image.path.name in judging)
    return replace(split, images=kept, pictures=split.pictures - len(split) + len(kept)), replace(
        split, images=val, pictures=len(val), left_out=(), passed=()
    )


def _counts(images: Sequence[LabelledImage], classes: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Cells of each type, pictures and cells in all, which count double so that the sides get their sizes too."""
    codes = np.concatenate([image.classes for image in images])
    counts = np.bincount(codes, minlength=classes).astype(np.float64)
    return np.concatenate([counts, [len(images)] * 2, [len(codes)] * 2])
