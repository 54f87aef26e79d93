"""One microscope, objective and camera as a versioned profile: scale and whether it was measured or is only nominal."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import EnginesError

_SHIPPED = Path(__file__).parent / "profiles"


class ProfileError(EnginesError):
    """A calibration profile is missing or malformed. Name a shipped one, or mend the file that the message names."""


class ObjectiveScale(BaseModel):
    """Scale at one objective. `um_per_px` refers to the camera's full width in `width_px`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    um_per_px: float = Field(gt=0)
    width_px: int = Field(gt=0)


class CalibrationProfile(BaseModel):
    """What is known of one microscope and camera. `measured` False: nominal values, sizes are then only indicative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    version: str
    camera: str
    measured: bool
    note: str = ""
    objectives: dict[int, ObjectiveScale]

    def um_per_px(self, objective: int, width_px: int) -> float | None:
        """Micrometres a pixel at this objective in a frame `width_px` wide; None if the objective is not in the profile."""
        scale = self.objectives.get(objective)
        return None if scale is None else scale.um_per_px * scale.width_px / width_px

    def label(self, objective: int) -> str:
        """Short form for screen and summary."""
        return f"{self.name} {self.version} {objective}x" + ("" if self.measured else " (nominal)")


def shipped() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(p.stem for p in _SHIPPED.glob("*.yaml"))


def load_profile(reference: str) -> CalibrationProfile:
    """Read a shipped profile by name, or any by path. Raises ProfileError naming file and next step."""
    path = Path(reference) if "/" in reference or reference.endswith((".yaml", ".yml")) else _SHIPPED / f"{reference}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(reference, shipped(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; shipped ones: {', '.join(shipped())}"
        raise ProfileError(f"no calibration profile '{reference}'{hint}")
    try:
        return CalibrationProfile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        first = str(error).replace("\n", " ")
        raise ProfileError(f"{path}: not a calibration profile: {first}; copy a shipped one and change it") from error
