"""The plan of the evidence: which sets are judged, in whose words, and the site whose own cells are tried. Read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import DataError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JudgedSet(_Part):
    """One set: its folder below the root, the split, and one line on what films these are (no number in it).

    whole_frame: false where its pictures are shrunk so far that no camera's frame would show cells as small.
    """

    folder: str
    split: str = "val"
    words: Annotated[str, Field(pattern=r"^(\D|\d+x objective)*$")] = ""
    whole_frame: bool = True

    @property
    def label(self) -> str:
        return f"{self.folder}/{self.split}"


class Site(_Part):
    """A microscope whose labelled cells (folder, split) are given to `attridet learn`, so many at a time; judged on other patients."""

    folder: str
    split: str = "train"
    judged: tuple[JudgedSet, ...]
    cells: tuple[int, ...] = (0, 20, 50, 100, 200, 400)
    draws: int = 5


class Plan(_Part):
    """frame: pictures are judged at their own size, and laid into a camera's frame of this size as well."""

    frame: str | None = "1920x1080"
    sets: tuple[JudgedSet, ...]
    site: Site | None = None


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises DataError naming file and key."""
    try:
        return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Name a plan: --plan docs/evidence.yaml") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML ({str(error).splitlines()[0]}). Correct it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}. Correct it.") from error
