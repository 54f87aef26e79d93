"""The appliance's configuration as frozen models; reading the YAML file and its errors live in `config_file`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from device.settings.broker import BrokerSection
from device.settings.section import FilePath, Name, Section, Share
from engines.appliance import DEFAULT_BUNDLE, PLANS

DEVICE_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
DeviceId = Annotated[
    str,
    Field(
        pattern=DEVICE_ID,
        description="1 to 64 letters, digits, '-' or '_', beginning with a letter or digit",
    ),
]
"""Part of every topic, so neither slash, plus, hash nor space; never a patient's name."""
SIMULATED_CASES = ("AML", "ALL", "APML", "CLL", "CML", "normal", "mixed")
"""What the simulated slide can show; engines.film.CASES without importing it (a test holds them equal)."""


KEY_NAMES = (
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    *("ESCAPE", "RETURN", "LEFT", "RIGHT", "UP", "DOWN", "BACKSPACE", "DELETE", "SPACE", "TAB", "HOME", "END", "PAGEUP", "PAGEDOWN"),
    *("INSERT", *(f"F{number}" for number in range(1, 11))),
)
"""Keys by the names that the window gives them (`device.display.window`; a test holds them equal)."""


class DeviceSection(Section):
    """Who this box is and where it keeps its things."""

    id: DeviceId = "leukoscope"
    state_dir: FilePath = Path("/var/lib/leukoscope")  # record, outbox, control socket


class CameraBase(Section):
    """Base of every kind of camera. What the rest of the daemon asks of a kind stands here, so that a new one touches no other file.

    simulated: its film is rendered, no patient's blood. stored: it shows files; their folders must not leave the device.
    """

    simulated: ClassVar[bool] = False
    stored: ClassVar[bool] = False

    kind: str


class V4l2Camera(CameraBase):
    """A USB microscope camera through V4L2, by its stable id under /dev/v4l/by-id or /dev/v4l/by-path; "auto": the only one."""

    kind: Literal["v4l2"]
    device: Name
    width_px: int = Field(1920, ge=160, le=8192)
    height_px: int = Field(1080, ge=120, le=8192)
    fps: float = Field(30.0, gt=0, le=240)
    fourcc: str = Field("MJPG", min_length=4, max_length=4)
    exposure_us: int | None = Field(None, gt=0)
    gain: float | None = Field(None, ge=0)


class Picamera2Camera(CameraBase):
    """A CSI or USB camera through libcamera's picamera2."""

    kind: Literal["picamera2"]
    camera: int = Field(0, ge=0)
    width_px: int = Field(1920, ge=160, le=8192)
    height_px: int = Field(1080, ge=120, le=8192)
    fps: float = Field(15.0, gt=0, le=240)


class ReplayCamera(CameraBase):
    """Stored pictures: a folder of images, a video file, or the address of a network stream."""

    stored: ClassVar[bool] = True

    kind: Literal["replay"]
    source: Name
    loop: bool = False
    fps: float | None = Field(None, gt=0, le=240)  # None: as fast as they are looked at; videos: their own
    hold_frames: int = Field(3, ge=1, le=1000)  # a still picture is shown this many times, so that it comes to rest

    @property
    def path_keys(self) -> tuple[str, ...]:
        return () if "://" in self.source else ("source",)


class SimulatorCamera(CameraBase):
    """The rendered slide of engines.film under a moving stage. For demonstration and tests; it says so on the screen."""

    simulated: ClassVar[bool] = True

    kind: Literal["simulator"]
    seed: int = Field(7, ge=0)
    case: Name = "AML"
    domain: Literal["H", "L"] = "L"
    camera: Literal["C1", "C2"] = "C2"
    objective: Literal[10, 40, 100] = 100
    width_px: int = Field(1920, ge=320, le=4096)
    height_px: int = Field(1080, ge=240, le=4096)
    fields: int = Field(24, ge=1, le=10000)
    hand: Literal["fields", "whole", "ordinary", "overlap", "returns", "restless"] = "fields"  # see camera.hand; fields: apart
    fps: float = Field(10.0, gt=0, le=120)
    live: bool = False  # False: the simulated technician waits until each frame was looked at
    loop: bool = False

    @field_validator("case")
    @classmethod
    def _known_case(cls, value: str) -> str:
        if value not in SIMULATED_CASES:
            raise ValueError(f"expected one of {', '.join(SIMULATED_CASES)}, got '{value}'")
        return value


