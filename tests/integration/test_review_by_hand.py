"""A whole review at the real window of a real daemon, by keys, mouse and finger: from the list of slides to the signature.

`python tests/integration/test_review_by_hand.py 200` lets a fast person (three keys a second) review 200 cells and prints presses,
seconds and how long a key took to the screen; `… 200 each` lets every cell be confirmed on its own.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import gallery
from hands import Hands, desk_with_window_manager
from provenance import provenance
from reviewing import Sitting, painted

from device.display.inputs import Input, Kind
from device.display.overlay import draw_on
from device.display.sheet import Sheet
from device.review.journal import Act, verify
from device.slide.model import ReviewState, Slide, SlideState
from device.store import Store
from device.store.slides import StoredSlide
from engines.detections import Image

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a virtual X server (Debian: apt install xvfb)"),
    pytest.mark.skipif(shutil.which("openbox") is None, reason="needs openbox, a window manager (Debian: apt install openbox)"),
    pytest.mark.skipif(shutil.which("xdotool") is None, reason="needs xdotool to press keys (Debian: apt install xdotool)"),
]

PATIENCE_S = 90.0
_SAMPLE = 3
"""Every so many pixels of the screen are compared to see that it changed."""
MIX = ["Neutrophil"] * 7 + ["Lymphocyte"] * 4 + ["Myeloblast"] * 3 + ["Monocyte"] * 2 + ["blasts", "", "others", "artefact"]
"""What was told of a slide's cells: a fifth are blasts, one in twenty is unidentified."""


@dataclass
class Measured:
    """What one review took."""

    presses: int = 0
    seconds: float = 0.0
    to_screen_ms: list[float] = field(default_factory=list)

    def words(self) -> str:
        times = sorted(self.to_screen_ms)
        late = times[int(0.95 * (len(times) - 1))]
        shown = f"median {statistics.median(times):.0f} ms, 95 % within {late:.0f} ms, longest {times[-1]:.0f} ms"
        return f"{self.presses} presses in {self.seconds:.0f} s; from key to screen {shown} of {len(times)} keys"


