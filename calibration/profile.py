"""One microscope, objective and camera as a versioned profile: scale, white balance, flat-field, and what of it was measured."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import EnginesError

_SHIPPED = Path(__file__).parent / "profiles"


class ProfileError(EnginesError):
    """A calibration profile is missing or malformed. Name a shipped one, or mend the file that the message names."""


Gain = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False)]


class ObjectiveOptics(BaseModel):
    """What a blank field said. white_balance: gains of blue, green, red; glass_bgr: levels of the bare glass before them.

    flat_field: name of a picture beside the profile, light of each place as a share of the brightest; None: none was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    white_balance: tuple[Gain, Gain, Gain]
    glass_bgr: tuple[Level, Level, Level]
    flat_field: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+\.png$")] | None = None
    measured_at: str = ""


class ObjectiveScale(BaseModel):
    """Scale at one objective. `um_per_px` refers to frames `width_px` wide. measured: None, as the whole profile says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    um_per_px: float = Field(gt=0, allow_inf_nan=False)
    width_px: int = Field(gt=0)
    measured: bool | None = None
    note: str = ""
    optics: ObjectiveOptics | None = None


class CalibrationProfile(BaseModel):
    """What is known of one microscope and camera. `measured` False: nominal values, sizes are then only indicative.

    Version 2 of the form added white balance, flat-field and what of an objective was measured; version 1 is read as before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1, 2] = 1
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

    def is_measured(self, objective: int) -> bool:
        """Whether the scale at this objective was measured; False where the objective is not in the profile."""
        scale = self.objectives.get(objective)
        if scale is None:
            return False
        return self.measured if scale.measured is None else scale.measured

    def label(self, objective: int) -> str:
        """Short form for screen and summary."""
        return f"{self.name} {self.version} {objective}x" + ("" if self.is_measured(objective) else " (nominal)")


def shipped() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(p.stem for p in _SHIPPED.glob("*.yaml"))


def profile_path(reference: str) -> Path:
    """The file of a shipped profile by name, or of any by path; it need not be there."""
    return Path(reference) if "/" in reference or reference.endswith((".yaml", ".yml")) else _SHIPPED / f"{reference}.yaml"


def load_profile(reference: str) -> CalibrationProfile:
    """Read a shipped profile by name, or any by path. Raises ProfileError naming file and next step."""
    path = profile_path(reference)
    if not path.is_file():
        near = difflib.get_close_matches(reference, shipped(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; shipped ones: {', '.join(shipped())}"
        raise ProfileError(f"no calibration profile '{reference}'{hint}")
    try:
        return CalibrationProfile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        first = str(error).replace("\n", " ")
        raise ProfileError(f"{path}: not a calibration profile: {first}; copy a shipped one and change it") from error
