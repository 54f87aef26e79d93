"""The plan's sets through an open engine, as plain numbers for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.evidence.plan import JudgedSet
from engines.data.leukemiaattri import read_split
from engines.evaluation.folder import tell_pictures
from engines.evaluation.frame import WholeFrame
from engines.evaluation.picture import Example
from engines.evaluation.result import plain_value
from engines.naming.layer import NamingLayer
from engines.progress import Reporter
from engines.runtime.engine import BundleEngine
from engines.taxonomy import Taxonomy

OWN_SIZE, WHOLE_FRAME = "own size", "whole frame"


@dataclass(frozen=True, eq=False)
class Measured:
    """numbers: for the JSON. examples: each picture as it was told at its own size."""

    numbers: dict[str, Any]
    examples: tuple[Example, ...]


def measure_set(
    engine: BundleEngine, one: JudgedSet, root: Path, frame: WholeFrame | None, resamples: int, seed: int, reporter: Reporter
) -> Measured:
    """One set at its own size and, where one is given, in a whole frame. Raises what `read_split` raises."""
    pictures = read_split(root, one.split, engine.info.taxonomy)
    ways: dict[str, Any] = {}
    examples: tuple[Example, ...] = ()
    for way, size in ((OWN_SIZE, None), (WHOLE_FRAME, frame)):
        if way == WHOLE_FRAME and (size is None or not one.whole_frame):
            continue
        told, results = tell_pictures(engine, pictures, reporter.counter(f"{one.label}, {way}"), resamples, seed, frame=size)
        ways[way] = [look.to_dict() for look in told]
        examples = examples or tuple(result.shown for result in results)
    first = told[-1]
    numbers = {
        "folder": one.folder,
        "split": one.split,
        "words": one.words,
        "scored": pictures.summary,
        "pictures": len(pictures),
        "patients": len(first.films) if first.patients_known else None,
        "white": first.counts.white,
        "blasts": first.counts.blasts,
        "source_known": one.folder in sources_of(engine),
        "groups": _group_names(engine.info.taxonomy),
        "ways": ways,
    }
    return Measured(plain_value(numbers), examples)


def sources_of(engine: BundleEngine) -> set[str]:
    """Names of the data that weights and naming layer were fitted to, as their cards say."""
    names = {seen.name for seen in engine.bundle.manifest.training.data}
    layer: NamingLayer | None = engine.naming
    sources: Sequence[Mapping[str, Any]] = layer.card.get("sources", ()) if layer is not None else ()
    return names | {str(source.get("name")) for source in sources}


def _group_names(taxonomy: Taxonomy) -> dict[str, list[str]]:
    """For each type the name of the group that it is rightly told as."""
    keys = {name: taxonomy.group_of(i) for i, name in enumerate(taxonomy.classes)}
    return {name: [taxonomy.group(key).name] for name, key in keys.items() if key}
