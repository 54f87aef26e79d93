"""`leukoscope calibrate`: what the optics of this microscope are, measured with its own camera or on pictures, step by step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from calibration.optics.blank import OpticsError, measure_blank
from calibration.optics.micrometer import scale_from
from calibration.optics.versions import Versions
from device.clock import SystemClock
from device.settings.config import Config
from engines.detections import Image
from engines.pictures import read_image
from engines.red_cells import diameter_px

FOLDER = "calibration"
BLANK_FRAMES, SKIPPED_FRAMES = 12, 5
AT_NEXT_START = "it is taken at the next start of the appliance: sudo systemctl restart leukoscope"
_PLAUSIBLE_UM = (5.3, 9.9)
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def versions_of(config: Config) -> Versions:
    """The versions of the profile that the configuration names, those measured on this appliance among them. Raises ProfileError."""
    return Versions.read(config.device.state_dir / FOLDER, config.microscope.profile)


def blank(config: Config, pictures: Sequence[Path] = ()) -> str:
    """Measure white balance and flat-field, from pictures or else from the camera; what was done. Raises OpticsError and others."""
    frames = read_pictures(pictures) if pictures else from_camera(config, BLANK_FRAMES)
    measured = measure_blank(frames)
    _, words = versions_of(config).with_blank(config.microscope.objective, measured)
    gains = ", ".join(f"{name} x {gain:.2f}" for name, gain in zip(("blue", "green", "red"), measured.white_balance, strict=True))
    lines = [f"{words}: {gains}; the darkest place has {measured.flat.min():.0%} of the light", AT_NEXT_START]
    return "\n".join([*lines, *filter(None, [measured.advice])])


def scale(config: Config, pictures: Sequence[Path], step_um: float, film: Path | None = None) -> str:
    """Measure the scale on pictures of a stage micrometer, or else on the camera's; what was done.

    film: a picture of a film with the same objective, whose red cells say whether the scale can be. Raises OpticsError and others.
    """
    images = read_pictures(pictures) if pictures else from_camera(config, 1)
    versions, objective = versions_of(config), config.microscope.objective
    nominal = versions.base.um_per_px(objective, images[0].shape[1])
    measured = scale_from(images, step_um, nominal)
    said = ""
    if film is not None:
        said = _red_cells_agree(read_image(film), measured.um_per_px * measured.width_px, film)
    _, words = versions.with_scale(objective, measured)
    only = (
        "" if " and " in measured.directions else f"; measured {measured.directions} only: turn the micrometer and give both pictures"
    )
    return "\n".join(filter(None, [f"{words}, {measured.directions}{only}", said, AT_NEXT_START]))


def use(config: Config, version: str) -> str:
    """Put a version in use; what was done. Raises ProfileError."""
    return f"{versions_of(config).use(version)[1]}; {AT_NEXT_START}"


def back(config: Config) -> str:
    """Take the version in use back; what was done. Raises ProfileError."""
    return f"{versions_of(config).back()[1]}; {AT_NEXT_START}"


def show(config: Config) -> str:
    """What is in use, and every change so far, a line each."""
    versions, objective = versions_of(config), config.microscope.objective
    profile = versions.profile
    here = profile.objectives.get(objective)
    lines = [f"in use: {profile.label(objective)}"]
    if here is None:
        lines.append(f"this profile has no {objective}x: cells have no size")
    else:
        lines.append(f"scale: {here.um_per_px:.4f} um a px of {here.width_px}" + (f" ({here.note})" if here.note else ""))
        optics = here.optics
        lines.append(
            "white balance and flat-field: not measured"
            if optics is None
            else f"white balance and flat-field: measured {optics.measured_at}, gains {optics.white_balance}"
        )
    lines += [f"{each.at}  {each.did:8}  {each.what}  by {each.by}" for each in versions.changes]
    return "\n".join(lines)


def guide(config: Config, step_um: float, ask: Callable[[str], str] = input, say: Callable[[str], object] | None = None) -> None:
    """Both measurements, one step after the other, as a person is led through them. Raises as `blank` and `scale` do."""
    say = say or (lambda words: sys.stdout.write(f"{words}\n"))
    say(f"Calibration of the {config.microscope.objective}x objective. Counting must be stopped: the camera is needed here.")
    say("1. Blank field: focus on the film, then move to clean glass beside it. Switch the camera's automatics off.")
    frames: list[Image] = []
    for number in range(1, 5):
        ask(f"   Place {number} of 4, then press Enter (move the stage a little between them) ")
        frames += from_camera(config, BLANK_FRAMES // 4)
    measured = measure_blank(frames)
    versions, words = versions_of(config).with_blank(config.microscope.objective, measured)
    say(f"   {words}")
    if measured.advice:
        say(f"   {measured.advice}")
    say(f"2. Stage micrometer, a line every {step_um:g} um.")
    pictures = []
    for name in ("upright", "level"):
        if ask(f"   Lines {name} and in focus, then press Enter (S to leave this out) ").strip().upper() != "S":
            pictures += from_camera(config, 1)
    if pictures:
        nominal = versions.base.um_per_px(config.microscope.objective, pictures[0].shape[1])
        say(f"   {versions.with_scale(config.microscope.objective, scale_from(pictures, step_um, nominal))[1]}")
    else:
        say("   left out: the scale stays as it was")
    say(f"Done; {AT_NEXT_START}")


def from_camera(config: Config, count: int) -> list[Image]:
    """The camera's next frames, after the first few, in which it still sets itself. Raises what the camera raises."""
    from device.camera.factory import open_camera

    with open_camera(config.camera, SystemClock()) as camera:
        taken = [camera.read().image for _ in range(SKIPPED_FRAMES + count)]
    return taken[SKIPPED_FRAMES:]


def read_pictures(paths: Sequence[Path]) -> list[Image]:
    """Pictures by their files, or all in a folder. Raises OpticsError where there is none, DataError for one that cannot be read."""
    files: list[Path] = []
    for path in paths:
        files += sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES) if path.is_dir() else [path]
    if not files:
        raise OpticsError(f"{', '.join(map(str, paths))}: no pictures are there")
    return [read_image(path) for path in files]


def _red_cells_agree(image: Image, field_um: float, film: Path) -> str:
    size = diameter_px(image)
    if size is None:
        return f"{film}: too few single red cells to say whether the scale can be"
    um = size * field_um / image.shape[1]
    if not _PLAUSIBLE_UM[0] <= um <= _PLAUSIBLE_UM[1]:
        raise OpticsError(
            f"by this scale the red cells of {film} measure {um:.1f} um, not about 7.2: is it the same objective and camera mode?"
        )
    return f"red cells of {film.name} measure {um:.1f} um by it: that fits"
