"""What is counted, in the codes that laboratories' systems know: the table codes.yaml, read and checked. Nothing is guessed here.

A type that the table does not know (a taxonomy of one's own) has no code; its words then go alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("codes.yaml")
GENERAL_KNOWLEDGE = "general knowledge"
"""Source of a code that nobody has read at a source yet."""
ROWS = ("report", "all_blasts", "blasts_proper", "equivalents", "unidentified", "bands", "film")
"""Rows of a report that are no class, group or person's class."""


@dataclass(frozen=True)
class Code:
    """One line of the table. loinc: None where no code means this. nearest: the code means something near, not the same."""

    name: str
    loinc: str | None
    display: str
    source: str
    checked_on: date | None
    nearest: bool = False

    @property
    def verified(self) -> bool:
        """Whether the code was read at the source that is named."""
        return self.loinc is not None and self.checked_on is not None and self.source != GENERAL_KNOWLEDGE


@lru_cache(maxsize=1)
def _table() -> tuple[str, dict[str, Code]]:
    data = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    codes = [Code(**entry) for entry in data["codes"]]
    return data["licence"], {code.name: code for code in codes}


def codes() -> dict[str, Code]:
    """All lines by name."""
    return dict(_table()[1])


def licence() -> str:
    """LOINC's notice, which goes wherever its codes go."""
    return _table()[0]


def code_of(name: str, words: str = "") -> Code:
    """The line of a class, group, person's class or row; of what the table does not know one without a code, bearing `words`."""
    return _table()[1].get(name) or Code(name, None, words or name, "not in the table", None)
