"""The screen in each state that a technician meets, in every language and size: for its tests, and for a person to look at.

`python tests/support/screens.py DIR` writes each as a PNG, and for every language and size a sheet of all of them. To be looked at once
before each release: is anything cut, does anything overlap, does it read?
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import gallery
import numpy as np

from device import language, messages
from device.camera.base import CameraState, CameraStatus
from device.desk.dialogs import AskAbort, AskFinish, Starting
from device.display.base import ScreenView
from device.display.overlay import draw
from device.display.pages import CountPage
from device.mqtt.publisher import BrokerStatus
from device.settings.config import SlideSection
from device.slide.description import describe
from device.slide.model import Slide, SlideState
from device.slide.tally import tally
from device.store.journal import JournalStatus
from device.view import EngineStatus, broker_lamp, camera_lamp, engine_lamp, record_lamp
from engines.taxonomy import LEUKEMIA_ATTRI

SIZES = ((1024, 600), (1280, 800), (1920, 1080), (3840, 2160))
_TOLD = ["Myeloblast", "blasts", "Neutrophil", "others", "", "None", "Lymphocyte", "Monocyte", "Neutrophil", "Neutrophil"]
_TOLD += ["Lymphocyte", "Eosinophil", "Myelocyte", "Promonocyte", "blasts"]
_ZERO = ["Neutrophil", "others", "Lymphocyte", "Monocyte"]


def _of(view: ScreenView, slide: Slide, **changes: object) -> ScreenView:
    """The view with another slide, counted and described."""
    counted = tally(slide, LEUKEMIA_ATTRI)
    words = describe(slide, counted, LEUKEMIA_ATTRI, view.engine.naming)
    return replace(view, slide=slide, differential=counted, description=words, **changes)  # type: ignore[arg-type]


def states() -> dict[str, ScreenView]:
    """The states by name, in the language in use."""
    shown = gallery.named_view(_TOLD, gallery.TYPES_TOLD)
    assert shown.slide is not None and shown.differential is not None
    lamps = (
        camera_lamp(gallery.STREAMING),
        engine_lamp(EngineStatus(400, median_ms=41.2, fps=18.3, precision="int8")),
        broker_lamp(BrokerStatus("lost", pending=3)),
        record_lamp(JournalStatus(0)),
    )
    shown = replace(shown, parts=lamps, message=messages.counted_field(shown.slide.fields[-1]), message_level="ok")
    slide = shown.slide
    assert slide is not None
    out = {"counting": shown, "bare": replace(shown, page=CountPage(bare=True)), "far": replace(shown, page=CountPage(far=True))}
    opening = CameraStatus(CameraState.OPENING, "usb-ZZCAT_5MP-video-index0")
    idle = replace(shown, slide=None, differential=None, description=(), message="", field_counted=False)
    out["waiting"] = replace(idle, frame=None, detections=None, identified=(), camera=opening, resting=False, focus=0.0, focus_text="")
    out["no-slide"] = idle
    paused = replace(slide, state=SlideState.PAUSED)
    out["paused"] = _of(shown, paused, field_counted=False, message=language._("Slide paused."), message_level="warn")
    lost, level = messages.place_lost(), "warn"
    out["place-lost"] = replace(shown, message=lost, message_level=level, field_counted=False)
    out["blurred"] = replace(
        shown,
        message="",
        field_counted=False,
        sharp=False,
        focus=0.2,
        focus_text=language._("turn the fine focus"),
        held=language._("not counted: out of focus"),
    )
    out["moving"] = replace(shown, message="", field_counted=False, resting=False, focus=0.3, focus_text="")
    target = replace(paused, fields=slide.fields * 3)
    counted = tally(target, LEUKEMIA_ATTRI)
    out["target"] = _of(shown, target, field_counted=False, message=messages.target_reached(target, counted), message_level="ok")
    done = replace(slide, state=SlideState.REVIEW)
    out["finished"] = _of(shown, done, field_counted=False, message=messages.finished(done, shown.differential))
    damaged, level = next(messages.of_slide(done, shown.differential, "", "", slide.slide_id))
    out["damaged"] = _of(shown, done, field_counted=False, message=damaged, message_level=level)
    aborted = replace(slide, state=SlideState.ABORTED, abort_reason=language._("poor film"))
    out["aborted"] = _of(shown, aborted, field_counted=False, message=messages.aborted(aborted, shown.differential))
    foreign = gallery.named_view(_TOLD, gallery.TYPES_TOLD, foreign=True)
    assert foreign.slide is not None
    out["foreign"] = _of(replace(foreign, parts=lamps), foreign.slide, message=shown.message)
    zero = gallery.named_view(_ZERO, {"Neutrophil": 20, "Lymphocyte": 9, "Monocyte": 3, "others": 7})
    assert zero.slide is not None
    out["zero-blasts"] = _of(replace(zero, parts=lamps), zero.slide, message=shown.message)
    out["zero-blasts-far"] = replace(out["zero-blasts"], page=CountPage(far=True))
    gone = "/dev/v4l/by-id/usb-ZZCAT_5MP-video-index0 is gone: plug the camera in again"
    camera = CameraStatus(CameraState.LOST, "ZZCAT 5MP", gone, retry_in_s=3.2)
    out["camera-lost"] = replace(shown, camera=camera, parts=(camera_lamp(camera), *lamps[1:]), message="")
    out["camera-lost-far"] = replace(out["camera-lost"], page=CountPage(far=True))
    ask = Starting(SlideSection(), lambda specimen: 0).next()
    out["ask-specimen"] = replace(idle, page=ask.page)  # type: ignore[union-attr]
    out["ask-finish"] = replace(
        shown, page=AskFinish((language._("{n} of {target} white cells are counted.").format(n=88, target=200),)).page
    )
    out["ask-abort"] = replace(shown, page=AskAbort(shown.differential.white_cells).page)
    out["all-types"] = replace(gallery.named_view(_TOLD, gallery.ALL_TOLD), parts=lamps, message=shown.message)
    image, found = gallery.crowd(15)
    out["first-look"] = replace(gallery.view(image, found), parts=lamps, message=shown.message)
    slide_of = out["first-look"].slide
    assert slide_of is not None
    out["first-look"] = _of(out["first-look"], slide_of)
    return out


def sheet(pictures: Sequence[np.ndarray], columns: int = 4, width: int = 960) -> np.ndarray:
    """All pictures, made smaller, in rows."""
    small = [cv2.resize(p, (width, round(width * p.shape[0] / p.shape[1])), interpolation=cv2.INTER_AREA) for p in pictures]
    small += [np.zeros_like(small[0])] * (-len(small) % columns)
    return np.vstack([np.hstack(small[i : i + columns]) for i in range(0, len(small), columns)])


def main(arguments: Sequence[str]) -> int:
    """Write all screens into the folder that `arguments` names."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python tests/support/screens.py DIR\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for code in language.LANGUAGES:
        with language.speaking(code):
            shown = states()
            for size in SIZES:
                pictures = [draw(view, size) for view in shown.values()]
                for name, picture in zip(shown, pictures, strict=True):
                    cv2.imwrite(str(folder / f"{code}-{size[0]}-{name}.png"), picture, (cv2.IMWRITE_PNG_COMPRESSION, 1))
                cv2.imwrite(str(folder / f"sheet-{code}-{size[0]}.jpg"), sheet(pictures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
