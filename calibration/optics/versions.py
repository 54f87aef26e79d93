"""Versions of a profile that were measured on one appliance, kept with their flat-fields, used and taken back by a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from calibration.optics.blank import Blank, OpticsError
from calibration.optics.correction import Correction
from calibration.optics.micrometer import Scale
from calibration.profile import CalibrationProfile, ObjectiveOptics, ObjectiveScale, ProfileError, load_profile
from engines.detections import Float32
from engines.history import History, now, standing, who

HISTORY = "history.json"
_FULL = 65535.0


@dataclass(frozen=True)
class Change:
    """One change: `did` is "measured" (and in use from then on), "use" or "back"; file: the version in use after it, "": the base."""

    at: str
    did: str
    by: str
    what: str
    file: str


@dataclass(frozen=True)
class Versions:
    """The versions of one base profile. folder: theirs; reference: the base, as the configuration names it."""

    folder: Path
    reference: str
    base: CalibrationProfile
    changes: tuple[Change, ...]

    @classmethod
    def read(cls, folder: Path, reference: str) -> Versions:
        """Raises ProfileError where base or history cannot be read: another scale than the one measured must not size cells."""
        base = load_profile(reference)
        there = folder / base.name
        return cls(there, reference, base, _history(there).read("remove it and calibrate anew"))

    @property
    def in_use(self) -> str:
        """The file of the version in use; "" for the base."""
        return self.changes[-1].file if self.changes else ""

    @property
    def files(self) -> tuple[str, ...]:
        """Every version that was measured, oldest first."""
        return tuple(dict.fromkeys(change.file for change in self.changes if change.did == "measured"))

    @property
    def profile(self) -> CalibrationProfile:
        """What is in use."""
        return self.open(self.in_use)

    def open(self, file: str) -> CalibrationProfile:
        """A version by its file, "" for the base. Raises ProfileError."""
        return load_profile(str(self.folder / file)) if file else self.base

    def with_blank(self, objective: int, blank: Blank) -> tuple[Versions, str]:
        """A new version with this white balance and flat-field, in use from now on; what was done, in words."""
        scale = self._scale(objective)
        flat = f"flat-{self._next}-{objective}x.png"
        optics = ObjectiveOptics(white_balance=blank.white_balance, glass_bgr=blank.glass_bgr, flat_field=flat, measured_at=now())
        _history(self.folder).keep(self.folder / flat, _png(blank.flat))
        what = f"white balance and flat-field at {objective}x from {blank.frames} frames"
        return self._measured(objective, scale.model_copy(update={"optics": optics}), what)

    def with_scale(self, objective: int, scale: Scale) -> tuple[Versions, str]:
        """The same with this scale."""
        before = self.profile.objectives.get(objective)
        optics = None if before is None else before.optics
        made = ObjectiveScale(
            um_per_px=round(scale.um_per_px, 6),
            width_px=scale.width_px,
            measured=True,
            note=f"stage micrometer, {scale.directions}, {now()}",
            optics=optics,
        )
        return self._measured(objective, made, f"scale at {objective}x: {scale.um_per_px:.4f} um a px of {scale.width_px}")

    def use(self, version: str) -> tuple[Versions, str]:
        """Put a version in use: its number, or "base". Raises ProfileError naming those that there are."""
        file = "" if version == "base" else f"profile-{version}.yaml"
        if file and file not in self.files:
            there = ", ".join(name.removeprefix("profile-").removesuffix(".yaml") for name in self.files) or "none was measured yet"
            raise ProfileError(f"no version '{version}' of {self.base.name}; there are: base, {there}")
        self.open(file)
        return self._changed("use", f"{_label(file)} is in use", file)

    def back(self) -> tuple[Versions, str]:
        """Put the version before the one in use back. Raises ProfileError where there is none."""
        stack = ["", *(change.file for change in standing(self.changes))]
        if len(stack) < 2:
            raise ProfileError(f"{self.base.name}: the base is in use, there is nothing to take back")
        return self._changed("back", f"{_label(stack[-1])} is taken back, {_label(stack[-2])} is in use", stack[-2])

    def correction(self, objective: int) -> Correction | None:
        """What frames at this objective are corrected by; None where nothing was measured. Raises ProfileError."""
        scale = self.profile.objectives.get(objective)
        if scale is None or scale.optics is None:
            return None
        name = scale.optics.flat_field
        return Correction(scale.optics.white_balance, None if name is None else read_flat(self.folder / name))

    @property
    def _next(self) -> int:
        return 1 + max((int(name.removeprefix("profile-").removesuffix(".yaml")) for name in self.files), default=0)

    def _scale(self, objective: int) -> ObjectiveScale:
        scale = self.profile.objectives.get(objective)
        if scale is None:
            there = ", ".join(f"{each}x" for each in sorted(self.profile.objectives))
            raise OpticsError(f"{self.base.name} has no {objective}x ({there}): measure its scale first")
        return scale

    def _measured(self, objective: int, scale: ObjectiveScale, what: str) -> tuple[Versions, str]:
        number, before = self._next, self.profile
        made = before.model_copy(
            update={
                "schema_version": 2,
                "version": f"{self.base.version}-m{number}",
                "objectives": {**before.objectives, objective: scale},
            }
        )
        file = f"profile-{number}.yaml"
        text = yaml.safe_dump(made.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
        _history(self.folder).keep(self.folder / file, f"# {what}. Measured on this appliance; kept beside its flat-fields.\n{text}")
        return self._changed("measured", what, file)

    def _changed(self, did: str, what: str, file: str) -> tuple[Versions, str]:
        changes = (*self.changes, Change(now(), did, who(), what, file))
        _history(self.folder).write(changes)
        return Versions(self.folder, self.reference, self.base, changes), what


def read_flat(path: Path) -> Float32:
    """A flat-field, (h, w, 3) float32, 1 where the field is brightest. Raises ProfileError."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if picture is None or picture.dtype != np.uint16 or picture.ndim != 3 or not picture.all():
        raise ProfileError(f"{path}: no flat-field can be read from it; measure the blank field anew, or take the version back")
    return np.asarray(picture / _FULL, np.float32)


def _png(flat: Float32) -> bytes:
    packed = cv2.imencode(".png", np.clip(np.rint(flat * _FULL), 1, _FULL).astype(np.uint16))[1]
    return bytes(packed.tobytes())


def _label(file: str) -> str:
    return f"version {file.removeprefix('profile-').removesuffix('.yaml')}" if file else "the base profile"


def _history(folder: Path) -> History[Change]:
    return History(folder / HISTORY, "changes", Change, ProfileError)