def prepared(folder: Path, cells: int) -> tuple[Slide, dict[int, Image], Path]:
    """A record with one finished slide of so many cells, and the configuration of a daemon on it."""
    slide, pictures = painted((MIX * (cells // len(MIX) + 1))[:cells])
    state = folder / "state"
    state.mkdir()
    with Store.open(state / "record.sqlite") as store:
        made = provenance(replace(gallery.ENGINE, naming=gallery.NAMING))
        store.start_slide(replace(slide, state=SlideState.COUNTING, finished_at=None, fields=()), made)
        store.put_fields(slide.slide_id, slide.fields)
        store.close_slide(slide, None)
    for index, image in pictures.items():
        file = state / "pictures" / slide.slide_id / f"field-{index:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image)
    config = folder / "device.yaml"
    config.write_text(
        "camera: {kind: simulator, loop: true, live: true, width_px: 320, height_px: 240, fps: 5}\n"
        f"device: {{id: review-test, state_dir: {state}}}\nengine: {{runtime: onnx, precision: float32, threads: 1}}\n"
        "display: {kind: screen}\nbroker: {host: 127.0.0.1, port: 9, tls: false}\nlog_level: error\n"
    )
    return slide, pictures, config


class Reviewer:
    """Presses the same keys at the window and at a desk of its own, which tells what should be seen there."""

    def __init__(self, hands: Hands, model: Sitting, pause_s: float) -> None:
        self.hands, self.model, self.pause_s = hands, model, pause_s
        self.measured = Measured()
        self._next_s = time.monotonic()

    def do(self, *words: str) -> None:
        for word in words:
            self._wait()
            before = self.hands.seen(_SAMPLE)
            self.hands.key(word)
            took = self.hands.change_ms(before, _SAMPLE)
            assert took is not None, f"{word} changed nothing on the screen"
            self.measured.to_screen_ms.append(took)
            name = word.removeprefix("+")
            text = " " if name == "SPACE" else name.lower() if len(name) == 1 else ""
            self.model.do(Input(Kind.KEY, name, text, shift=word.startswith("+")))

    def place(self, word: str) -> tuple[float, float, float, float]:
        """Where a target of the page lies on the screen: x0, y0, x1, y1."""
        canvas = np.zeros((self.hands.height, self.hands.width, 3), np.uint8)
        targets = draw_on(Sheet(canvas), self.model.view())
        return next(place for place, one in reversed(targets.places) if one == word)

    def press(self, word: str, at: tuple[float, float] = (0.5, 0.5), wait_s: float = 0.3) -> None:
        if wait_s >= self.pause_s:
            self._wait()
        x0, y0, x1, y1 = self.place(word)
        self.hands.press(x0 + (x1 - x0) * at[0], y0 + (y1 - y0) * at[1])
        time.sleep(wait_s)
        self.model.do(Input(Kind.PRESS, word, at=at))

    def drag(self, word: str, onto: str) -> None:
        self._wait()
        middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in map(self.place, (word, onto))]
        self.hands.drag(middles[0], middles[1])
        time.sleep(0.5)
        self.model.do(Input(Kind.DRAG, word, onto=onto))

    def review_all(self, each: bool = False) -> None:
        """As a person who knows the cells: blasts one by one, now and then another class, the rest page by page or each on its own."""
        desk = self.model.desk
        for turn in range(5 * len(desk.review.cells)):
            batch, cell = desk._batch, desk.review.cells[desk.spot.cell_id]
            if batch is None or desk.page.head.said.startswith("This is the last group"):
                return
            if batch.accepts and not each:
                if turn % 5 == 0:
                    self.do("RIGHT", "E")
                self.do("+SPACE")
            elif not cell.said:
                self.do("L")
            elif turn % 8 == 5 and not cell.cell.verdict:
                self.do("3")
            else:
                self.do("SPACE")

    def _wait(self) -> None:
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._next_s = time.monotonic() + self.pause_s


@contextmanager
def at_the_window(folder: Path, cells: int, pause_s: float, size: tuple[int, int] = (1280, 800)) -> Iterator[tuple[Reviewer, Path]]:
    """A daemon on a prepared record, its window open and the list of slides answered with initials; and the record."""
    slide, pictures, config = prepared(folder, cells)
    environment = {name: value for name, value in os.environ.items() if name not in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    with desk_with_window_manager(*size, folder) as display:
        command = [sys.executable, "-m", "device", "run", "--config", str(config)]
        process = subprocess.Popen(command, env={**environment, "DISPLAY": display}, stdin=subprocess.DEVNULL)
        hands = Hands(display, folder)
        try:
            end = time.monotonic() + PATIENCE_S
            while len(np.unique(hands.seen(8))) < 60:  # until the daemon has drawn its first picture
                assert time.monotonic() < end, "no window"
                assert process.poll() is None, "the daemon ended"
                time.sleep(0.2)
            time.sleep(1.0)
            for word in ("R", "RETURN", "A", "B", "RETURN"):
                hands.key(word)
                time.sleep(0.7)
            hands.presses = 0
            yield Reviewer(hands, Sitting(slide, pictures), pause_s), folder / "state" / "record.sqlite"
        finally:
            hands.close()
            process.terminate()
            process.wait(30)


def stored(record: Path, signed: bool = True) -> StoredSlide:
    """The slide as the daemon keeps it, as soon as it is signed."""
    end = time.monotonic() + 10
    while True:
        with Store.read(record) as store:
            one = store.slide(store.slide_ids(1)[0])
        if not signed or one.slide.state is SlideState.SIGNED or time.monotonic() > end:
            return one
        time.sleep(0.1)


def same_as_planned(one: StoredSlide, model: Sitting) -> None:
    assert verify(one.review, one.slide.slide_id) == []
    planned = {cell.cell_id: cell.said for cell in model.desk.review.cells.values()}
    assert {cell.cell_id: cell.said for cell in one.reviewing.cells.values()} == planned


def sign(reviewer: Reviewer, cells: int) -> None:
    reviewer.do("G", *("few left" if cells < 110 else "").replace(" ", "x").upper(), "RETURN")


def test_thirty_cells_by_keys_alone_end_signed(tmp_path: Path) -> None:
    with at_the_window(tmp_path, 30, 0.12) as (reviewer, record):
        start = time.monotonic()
        reviewer.review_all()
        sign(reviewer, 30)
        reviewer.measured.presses, reviewer.measured.seconds = reviewer.hands.presses, time.monotonic() - start
        one = stored(record)
        with Store.read(record) as store:
            sent = dict(store.summaries(one.slide.slide_id))
    same_as_planned(one, reviewer.model)
    summary = json.loads(sent[1])  # it waits in the outbox for a broker
    assert (summary["review_state"], summary["revision"], summary["slide_id"]) == ("reviewed", 1, one.slide.slide_id)
    assert "AB" not in json.dumps(summary)
    assert (one.slide.state, one.slide.review_state, one.slide.reviewer) == (SlideState.SIGNED, ReviewState.REVIEWED, "AB")
    assert one.review[-1].act is Act.SIGNED
    assert one.review[-1].why == "fewxleft"
    blasts = [cell for cell in one.reviewing.cells.values() if cell.must_open]
    assert blasts
    assert all(cell.opened for cell in blasts)
    assert reviewer.hands.presses < 60
    assert len(reviewer.measured.to_screen_ms) == reviewer.hands.presses


def test_by_mouse_and_finger_alone(tmp_path: Path) -> None:
    """Choose, drag onto a class, press a class, add a missed cell on the field, take back."""
    with at_the_window(tmp_path, 30, 0.3) as (reviewer, record):
        model = reviewer.model.desk
        ids = model._page_cells
        reviewer.press(f"cell {ids[2]}")
        reviewer.press("class Lymphoblast")
        reviewer.drag(f"cell {ids[1]}", "class Promonocyte")
        reviewer.drag(f"cell {ids[0]}", f"cell {ids[2]}")
        assert len(model.spot.selected) == 3
        reviewer.press("Q")
        reviewer.press(f"cell {ids[3]}")
        reviewer.press("RETURN")
        reviewer.press("I")
        reviewer.press("picture", (0.31, 0.9))
        reviewer.press("class nrbc")
        reviewer.press("RETURN")
        for _ in range(3):  # as fast as a double press, each of which counts
            reviewer.press("SPACE", wait_s=0.05)
        reviewer.press("PAGEDOWN")
        reviewer.press("class Basophil")
        reviewer.press("U")
        time.sleep(0.5)
        one = stored(record, signed=False)
    same_as_planned(one, reviewer.model)
    added = [entry for entry in one.review if entry.act is Act.ADDED]
    assert [entry.said for entry in added] == ["nrbc"]
    x1, y1, x2, y2 = added[0].box_px
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((0.31 * 960, 0.9 * 540), abs=3)
    assert {entry.act for entry in one.review} == {Act.OPENED, Act.NAMED, Act.ADDED, Act.UNDONE}


def main(arguments: Sequence[str]) -> None:
    """A fast person and so many cells; with "each" every cell is confirmed on its own."""
    cells = int(arguments[0]) if arguments else 200
    with tempfile.TemporaryDirectory() as folder, at_the_window(Path(folder), cells, 1 / 3, (1920, 1080)) as (reviewer, record):
        start = time.monotonic()
        reviewer.review_all("each" in arguments)
        sign(reviewer, cells)
        reviewer.measured.presses, reviewer.measured.seconds = reviewer.hands.presses, time.monotonic() - start
        one = stored(record)
        sys.stdout.write(f"{cells} cells: {reviewer.measured.words()}; slide {one.slide.state.value}, {len(one.review)} entries\n")


if __name__ == "__main__":
    main(sys.argv[1:])
