"""What must fit together before a training starts or goes on: settings, pictures, processes, weights and checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.data.augment import Sample
from engines.data.leukemiaattri import LabelledImage
from engines.errors import DataError
from engines.families.base import MULTIPLE, Network
from engines.families.hyper import Hyper
from engines.network import checkpoint
from engines.taxonomy import Taxonomy

MUST_AGREE = (
    *("family", "size", "variances", "bottleneck", "imgsz", "batch", "epochs", "phase", "seed", "hyper", "cosine", "detach"),
    *("batches", "adaptation", "pseudo", "labels"),
)
"""Without these being equal a resumed run would not make the next step of the run that it resumes."""

_DEFAULTS = Hyper("").to_dict()
"""What a hyper-parameter was that a checkpoint does not name, being older than it."""


def whole_strides(px: int) -> int:
    """The smallest side that the network takes, a multiple of 32 px, that is at least `px` (600 becomes 608; spec 1.7)."""
    return -(-px // MULTIPLE) * MULTIPLE


def must_fit(samples: Sequence[Sample], shown: int, taxonomy: Taxonomy, imgsz: int, batch: int, processes: int) -> None:
    """DataError, with what to change, where these pictures cannot be trained on so: at this size, in such batches, by so many.

    shown: how many of them an epoch shows.
    """
    if imgsz != whole_strides(imgsz):
        raise DataError(f"--imgsz {imgsz}: the network takes multiples of {MULTIPLE} px; the next is {whole_strides(imgsz)}")
    if batch % processes:
        raise DataError(f"--batch {batch} cannot be shared by {processes} processes; take a multiple of {processes}")
    if shown < batch:
        raise DataError(f"{shown} training pictures do not fill a --batch of {batch}; lower it, or show each N times: DIR:N")
    classes = np.concatenate([sample.labels[:, 0] for sample in samples])
    if not len(classes):
        raise DataError("no training picture has a labelled cell; look at the label files with `attridet data check`")
    outside = classes[(classes < 0) | (classes >= len(taxonomy.classes))]
    if len(outside):
        raise DataError(f"a training label has the class {outside[0]}; the taxonomy has 0 to {len(taxonomy.classes) - 1}")


@dataclass(frozen=True)
class DataDigest:
    """What a run learns from.

    digest: SHA-256, hex, over the pictures sorted by name: name, length of the file, size in px, boxes, types, attributes and regions
    to ignore. Where they lie is not in it.
    """

    pictures: int
    cells: int
    digest: str

    @classmethod
    def of(cls, images: Iterable[LabelledImage]) -> DataDigest:
        """Of the pictures of all folders."""
        entries, cells = [], 0
        for image in images:
            arrays = (np.asarray(image.size_hw), image.boxes_px, image.classes, image.attributes, image.ignored_px)
            entries.append(repr((image.path.name, image.path.stat().st_size, [(a.shape, a.tobytes()) for a in arrays])))
            cells += len(image.classes)
        return cls(len(entries), cells, hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest())


def must_agree(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """DataError naming the setting in which the checkpoint `path` (its state `there`) differs from the run that shall resume it.

    Returns what could not be compared, in words; "" where all could.
    """
    if Taxonomy.from_dict(there["taxonomy"]).meaning != Taxonomy.from_dict(here["taxonomy"]).meaning:
        raise DataError(
            f"{path}: was trained with another taxonomy. Resume with its own, or start anew with this checkpoint as --initial"
        )
    notes = []
    for name in MUST_AGREE:
        if there.get(name) is None or here.get(name) is None:
            continue
        was, now = there[name], here[name]
        if name == "hyper":
            was = {**_DEFAULTS, **was}
            if was["warmup_share"] != now["warmup_share"] and {**was, "warmup_share": now["warmup_share"]} == now:
                was = now
                notes.append(f"{path}: is of an earlier version whose warm-up was longer; it goes on with this version's")
        if name == "epochs" and was < now:
            notes.append(
                f"{path}: was trained for {was} epochs and goes on to {now}: the learning rate follows the schedule of {now} from now, "
                "which is another run than one begun with them"
            )
            was = now
        if was == now:
            continue
        if name == "labels":
            counts = [f"{one['pictures']} pictures with {one['cells']} labelled cells" for one in (was, now)]
            change = (
                f"now there are {counts[1]}"
                if counts[0] != counts[1]
                else "and so it is now, but pictures, boxes or what is labelled differ"
            )
            what = f"was trained on {counts[0]}, {change}: the labels have changed"
        if name == "batches":
            what = f"an epoch had {was} batches, now it has {now}: the pictures have changed"
        if name in ("labels", "batches"):
            raise DataError(f"{path}: {what}. Bring them back, or start anew in another folder with this checkpoint as --initial")
        word = name
        if name in ("hyper", "adaptation"):
            key = next(key for key in now if now[key] != was.get(key))
            word = f"hyper-parameter {key} =" if name == "hyper" else f"{key} ="
            was, now = was.get(key), now[key]
        raise DataError(
            f"{path}: was trained with {word} {was}, now it is {now}. "
            "Resume with the settings that it has, or start anew in another folder with it as --initial"
        )
    if here.get("labels") and not there.get("labels"):
        notes.append(
            f"{path}: is of an earlier version that kept no digest of the labels; whether they have changed since cannot be told"
        )
    return "; ".join(notes)


def start_from(model: Network, path: Path) -> tuple[list[str], list[str]]:
    """Take the network of `path` (.pt or .safetensors) as the start; returns the names of what begins anew, and of what is left behind.

    Raises DataError or BundleError naming the file, also if it is of another size or family.
    """
    start = checkpoint.load_any(path)[0]
    try:
        return model.take(start)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