CameraSection = Annotated[
    V4l2Camera | Picamera2Camera | ReplayCamera | SimulatorCamera,
    Field(discriminator="kind"),
]


class EngineSection(Section):
    """Which bundle runs, and by what."""

    bundle: Name = DEFAULT_BUNDLE  # a folder, or zoo:NAME for a shipped one
    runtime: Literal["auto", "onnx", "openvino", "tensorrt", "tensorrt_rtx"] = "auto"  # auto: see engines.runtime.choice
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # of what is not in 8 bits; see engines.runtime.precision
    layer: FilePath | None = None  # naming layer in place of the bundle's own, and of one activated by `leukoscope layer use`
    plans: FilePath = PLANS  # folder that `attridet build` filled on this device; for TensorRT
    ungated: bool = False  # run a bundle in INT8 that passed no gate; the screen says so all the time
    threads: int = Field(2, ge=1, le=64)
    deadline_s: float = Field(20.0, gt=0, le=600)  # for one answer; later it is opened anew; less than the unit's WatchdogSec
    score_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None  # None: the manifest's
    identify_threshold: Share = 0.4  # below it a cell is counted as unidentified

    @field_validator("plans", mode="before")
    @classmethod
    def _plans_unset(cls, value: object) -> object:
        """`plans:` with nothing behind it is not set, as `attridet build --config` reads it."""
        return PLANS if value is None else value

    @property
    def path_keys(self) -> tuple[str, ...]:
        return () if self.bundle.startswith("zoo:") else ("bundle",)


class MicroscopeSection(Section):
    """The microscope that the camera sits on."""

    profile: Name = "zzcat-5mp"  # a shipped calibration profile, or the path of one
    objective: Literal[10, 40, 100] = 100

    @property
    def path_keys(self) -> tuple[str, ...]:
        return ("profile",) if "/" in self.profile or self.profile.endswith((".yaml", ".yml")) else ()


class SlideSection(Section):
    """How a slide is counted."""

    target_cells: int = Field(200, ge=1, le=100_000)
    stop_at_target: bool = True  # pause there until a person goes on to the next target; never a slide opened by auto_start
    ask_specimen: bool = True  # at the start of a slide: the specimen's id, and who counts
    specimen_pattern: str = r"[=&]?[A-Za-z0-9][A-Za-z0-9./_-]{1,30}"  # of the whole id, a regular expression; a name is never taken
    specimen_check: Literal["none", "mod10", "mod43", "mod37-2"] = "none"  # what the id's last character must be
    operator_hours: float = Field(12.0, ge=0, le=168)  # initials are remembered so long, and not beyond a restart
    auto_start: bool = False  # open a slide with the first frame, without a specimen
    finish_at_end: bool = True  # close it, and end, when a stored source ends; false: a person finishes
    rest_frames: int = Field(2, ge=2, le=100)  # frames alike before a field is counted
    moved_share: Share = 0.15  # of the field: less new ground, without a new cell, is no new field

    @field_validator("specimen_pattern")
    @classmethod
    def _regular_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}; see https://docs.python.org/3/library/re.html") from None
        return value


class DisplaySection(Section):
    """Where the technician looks. `--display` on the command line takes precedence."""

    kind: Literal["screen", "file", "none"] = "screen"
    language: Literal["en", "fr", "ur", "sw"] = "en"  # of the screen; what goes to other machines stays English
    directory: FilePath | None = None  # for kind: file
    period_s: float = Field(1.0, gt=0)  # for kind: file
    keep_pictures: int = Field(500, ge=1, le=1_000_000)  # for kind: file
    fullscreen: bool = True
    native: bool = True  # False: drawn at most as large as width_px by height_px, and enlarged to fill the window
    width_px: int = Field(1920, ge=640, le=7680)
    height_px: int = Field(1080, ge=360, le=4320)
    keys: dict[str, str] = Field({}, description="pairs of keys, that of a foot switch before the one it is taken for: {F9: U}")

    @field_validator("keys", mode="before")
    @classmethod
    def _names_of_keys(cls, value: object) -> object:
        pairs = list(value.items()) if isinstance(value, dict) else [("?", "?")]
        if wrong := [f"{key}: {meant}" for key, meant in pairs if key not in KEY_NAMES or meant not in KEY_NAMES]:
            right = "expected pairs of keys, that of a foot switch before the one it is taken for, such as {F9: U, PAGEDOWN: F}"
            raise ValueError(f"{right}; wrong: {', '.join(wrong)}")
        return value

    @model_validator(mode="after")
    def _file_needs_directory(self) -> DisplaySection:
        if self.kind == "file" and self.directory is None:
            raise ValueError("kind 'file' needs 'directory'")
        return self


