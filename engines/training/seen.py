"""What a run shows its network, as its checkpoints keep it (`engines.provenance`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.data.census import in_order
from engines.data.layout import find_splits, patient_of
from engines.data.leukemiaattri import LabelledImage
from engines.errors import EnginesError
from engines.evaluation.trained_on import digest_of
from engines.network.checkpoint import load_any
from engines.provenance import LABELLED, UNLABELLED, DataSeen, data_of
from engines.training.request import Phase

NOT_STATED = "not stated"


def seen_in(folder: Path, split: str, images: Sequence[LabelledImage], labelled: bool = True) -> list[DataSeen]:
    """One entry for each subset of a folder: its name, the pictures that are shown, their cells and patients."""
    of_subset: dict[Path, list[LabelledImage]] = defaultdict(list)
    for image in images:
        of_subset[image.path.parent].append(image)
    names = {one.images: one.subset for one in find_splits(folder, split)}
    found = []
    for place, some in of_subset.items():
        patients = {patient for image in some if (patient := patient_of(image.path.name)) is not None}
        found.append(
            DataSeen(
                name=names.get(place, folder.name),
                licence=NOT_STATED,
                images=len(some),
                role=LABELLED if labelled else UNLABELLED,
                split=split,
                cells=sum(len(image.classes) for image in some) if labelled else 0,
                patients=tuple(sorted(patients, key=in_order)),
                names_sha256=digest_of(image.path.name for image in some),
            )
        )
    return found


def seen_before(initial: Path | None, may_be_gone: bool = False) -> tuple[DataSeen, ...]:
    """What the weights that a run starts from were trained on; nothing for random ones.

    may_be_gone: a resumed run needs them no more. Raises EnginesError where they cannot be read.
    """
    try:
        return () if initial is None else data_of(load_any(initial)[1])
    except EnginesError:
        if may_be_gone:
            return ()
        raise


def about(seen: Sequence[DataSeen], before: Sequence[DataSeen], phase: Phase, command: str) -> dict[str, Any]:
    """What a checkpoint of a phase says of where its weights come from, plainly. before: of what the first phase starts from."""
    if phase.begun:
        before = ()  # its checkpoint knows
    elif phase.number > 1:
        before = seen_before(phase.initial)
    return {
        "seen": [one.model_dump(mode="json") for one in seen],
        "seen_before": [one.model_dump(mode="json") for one in before],
        "command": command,
    }
