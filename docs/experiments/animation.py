"""The pictures of the documents: the demo's screen from the scanned label to the signature, as an animation and as single screens.

    python docs/experiments/animation.py --out docs/images

Counts, reviews and signs one rendered slide as `leukoscope demo` does, with the demo's own person at the desk, and draws what its
screen shows (a target of 50 cells in place of 60, so that it is reached). Writes screen.webp (the animation of README.md, at most
3 MB) and the screens of docs/technician.md as JPEG. Some minutes.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image as Pillow
from rich.console import Console
from typing_extensions import Self

from device.app import run
from device.camera.simulator import SimulatorCamera
from device.clock import SystemClock
from device.demo.person import SPECIMEN, DemoPerson
from device.demo.truth import Truth
from device.display.base import Display, ScreenView
from device.display.inputs import Input
from device.display.overlay import draw
from device.display.pages import AskPage, CountPage
from device.display.pages_review import GalleryPage, Shown, SignPage
from device.line import Openers
from device.pipeline import Pipeline
from device.rounds import Round
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, MicroscopeSection, RecordSection, SlideSection
from device.settings.config import SimulatorCamera as SimulatorConfig
from device.slide.model import SlideState
from device.slide.verdict import ARTEFACT
from engines.detections import Image
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

WIDTH, HEIGHT = 960, 540
MOST_BYTES = 3_000_000
SIGNED_MS = 2500
COUNTING, REVIEWING = 54, 44
"""So many pictures of the animation show the count and the review."""
_DRAWN = 1280, 720
_STILL = 1920, 1080
_STILL_WIDTH = 1280
_NUMBERED = ((1062, 93), (1250, 147), (22, 500), (310, 557), (392, 679), (459, 668), (1250, 424))
"""Where the numbers 1 to 7 of docs/technician.md lie on the screen of the count, in px of a still."""
_BETWEEN_KEYS_S = 0.25
"""A person's pace; quicker than the desk takes a look for one the demo's person would go on before its key was obeyed."""
console = Console()


@dataclass(frozen=True)
class Moment:
    """One picture of the screen, PNG, and how long it stands. part: what of the way it shows."""

    part: str
    png: bytes
    shown_ms: int


class Filmed:
    """A display that draws what changes, and keeps single screens of the moments that documents show. stills: name to picture."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.stills: dict[str, Image] = {}
        self._last: object = None
        self._shows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close."""

    def inputs(self) -> Sequence[Input]:
        """Nobody touches it."""
        return ()

    def show(self, view: ScreenView) -> None:
        """Draw the view if it shows something new."""
        self._shows += 1
        part, key, shown_ms = self._of(view)
        if key != self._last:
            self._last = key
            self._draw(part, view, shown_ms)
        for name in _stills(view):
            if name not in self.stills:
                self.stills[name] = draw(view, _STILL)

    def _of(self, view: ScreenView) -> tuple[str, object, int]:
        """Which part of the way a view shows, what makes it new, and how long it stands, in ms."""
        page, slide = view.page, view.slide
        match page:
            case AskPage():
                return "asked", (page.title, page.typed), 110 if page.typed else 700
            case GalleryPage():
                cells = tuple((cell.cell_id, cell.verdict) for cell in page.cells)
                return "review", (page.at, cells), 90
            case SignPage():
                typed = (page.reason or "")[::6]
                return "signature", (typed, page.head.signed, len(page.head.blockers)), SIGNED_MS if page.head.signed else 120
        fields = 0 if slide is None else len(slide.fields)
        state = None if slide is None else slide.state
        if state is SlideState.COUNTING:
            return "count", (fields, self._shows // 6), 110
        return "between", (state, view.message_level), 700

    def _draw(self, part: str, view: ScreenView, shown_ms: int) -> None:
        small = cv2.resize(draw(view, _DRAWN), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(".png", small)
        assert done
        self.moments.append(Moment(part, data.tobytes(), shown_ms))


def _stills(view: ScreenView) -> list[str]:
    """The single screens that a view is good for."""
    page, slide = view.page, view.slide
    match page:
        case AskPage() if page.typed == SPECIMEN:
            return ["step-label"]
        case CountPage() if slide is not None:
            return list(_of_count(view, len(slide.fields), slide.state))
        case GalleryPage() if any(cell.verdict for cell in page.cells) and page.at > 5:
            return ["step-review"]
        case SignPage() if page.head.signed:
            return ["step-signed"]
    return []


def _of_count(view: ScreenView, fields: int, state: SlideState) -> list[str]:
    counting = state is SlideState.COUNTING
    good = counting and fields >= 5 and view.field_counted and view.resting and len(view.slide.fields[-1].cells) > 3  # type: ignore[union-attr]
    names = {
        "step-count": good,
        "step-target": state is SlideState.PAUSED,
        "step-lost": counting and view.message.startswith("Position lost"),
        "step-focus": counting and fields >= 2 and not view.sharp and view.resting,
    }
    return [name for name, shown in names.items() if shown]


class KeyByKey:
    """The demo's person, whose keys come one by one, each after the picture that the one before made."""

    def __init__(self, person: Display, now_s: Callable[[], float]) -> None:
        self._person, self._now, self._asked_s = person, now_s, float("-inf")
        self._keys: deque[Input] = deque()

    def __enter__(self) -> Self:
        self._person.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._person.__exit__(kind, error, trace)

    def show(self, view: ScreenView) -> None:
        """Show it to the person."""
        self._person.show(view)

    def inputs(self) -> Sequence[Input]:
        """The next key, if there is one."""
        if not self._keys and self._now() - self._asked_s >= _BETWEEN_KEYS_S:
            self._asked_s = self._now()
            self._keys.extend(self._person.inputs())
        return [self._keys.popleft()] if self._keys else ()


