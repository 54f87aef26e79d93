"""The appliance's line, killed without warning at random moments and started again, until its slide is read to the end.

The rendered slide and its truth, the real pipeline, the real record. Each life is a process of its own that gets a SIGKILL while it
opens, looks, counts or writes. The stage stays where it was when the power went; the person goes on as soon as the slide is back.
`python tests/support/killed_line.py --kills 100` prints what came of it; nothing here runs in the daemon.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from device.clock import SystemClock
from device.display.base import NullDisplay
from device.line import Line, Openers
from device.pipeline import Pipeline
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, SimulatorCamera, SlideSection
from device.slide.commands import Command, Wish
from device.slide.model import Slide, SlideState
from device.store import Store
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.truth_engine import TruthEngine, TruthfulSimulator

BEGIN = Wish(Command.START, specimen="H26-104311", operator="AB")


class HurriedClock(SystemClock):
    """Real time, but nobody waits for the simulated stage."""

    def sleep(self, seconds: float) -> None:
        return None


class ContinuedSimulator(TruthfulSimulator):
    """A simulated stage that stands where it stood when the power went."""

    def go_to(self, frame: int) -> None:
        """The next frame is this one, at the path's end its last; of a rest its first: the person looks again before going on."""
        path = self.path
        frame = min(frame, path.frames - 1)  # a kill between the last frame and the end of the slide
        while frame > 0 and path.at(frame).field is not None and path.at(frame - 1).field == path.at(frame).field:
            frame -= 1
        self._sequence = frame


def configuration(folder: Path, fields: int, seed: int) -> Config:
    return Config(
        camera=SimulatorCamera(kind="simulator", seed=seed, case="AML", width_px=640, height_px=360, fields=fields),
        device=DeviceSection(id="killed", state_dir=folder),
        slide=SlideSection(target_cells=100_000),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(enabled=True),
    )


def live(folder: Path, fields: int, seed: int) -> None:
    """One life: take the slide up, or begin it, and read on to the end; where it got to stands in the file `frame`."""
    config, clock = configuration(folder, fields, seed), HurriedClock()
    assert isinstance(config.camera, SimulatorCamera)
    camera, at = ContinuedSimulator(config.camera, clock), folder / "frame"
    camera.go_to(int(at.read_text() or 0) if at.exists() else 0)
    with Line.open(config, Openers(clock, lambda: camera, lambda: TruthEngine(camera), NullDisplay)) as line:
        pipeline = line.pipeline()
        if not read_on(pipeline):
            return
        with at.open("r+" if at.exists() else "w", buffering=1) as said:
            while not pipeline.stopped:
                done = pipeline.round()
                if done.frame is not None:
                    said.seek(0)
                    said.write(f"{done.frame.sequence + 1:9d}")
                    said.flush()
        assert pipeline.close()


def read_on(pipeline: Pipeline) -> bool:
    """What the person does at the start; False where the slide was finished by an earlier life."""
    if pipeline.slide is not None:
        assert pipeline.slide.state is SlideState.PAUSED
        return pipeline.obey(Wish(Command.GO_ON))[0]
    return pipeline.obey(BEGIN)[0]


@dataclass(frozen=True)
class Outcome:
    """What came of it. lost, doubled: cells by type that the record lacks against the rendered film, and that it has more than once.

    resumed: how many of the killed lives had taken up a slide with cells; slides: in the record at the end. back_s: seconds from a kill
    to the first frame that the next life has taken in.
    """

    kills: int
    resumed: int
    fields: int
    cells: int
    lost: int
    doubled: int
    slides: int
    same_differential: bool
    summaries: int
    back_s: tuple[float, ...] = ()

    @property
    def words(self) -> str:
        same = "the same differential" if self.same_differential else "ANOTHER DIFFERENTIAL"
        return (
            f"{self.kills} kills ({self.resumed} of them with cells counted): {self.cells} cells in {self.fields} fields, "
            f"{self.lost} lost, {self.doubled} doubled, {same}; {self.slides} slide, {self.summaries} summary in the record"
        )


def killed(kills: int, folder: Path, seed: int = 11, longest_s: float = 0.8) -> Outcome:
    """Read one slide of about as many fields as kills, killed so often.

    Of five lives one is killed at any moment from its beginning, before its first frame most often, four within `longest_s` after it.
    """
    fields, chance, resumed, done = kills + 5, random.Random(seed), 0, 0
    back_s: list[float] = []
    killed_s = float("nan")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["device.line", "tests.support.truth_engine"])
    while done < kills:
        before = told(folder)
        process: BaseProcess = made.Process(target=live, args=(folder, fields, seed))
        process.start()
        if chance.random() < 0.2:
            process.join(chance.uniform(0.01, 2 * longest_s))
        else:
            while process.is_alive() and told(folder) == before:
                time.sleep(0.005)
            if done and process.is_alive():
                back_s.append(time.monotonic() - killed_s)
            process.join(chance.uniform(0.0, longest_s))
        if not process.is_alive():
            assert process.exitcode == 0, "a life ended by itself"
            break  # read to the end: fewer kills than asked for, and the caller sees it
        process.kill()
        killed_s = time.monotonic()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        done += 1
        resumed += bool(cells_of(folder))
    last = made.Process(target=live, args=(folder, fields, seed))
    last.start()
    last.join()
    assert last.exitcode == 0
    return replace(outcome(folder, fields, seed, done, resumed), back_s=tuple(back_s))


def told(folder: Path) -> tuple[int, str]:
    """When a life last said where it is, and where."""
    at = folder / "frame"
    return (at.stat().st_mtime_ns, at.read_text()) if at.exists() else (0, "")


def cells_of(folder: Path) -> int:
    path = folder / "record.sqlite"
    if not path.exists():
        return 0
    with Store.read(path) as store:
        return sum(len(stored.slide.cells) for stored in store.slides())


def outcome(folder: Path, fields: int, seed: int, kills: int, resumed: int) -> Outcome:
    """What the record holds, against what the rendered film shows on the path."""
    camera = configuration(folder, fields, seed).camera
    assert isinstance(camera, SimulatorCamera)
    shown = np.concatenate([field.classes for field in TruthfulSimulator(camera, SystemClock()).truth_of_path()])
    truth = Counter(LEUKEMIA_ATTRI.classes[code] for code in shown.tolist())
    with Store.read(folder / "record.sqlite") as store:
        stored = store.slides()
        summaries = sum(row.kind == "summary" for row in store.pending())
    slide: Slide = stored[0].slide
    assert slide.state is SlideState.REVIEW and (slide.specimen, slide.operator) == ("H26-104311", "AB")
    counted = Counter(LEUKEMIA_ATTRI.classes[cell.class_index] for cell in slide.cells)
    lost, doubled = (truth - counted).total(), (counted - truth).total()
    return Outcome(kills, resumed, len(slide.fields), len(slide.cells), lost, doubled, len(stored), counted == truth, summaries)


def main() -> int:
    parser = argparse.ArgumentParser(prog="killed_line.py", description="Kill the appliance's line again and again; say what is lost.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--longest", type=float, default=0.8, help="seconds that most lives go on at most after their first frame")
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = killed(chosen.kills, Path(folder), chosen.seed, chosen.longest)
    sys.stdout.write(f"{result.words}; {time.monotonic() - began:.0f} s\n")
    return 0 if result.same_differential and not result.lost and not result.doubled else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.exit(main())
