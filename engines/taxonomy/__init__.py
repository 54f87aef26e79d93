"""Taxonomies: cell classes, morphological attributes, and every word, colour, spelling and column for them, from one file of data each.

`leukemia_attri.yaml` is the one that ships; a bundle's manifest or a file of one's own (docs/taxonomy.md) may bring another.
"""

from engines.taxonomy.model import (
    LEUKEMIA_ATTRI,
    MIXED,
    SKIP,
    UNKNOWN,
    Attribute,
    CellGroup,
    CellType,
    PersonClass,
    Taxonomy,
    TxtLayout,
)
from engines.taxonomy.reading import read_taxonomy

__all__ = [
    "LEUKEMIA_ATTRI",
    "MIXED",
    "SKIP",
    "UNKNOWN",
    "Attribute",
    "CellGroup",
    "CellType",
    "PersonClass",
    "Taxonomy",
    "TxtLayout",
    "read_taxonomy",
]