def film(state: Path, seed: int, case: str) -> Filmed:
    """Count, review and sign one rendered slide; all that its screen showed."""
    config = Config(
        camera=SimulatorConfig(kind="simulator", seed=seed, case=case, fields=14, hand="returns", live=False, loop=False),
        device=DeviceSection(id="demo", state_dir=state),
        microscope=MicroscopeSection(profile="zzcat-5mp", objective=100),
        engine=EngineSection(),
        slide=SlideSection(target_cells=50),
        display=DisplaySection(kind="none"),
        record=RecordSection(path=state / "record.sqlite"),
        broker=BrokerSection(enabled=False),
    )
    frames: dict[int, int] = {}
    truth = Truth(SimulatorCamera(SimulatorConfig(**config.camera.model_dump()), SystemClock()), frames, TAXONOMY)

    def verdict(shown: Shown) -> str:
        kind = truth.at(shown.field_index, shown.cell.box_px)
        return ARTEFACT if kind is None or TAXONOMY.is_artefact(kind) else TAXONOMY.classes[kind]

    def noted(done: Round, pipeline: Pipeline) -> None:
        seen = done.observation
        if seen is not None and seen.event is not None and seen.event.field is not None and done.frame is not None:
            frames[seen.event.field.index] = done.frame.sequence

    filmed = Filmed()
    openers = Openers.of(config)
    person = KeyByKey(DemoPerson(filmed, verdict, openers.clock.monotonic_s), openers.clock.monotonic_s)
    run(config, replace(openers, display=lambda: person), each_round=noted)
    return filmed


def chosen(moments: Sequence[Moment]) -> list[Moment]:
    """The animation's pictures up to the signature: all of the short parts, some of the count and of the review."""
    moments = moments[: next((at for at, one in enumerate(moments, 1) if one.shown_ms == SIGNED_MS), len(moments))]
    count = [at for at, one in enumerate(moments) if one.part == "count"]
    review = [at for at, one in enumerate(moments) if one.part == "review"]
    kept = {at for at, one in enumerate(moments) if one.part not in ("count", "review")}
    for several, most in ((count, COUNTING), (review, REVIEWING)):
        kept.update(several[int(at)] for at in np.linspace(0, len(several) - 1, min(most, len(several))))
    return [moments[at] for at in sorted(kept)]


def animated(moments: Sequence[Moment], quality: int) -> bytes:
    """A WebP that repeats for ever."""
    pictures = [Pillow.open(io.BytesIO(one.png)).convert("RGB") for one in moments]
    out = io.BytesIO()
    lasts = [one.shown_ms for one in moments]
    pictures[0].save(out, "WEBP", save_all=True, append_images=pictures[1:], duration=lasts, loop=0, quality=quality, method=4)
    return out.getvalue()


def smallest(make: Callable[[int], bytes], most: int, qualities: Sequence[int]) -> bytes:
    """The best quality that stays below `most` bytes; the lowest one where none does."""
    made = b""
    for quality in qualities:
        made = make(quality)
        if len(made) <= most:
            break
    return made


def numbered(picture: Image) -> Image:
    """A still with discs that bear the numbers which the text speaks of."""
    scale = picture.shape[1] / _STILL_WIDTH
    out: Image = picture.copy()
    for number, (x, y) in enumerate(_NUMBERED, 1):
        at = round(x * scale), round(y * scale)
        cv2.circle(out, at, round(14 * scale), (40, 200, 255), -1, cv2.LINE_AA)
        corner = at[0] - round(6 * scale), at[1] + round(7 * scale)
        cv2.putText(out, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, (0, 0, 0), round(2 * scale), cv2.LINE_AA)
    return out


def jpeg(picture: Image, quality: int) -> bytes:
    """In the size of a page."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (_STILL_WIDTH, _STILL_WIDTH * height // width), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    parser.add_argument("--seed", type=int, default=7, help="of the rendered film")
    parser.add_argument("--case", default="AML", help="of the rendered film")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        filmed = film(Path(state), given.seed, given.case)
    moments = chosen(filmed.moments)
    files = {"screen.webp": smallest(lambda quality: animated(moments, quality), MOST_BYTES, (70, 60, 50, 40, 30))}
    for name, still in filmed.stills.items():
        picture = numbered(still) if name == "step-count" else still
        files[f"{name}.jpg"] = smallest(lambda quality, picture=picture: jpeg(picture, quality), 300_000, (85, 75, 65))  # type: ignore[misc]
    for name, data in files.items():
        (given.out / name).write_bytes(data)
        console.print(f"{given.out / name}: {len(data) / 1000:.0f} kB", highlight=False)
    seconds = sum(one.shown_ms for one in moments) / 1000
    console.print(f"{len(moments)} pictures of {len(filmed.moments)}, {seconds:.0f} s", highlight=False)


if __name__ == "__main__":
    main()
