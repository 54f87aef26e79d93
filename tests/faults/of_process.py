"""The daemon is killed, stopped by signals, its engine hangs and lies, its camera goes and comes, its clock jumps."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np

from device.store import Store
from tests.faults.bench import Bench, Trial
from tests.faults.cases import case
from tests.faults.daemon import ACTS
from tests.support.killed_line import killed
from tests.support.picture_line import picture

YEAR_S = 365 * 86400


@case("kills", 160, 4, "SIGKILL of the counting line at any moment, one rendered slide", "What was counted outlives a power cut, once")
def kills(trial: Trial) -> None:
    result = killed(trial.tries, trial.folder, seed=trial.chance.randrange(1000))
    trial.tries, trial.lost, trial.doubled, trial.back_s = result.kills, result.lost, result.doubled, list(result.back_s)
    trial.hold(result.same_differential and (result.slides, result.summaries) == (1, 1), "another differential, or more than one slide")
    trial.words = f"{result.cells} cells in {result.fields} fields, as on the film"


@case(
    "kills-daemon",
    40,
    1,
    "SIGKILL of the daemon, slides finished between, the link cut",
    "A slide that was finished before a kill arrives once, one that was open goes on",
)
def kills_daemon(trial: Trial) -> None:
    with Bench(trial, pauses=4) as bench:
        bench.start()
        slides = 0
        for number in range(trial.tries):
            bench.counts(1)
            time.sleep(trial.chance.uniform(0.0, 1.0))
            if number % 2 == 0:
                slides += bool(bench.finish())
            if number % 4 == 2:
                bench.link.hang_up()
            time.sleep(trial.chance.uniform(0.0, 0.4))
            bench.box.end(signal.SIGKILL)
            end_s = time.monotonic()
            bench.box.start(bench.environment)
            bench.goes_on(end_s)
        bench.end()
        trial.hold(bench.sound(), "the record is damaged")
        trial.words = f"{slides} slides finished, {bench.told()} fields"


@case(
    "signals",
    12,
    3,
    "SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPWR, SIGUSR1 while counting",
    "A stop is in order: exit code 0, the slide paused, nothing lost",
)
def signals(trial: Trial) -> None:
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGQUIT, signal.SIGINT, signal.SIGPWR)
    with Bench(trial) as bench:
        bench.start()
        for number in range(trial.tries):
            name, end_s = numbers[number % len(numbers)], time.monotonic()
            bench.counts(1)
            if name is signal.SIGUSR1:
                assert bench.box.process is not None
                bench.box.process.send_signal(name)
            else:
                trial.hold(bench.box.end(name) == 0, f"{name.name} does not end with 0")
                with Store.read(bench.box.record) as store:
                    trial.hold(
                        [s.slide.state.value for s in store.unfinished()] == ["paused"], f"{name.name} leaves the slide otherwise"
                    )
                end_s = time.monotonic()
                bench.box.start(bench.environment)
            bench.goes_on(end_s)
        bench.end()


@case(
    "camera-gone",
    100,
    2,
    "camera unplugged for up to 1.5 s and back, on the network",
    "A camera that goes is told and opened anew, and the slide goes on",
)
def camera_gone(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.start().counts(1)
        for _ in range(trial.tries):
            bench.stage.unplug()
            time.sleep(trial.chance.uniform(0.1, 1.5))
            bench.stage.plug()
            bench.goes_on(time.monotonic())
        bench.end()
        bench.one_slide()
        lines = bench.box.said.count("device.camera.capture")
        trial.hold(lines <= 3 * trial.tries + 3, f"{lines} lines in the log")
        trial.words = f"{bench.told()} fields, {lines} lines of the camera in the log"


@case(
    "camera-bad",
    6,
    2,
    "camera freezes for 12 s; sends half pictures for 4 s",
    "A frozen picture or half a picture is told and never counted",
)
def camera_bad(trial: Trial) -> None:
    with Bench(trial) as bench:
        bench.start().counts(1)
        for number in range(trial.tries):
            what = "spoilt" if number % 2 else "still"
            setattr(bench.stage, what, True)
            told = "damaged" if number % 2 else "one and the same picture"
            already = bench.box.said.count(told)
            trial.wait(lambda: bench.box.said.count(told) > already, f"a word on {what} pictures")  # noqa: B023
            counted = bench.told()
            time.sleep(2.0)
            trial.hold(bench.told() <= counted, f"{what} pictures are counted")
            setattr(bench.stage, what, False)
            bench.goes_on(time.monotonic())
        bench.end()


@case(
    "engine",
    18,
    4,
    "engine hangs, is slow, fails, raises, is out of memory, answers NaN, infinity, class 99",
    "No answer of an engine ends the count or is stored as a cell without meaning",
)
def engine(trial: Trial) -> None:
    words, word = [*ACTS, "sometimes"], trial.folder / "box" / "handle" / "engine"
    with Bench(trial, extra="engine: {deadline_s: 1}\n") as bench:
        bench.start().counts(1)
        for number in range(trial.tries):
            what = words[number % len(words)]
            word.write_text(what)
            if what in ("slow", "sometimes"):
                counted = bench.told()
                trial.wait(lambda: bench.told() > counted, f"a field while the engine is {what}")  # noqa: B023
            elif what == "infinite":
                time.sleep(2.0)
            else:
                trial.wait(
                    lambda: (bench.box.status() or {"engine": {"level": ""}})["engine"]["level"] == "fail", f"a red lamp: {what}"
                )
            word.unlink()
            bench.goes_on(time.monotonic())
        word.write_text("hang")
        time.sleep(0.5)
        asked_s = time.monotonic()
        bench.end()
        trial.hold(time.monotonic() - asked_s < 15, "SIGTERM while the engine hangs takes longer than 15 s")
        trial.hold(bench.sound(), "the record is damaged")
        with Store.read(bench.box.record) as store:
            (slide,) = (each.slide for each in store.slides())
        trial.hold(
            all(0 <= c.score <= 1 and c.class_index < 14 for f in slide.fields for c in f.cells), "a cell without meaning is stored"
        )


@case(
    "clock",
    8,
    1,
    "wall clock set a year forward and back while a slide is open",
    "A clock that jumps ends no slide, and durations are those of the monotonic clock",
)
def clock(trial: Trial) -> None:
    file = trial.folder / "box" / "handle" / "clock"
    with Bench(trial) as bench:
        bench.start().counts(1)
        durations = {}
        for number in range(trial.tries):
            began_s = time.monotonic()
            file.write_text(str(YEAR_S if number % 2 == 0 else -YEAR_S))
            bench.goes_on(time.monotonic())
            durations[bench.finish()] = time.monotonic() - began_s
            bench.counts(1)
            file.write_text("0")
            bench.goes_on(time.monotonic())
            durations[bench.finish()] = time.monotonic() - began_s
            bench.counts(1)
        bench.end()
        with Store.read(bench.box.record) as store:
            slides = {each.slide.slide_id: each for each in store.slides(1000)}
        trial.hold(set(durations) <= set(slides), "a slide was not finished")
        for name, each in slides.items():
            trial.hold(each.slide.duration_s is None or each.slide.duration_s < 120, f"a slide of {each.slide.duration_s} s")
            trial.hold(name not in durations or each.slide.duration_s is not None, "a finished slide without a duration")
        trial.words = f"{len(durations)} slides finished"


@case(
    "pictures",
    9,
    6,
    "thin, tall, huge, empty, cut, text, no UTF-8 name among good pictures",
    "A picture that cannot be used is passed over, at bounded memory",
)
def pictures(trial: Trial) -> None:
    with Bench(trial, stage=False) as bench:
        hostile = bench.box.pictures
        grey = lambda height, width: np.full((height, width), 128, np.uint8)  # noqa: E731
        whole = cv2.imencode(".jpg", picture(90))[1].tobytes()
        png = cv2.imencode(".png", picture(91))[1].tobytes()
        kinds: list[tuple[bytes, bytes]] = [
            (b"03-thin.png", cv2.imencode(".png", grey(1, 65_000))[1].tobytes()),
            (b"04-tall.png", cv2.imencode(".png", grey(30_000, 1))[1].tobytes()),
            (b"05-text.png", b"this is text"),
            (b"06-half.jpg", whole[: len(whole) // 2] + b"\xff\xd9"),
            (b"07-pr\xe4parat\x1b[31m.png", png),
            (b"08-empty.png", b""),
            (b"09-cut.png", png[: len(png) // 2]),
            (b"10-one.png", cv2.imencode(".png", grey(1, 1))[1].tobytes()),
            (b"11-huge.png", cv2.imencode(".png", grey(20_000, 20_000))[1].tobytes() if trial.tries > 6 else b"\x89PNG"),
        ]
        kinds = kinds[: trial.tries]
        trial.tries = len(kinds)
        for name, content in kinds:
            (hostile / os.fsdecode(name)).write_bytes(content)
        began_s = time.monotonic()
        bench.start()
        bench.goes_on(began_s)
        trial.wait(lambda: bench.box.fields >= 12, "the twelve good pictures")
        assert bench.box.process is not None
        told = Path(f"/proc/{bench.box.process.pid}/status").read_text().splitlines()
        (peak,) = (int(line.split()[1]) for line in told if line.startswith("VmHWM:"))
        trial.hold(peak < 1 << 20, f"{peak >> 10} MB of memory")
        bench.finish()
        bench.end()
        trial.hold("\x1b" not in bench.box.said, "an escape in the log")
        trial.words = f"at most {peak >> 10} MB"
