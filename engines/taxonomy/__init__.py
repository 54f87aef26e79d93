"""The taxonomy of LeukemiaAttri: classes, morphological attributes and their words. A bundle's manifest may carry another.

Source of names and codes: the LeukemiaAttri dataset as published; see also docs/architecture.md, "The taxonomy is data".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNKNOWN = -1
"""Label value of an attribute that the source does not state, or that does not apply (class None)."""


@dataclass(frozen=True)
class Attribute:
    """One morphological attribute: `key` as in code and payloads, `name` for people, `values` indexed by label code."""

    key: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """What a network tells apart: cell classes (index = label code) and attributes (order = order of the logits)."""

    classes: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    artefact: str = "None"
    blasts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must be unique")
        if any(len(a.values) < 2 for a in self.attributes):
            raise ValueError("an attribute needs at least two values")
        unknown = [b for b in self.blasts if b not in self.classes]
        if unknown:
            raise ValueError(f"blasts name no class: {', '.join(unknown)}")

    @property
    def n_logits(self) -> int:
        """Length of the attribute vector: 15 for LeukemiaAttri (3 + 6 x 2)."""
        return sum(len(a.values) for a in self.attributes)

    @property
    def groups(self) -> tuple[slice, ...]:
        """One slice of the attribute vector for each attribute, in order."""
        out, start = [], 0
        for attribute in self.attributes:
            out.append(slice(start, start + len(attribute.values)))
            start += len(attribute.values)
        return tuple(out)

    @property
    def blast_codes(self) -> tuple[int, ...]:
        """Label codes of the blasts and their equivalents."""
        return tuple(i for i in range(len(self.classes)) if self.is_blast(i))

    def is_artefact(self, index: int) -> bool:
        return self.classes[index] == self.artefact

    def is_blast(self, index: int) -> bool:
        return self.classes[index] in self.blasts

    def to_dict(self) -> dict[str, Any]:
        """Plain form for a manifest."""
        return {
            "classes": list(self.classes),
            "artefact": self.artefact,
            "blasts": list(self.blasts),
            "attributes": [{"key": a.key, "name": a.name, "values": list(a.values)} for a in self.attributes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Taxonomy:
        """Inverse of `to_dict`; raises KeyError, TypeError or ValueError on a malformed mapping."""
        return cls(
            classes=tuple(str(c) for c in data["classes"]),
            attributes=tuple(Attribute(str(a["key"]), str(a["name"]), tuple(str(v) for v in a["values"])) for a in data["attributes"]),
            artefact=str(data.get("artefact", "None")),
            blasts=tuple(str(b) for b in data.get("blasts", ())),
        )


LEUKEMIA_ATTRI = Taxonomy(
    classes=(
        "None",
        "Myeloblast",
        "Lymphoblast",
        "Neutrophil",
        "Atypical lymphocyte",
        "Promonocyte",
        "Monoblast",
        "Lymphocyte",
        "Myelocyte",
        "Abnormal promyelocyte",
        "Monocyte",
        "Metamyelocyte",
        "Eosinophil",
        "Basophil",
    ),
    attributes=(
        Attribute("cell_size", "Cell Size", ("small", "medium", "large")),
        Attribute("nuclear_chromatin", "Nuclear Chromatin", ("open", "coarse")),
        Attribute("nuclear_shape", "Nuclear Shape", ("regular", "irregular")),
        Attribute("nucleolus", "Nucleolus", ("inconspicuous", "prominent")),
        Attribute("cytoplasm", "Cytoplasm", ("scanty", "abundant")),
        Attribute("cytoplasmic_basophilia", "Cytoplasmic Basophilia", ("slight", "moderate")),
        Attribute("cytoplasmic_vacuoles", "Cytoplasmic Vacuoles", ("absent", "prominent")),
    ),
    # Counted as blasts or blast equivalents in acute leukaemia (WHO: promonocytes and, in APL, abnormal promyelocytes).
    blasts=("Myeloblast", "Lymphoblast", "Monoblast", "Promonocyte", "Abnormal promyelocyte"),
)
"""13 types of white blood cell and artefact ("None"), seven attributes; the default where no manifest says otherwise."""
