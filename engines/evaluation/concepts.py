"""What a concept bottleneck makes of attributes: its types beside the most that the labels let any such network reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engines.evaluation.looks import DETECTOR
from engines.evaluation.picture import PictureResult
from engines.families.cbm.ceiling import Ceiling, ceiling
from engines.runtime.engine import NetworkEngine


@dataclass(frozen=True)
class ConceptScore:
    """Types as made of attributes, on labelled white cells.

    concepts: the attributes' names. ceiling: what the labels of all white cells set. found: cells found at the working point; right:
    share of them told their type. corrected: share of all white cells whose type is right once a person has corrected every concept.
    """

    concepts: tuple[str, ...]
    ceiling: Ceiling
    found: int
    right: float
    corrected: float

    @property
    def words(self) -> str:
        """One sentence for the foot of a table."""
        most = self.ceiling
        return (
            f"Types are made of {', '.join(self.concepts)} alone: the best type for each of {most.codes} codes is right in "
            f"{most.best:.3f} of {most.cells} labelled white cells (the commonest type alone {most.commonest:.3f}"
            + (f"; {most.stated_best:.3f} of the {most.stated} with every concept known" if most.stated < most.cells else "")
            + f"). Told right: {self.right:.3f} of the {self.found} found; with every concept corrected: {self.corrected:.3f} of all."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": "labelled white cells; an unknown attribute is a value of its own; corrected: labels in place of what was told",
            **asdict(self),
            "ceiling": self.ceiling.to_dict(),
        }


def concept_score(engine: NetworkEngine, results: Sequence[PictureResult]) -> ConceptScore | None:
    """The score of a concept bottleneck; None of any other network, and without a labelled white cell."""
    if not engine.concept_columns or engine.types_given is None:
        return None
    taxonomy = engine.info.taxonomy
    looks = [result.looks[DETECTOR] for result in results]
    classes, attributes = (np.concatenate([getattr(look, f"truth_{name}") for look in looks]) for name in ("classes", "attributes"))
    told = np.concatenate([np.append(r.shown.classes, -1)[look.partner] for r, look in zip(results, looks, strict=True)])
    white = ~np.isin(classes, taxonomy.artefact_codes)
    if not white.any():
        return None
    found = white & (told >= 0)
    names = tuple(taxonomy.attributes[n].name for n in engine.concept_columns)
    return ConceptScore(
        names,
        ceiling(classes, attributes, engine.concept_columns, taxonomy),
        int(found.sum()),
        float((told[found] == classes[found]).mean()) if found.any() else float("nan"),
        float((engine.types_given(attributes[white]) == classes[white]).mean()),
    )