class QualitySection(Section):
    """The known slide that is counted every day, and how far its count may be from its reference."""

    specimen: Name | None = None  # the id on its label; None: no such slide
    fewest_cells: int = Field(200, ge=20, le=10_000)
    located_share: Share = 0.7  # of the reference's cells a field
    most_difference: Share = 0.05  # of a type's share; chance alone is always allowed


class RecordSection(Section):
    """The SQLite record."""

    path: FilePath | None = None  # None: record.sqlite in the state folder
    crops: bool = True
    jpeg_quality: int = Field(90, ge=50, le=100)
    min_free_mb: int = Field(200, ge=0)
    pictures: bool = True  # of each counted field, beside the record, for the review
    keep_pictures_days: int = Field(90, ge=1, le=36500)  # after the signature; of a slide that waits for one they stay


class ReportSection(Section):
    """What is handed on of a slide."""

    on_signing: bool = True  # write page, tables and FHIR of a slide as soon as it is signed
    folder: FilePath | None = None  # where to; None: reports in the state folder
    code: str | None = None  # None: 69738-3, "Differential panel, method unspecified - Blood"

    @field_validator("code")
    @classmethod
    def _is_a_loinc_code(cls, value: str | None) -> str | None:
        if value is not None and not is_loinc(value):
            raise ValueError("is no LOINC code: digits, a hyphen and the check digit are needed, as in 69738-3")
        return value


def is_loinc(code: str) -> bool:
    """Whether `code` has the form of a LOINC code and its check digit (modulus 10) is right."""
    digits, hyphen, last = code.rpartition("-")
    if not (hyphen and digits.isdecimal() and len(last) == 1 and last.isdecimal() and code.isascii()):
        return False
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits)))
    return (sum(sum(divmod(value, 10)) for value in doubled) + int(last)) % 10 == 0


class FramesSection(Section):
    """Frames kept as the camera gave them, of which a calibration set is chosen. `--record` on the command line takes precedence."""

    directory: FilePath | None = None  # None: none are kept
    every_s: float = Field(5.0, ge=0)  # between two frames of the resting stage; each counted field is kept besides
    most_frames: int = Field(2000, ge=1, le=1_000_000)  # in the folder; a 1080p frame takes 2 to 4 MB
    min_free_mb: int = Field(1000, ge=0)  # below it no frame is kept: the record needs the room


class Config(Section):
    """The whole file. Every section may be left out except `camera`."""

    camera: CameraSection
    device: DeviceSection = DeviceSection()
    engine: EngineSection = EngineSection()
    microscope: MicroscopeSection = MicroscopeSection()
    slide: SlideSection = SlideSection()
    display: DisplaySection = DisplaySection()
    quality: QualitySection = QualitySection()
    record: RecordSection = RecordSection()
    report: ReportSection = ReportSection()
    frames: FramesSection = FramesSection()
    broker: BrokerSection = BrokerSection()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _stills_come_to_rest(self) -> Config:
        if isinstance(self.camera, ReplayCamera) and self.camera.hold_frames < self.slide.rest_frames:
            stills, rest = self.camera.hold_frames, self.slide.rest_frames
            raise ValueError(f"camera.hold_frames is {stills}, less than slide.rest_frames, {rest}: no still picture would be counted")
        return self

    @property
    def record_path(self) -> Path:
        return self.record.path or self.device.state_dir / "record.sqlite"

    @property
    def reports_path(self) -> Path | None:
        """Where signed reports are written; None: nowhere."""
        return (self.report.folder or self.device.state_dir / "reports") if self.report.on_signing else None

    @property
    def engine_choice_path(self) -> Path:
        """Which runtime and precision were measured as the quickest here."""
        return self.device.state_dir / "engine-choice.json"

    @property
    def update_offer_path(self) -> Path:
        """The update that was offered over the broker, `{"url", "by", "at"}`; a person at the box takes it or leaves it."""
        return self.device.state_dir / "update-offer.json"

    @property
    def control_path(self) -> Path:
        return self.device.state_dir / "control.sock"
