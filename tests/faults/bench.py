"""The appliance under test: camera, daemon, link, mosquitto and a receiver that confirms, and the count of what came of it."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import Self

from device.errors import StoreError
from device.slide.model import SlideState
from device.store import Store, verifying
from tests.faults.daemon import FOLDER
from tests.faults.stage import Stage
from tests.support.bad_link import BadLink
from tests.support.soak import RECEIVER, Broker, Ward
from tests.support.surviving_line import Box, fields_told

PATIENCE_S = 60.0


@dataclass
class Trial:
    """One case's run. tries: how many are wanted, then how many were made. back_s: seconds from each fault's end until the appliance
    counted or delivered again. faults: what did not hold."""

    tries: int
    folder: Path
    chance: random.Random
    lost: int = 0
    doubled: int = 0
    back_s: list[float] = field(default_factory=list)
    words: str = ""
    faults: list[str] = field(default_factory=list)

    def hold(self, holds: bool, fault: str) -> None:
        if not holds and fault not in self.faults:
            self.faults.append(fault)

    def since(self, end_s: float, happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> bool:
        """Wait until it happened; its time since `end_s` is a recovery, its absence a fault."""
        while not happened():
            if time.monotonic() > end_s + patience_s:
                self.hold(False, f"not within {patience_s:.0f} s: {what}")
                return False
            time.sleep(0.02)
        self.back_s.append(time.monotonic() - end_s)
        return True

    def wait(self, happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> bool:
        """The same, without counting it as a recovery."""
        kept = list(self.back_s)
        done = self.since(time.monotonic(), happened, what, patience_s)
        self.back_s = kept
        return done


class Bench:
    """`with Bench(trial) as bench:`. record: where; extra: more configuration; lines: the broker's; stage False: stored pictures."""

    def __init__(
        self, trial: Trial, *, record: Path | None = None, extra: str = "", stage: bool = True, pauses: float = 0.0, name: str = "box"
    ) -> None:
        self.trial, self.folder = trial, trial.folder / name
        self.folder.mkdir(parents=True)
        self.handle = self.folder / "handle"
        self.handle.mkdir()
        if pauses:
            (self.handle / "pauses").write_text(str(pauses))
        self.stage, self.broker = Stage(), Broker(self.folder / "broker")
        self.link, self.ward = BadLink(self.broker.port), Ward(self.broker.port)
        self._closing = ExitStack()
        self._closing.callback(self.broker.end)
        self._closing.enter_context(self.link)
        self._closing.enter_context(self.stage)
        self.box = Box(
            self.folder,
            record=record,
            camera=f"kind: replay, source: 'http://127.0.0.1:{self.stage.port}/live.mjpg'" if stage else "",
            broker=f"host: 127.0.0.1, port: {self.link.port}, receivers: [{RECEIVER}]",
            slide="auto_start: true, ask_specimen: false",
            extra=extra,
            module="tests.faults.daemon",
        )
        self.environment = {FOLDER: str(self.handle)}

    def __enter__(self) -> Self:
        self.ward.come()
        return self

    def __exit__(self, *_: object) -> None:
        process = self.box.process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.ward.go()
        self._closing.close()

    def start(self) -> Self:
        """Start the daemon, wait for an answer."""
        self.box.start(self.environment)
        self.trial.wait(lambda: self.box.ended is not None or self.box.status() is not None, "an answer of the daemon")
        self.trial.hold(self.box.ended is None, f"the daemon ended at its start with {self.box.ended}")
        return self

    def counts(self, at_least: int = 1) -> None:
        """Wait for so many more fields, of the slide that is open."""
        enough = self.told() + at_least
        self.trial.wait(lambda: self.told() >= enough or self.box.ended is not None, "a field")

    def goes_on(self, end_s: float, patience_s: float = PATIENCE_S) -> bool:
        """Wait for one more line of a counted field, which is a recovery."""
        before = self.told()
        return self.trial.since(
            end_s, lambda: self.told() > before or self.box.ended is not None, "a field after the fault", patience_s
        )

    def told(self) -> int:
        return self.box.said.count(" counted: ")

    def finish(self) -> str:
        """Finish the slide, change the glass, start the next one; the finished slide's id, "" where that was refused."""
        self.stage.blank = True
        done = self.box.ask("finish", sure=True)
        self.box.ask("start", sure=True)
        time.sleep(0.5)
        self.stage.blank = False
        names = re.findall(r"Slide (\S+) finished", self.box.said)
        return str(names[-1]) if done is not None and done["ok"] else ""

    def has(self, slide_id: str) -> bool:
        return slide_id in self.ward.slides

    def end(self, code: int = 0) -> None:
        """Stop it in order and judge all that was told: fields in the record, slides at the receiver, each once."""
        trial, box = self.trial, self.box
        if box.process is not None:
            if box.process.poll() is None:
                self.drained()
            ended = box.end()
            trial.hold(ended == code, f"exit code {ended}")
        trial.hold("Traceback" not in box.said, "a traceback in the log")
        with Store.read(box.record) as store:
            slides = {stored.slide.slide_id: stored.slide for stored in store.slides(100_000)}
        held = {(name, field.index) for name, slide in slides.items() for field in slide.fields}
        trial.lost += sum(each not in held for each in fields_told(box.said))
        finished = set(re.findall(r"[Ss]lide (\S+) finished", box.said))
        closed = {name for name, slide in slides.items() if slide.state in (SlideState.REVIEW, SlideState.ABORTED)}
        trial.lost += len(finished - set(slides)) + len((closed | finished) - set(self.ward.slides))
        trial.doubled += self.ward.doubled

    def drained(self, patience_s: float = 2 * PATIENCE_S) -> bool:
        """Wait until nothing waits in the outbox."""
        return self.trial.wait(lambda: self.depth() == 0, "an empty outbox", patience_s)

    def depth(self) -> int:
        try:
            with Store.read(self.box.record) as store:
                return store.pending_count()
        except StoreError:
            return -1

    def quarantined(self) -> int:
        """How many things are put aside; -1 while the record cannot be read."""
        with contextlib.suppress(Exception), Store.read(self.box.record) as store:
            return store.quarantined()
        return -1

    def one_slide(self) -> None:
        """Hold that the record has one slide and no other."""
        with Store.read(self.box.record) as store:
            self.trial.hold(len(store.slide_ids()) == 1, "more than one slide")

    def sound(self) -> bool:
        return verifying.verify(self.box.record).sound
