"""A long run of the whole appliance beside a broker that is killed, frozen and cut: memory, threads, files, answers, slides.

`python -m tests.support.soak --hours 1 --out FOLDER` is `leukoscope run` with the shipped engine on a rendered slide, a slide a minute
over its control socket, a mosquitto, and the supervisor's receiver with a session that stays. FOLDER then holds samples, the log of the
faults, the figures and the plot; `--page docs/reliability.md --out FOLDER` puts them into the page.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from device.demo.broker import MosquittoBroker, free_port
from device.errors import BrokerError
from device.mqtt.payloads import SlideSummary
from device.settings.broker import BrokerSection
from device.slide.model import SlideState
from device.store import Store, verifying
from device.supervisor.watch import watch
from tests.support.bad_link import BadLink
from tests.support.soak_daemon import AWAY
from tests.support.surviving_line import Box, fields_told

EVERY_S = 10.0
GLASS_S = 6.0
"""So long no glass lies under the objective between two slides."""
RECEIVER = "ward"
FAULTS = ("broker killed", "broker frozen", "cut in mid-packet", "receiver away", "acknowledgements swallowed")


class Ward:
    """A receiver that confirms, whose session stays while it is away."""

    def __init__(self, port: int) -> None:
        self.heard: Counter[str] = Counter()
        self.slides: dict[str, set[str]] = {}
        self.error: BaseException | None = None
        self._section = BrokerSection(host="127.0.0.1", port=port)
        self._stop, self._thread = threading.Event(), threading.Thread()

    def take(self, summary: SlideSummary) -> None:
        self.heard[str(summary.message_id)] += 1
        self.slides.setdefault(summary.slide_id, set()).add(str(summary.message_id))

    @property
    def doubled(self) -> int:
        """Slides that came with more than one id, and messages that came more than once."""
        return sum(len(ids) > 1 for ids in self.slides.values()) + sum(times > 1 for times in self.heard.values())

    def come(self) -> None:
        """Listen, in a thread."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(self._stop,), daemon=True, name="ward")
        self._thread.start()

    def _listen(self, stop: threading.Event) -> None:
        try:
            watch(self._section, console=Console(file=io.StringIO()), client_id=RECEIVER, stop=stop, heard=self.take)
        except BrokerError as error:
            self.error = error

    def go(self) -> None:
        self._stop.set()
        self._thread.join(30)


class Broker:
    """A mosquitto on one port with a memory of its own, as systemd/mosquitto sets it up, that can be killed and come back.

    lines: of its configuration, from its next start on.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        root = ("user root",) if os.geteuid() == 0 else ()
        keeping = ("persistence true", f"persistence_location {folder}/", "autosave_on_changes true", "autosave_interval 1")
        self.lines = ("allow_anonymous true", "max_queued_messages 0", *keeping, *root)
        self.port = free_port()
        self._running: MosquittoBroker | None = None
        self.start()

    def start(self) -> None:
        self._running = MosquittoBroker(port=self.port, lines=self.lines)
        self._running.__enter__()

    def kill(self) -> None:
        assert self._running is not None
        self._running.kill()
        self._running.__exit__()

    def signal(self, number: int) -> None:
        assert self._running is not None and self._running.pid is not None
        os.kill(self._running.pid, number)

    def end(self) -> None:
        if self._running is not None:
            self._running.__exit__()


@dataclass(frozen=True)
class Sample:
    """at_s: since the start. answer_ms: of the control socket, None without one. depth: rows in the outbox, by the daemon's status."""

    at_s: float
    rss_mb: float
    threads: int
    files: int
    cpu_s: float
    answer_ms: float | None
    depth: int | None
    finished: int
    received: int
    free_mb: int


def sample(box: Box, began_s: float, finished: int, received: int) -> Sample:
    assert box.process is not None
    proc = Path(f"/proc/{box.process.pid}")
    told = dict(re.findall(r"^(\w+):\s+(\d+)", (proc / "status").read_text(), re.M))
    spent = (proc / "stat").read_text().rpartition(")")[2].split()
    asked_s = time.monotonic()
    status = box.status()
    answer_ms = None if status is None else round(1000 * (time.monotonic() - asked_s), 1)
    return Sample(
        at_s=round(time.monotonic() - began_s, 1),
        rss_mb=round(int(told["VmRSS"]) / 1024, 1),
        threads=int(told["Threads"]),
        files=len(list((proc / "fd").iterdir())),
        cpu_s=(int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK"),
        answer_ms=answer_ms,
        depth=None if status is None else int(status["outbox_pending"]),
        finished=finished,
        received=received,
        free_mb=os.statvfs(box.folder).f_bavail * os.statvfs(box.folder).f_frsize >> 20,
    )


class Trouble:
    """The faults one after another by a seed, each begun and ended, with what is between them left in peace."""

    def __init__(self, seed: int, broker: Broker, link: BadLink, ward: Ward, mean_s: float, note: Callable[..., None]) -> None:
        self._chance, self._broker, self._link, self._ward, self._note = random.Random(seed), broker, link, ward, note
        self._mean_s = mean_s
        self._next_s = mean_s / 2
        self._end: Callable[[], None] | None = None
        self._bag: list[str] = []
        self.counts: Counter[str] = Counter()

    def go_on(self, at_s: float) -> None:
        """Begin or end what is due."""
        if at_s < self._next_s:
            return
        if self._end is not None:
            self.end()
            self._next_s = at_s + self._chance.uniform(0.5, 1.3) * self._mean_s
            return
        self._bag = self._bag or self._chance.sample(FAULTS, len(FAULTS))
        name = self._bag.pop()
        self.counts[name] += 1
        self._note(event="begins", fault=name)
        self._end = self._begin(name)
        self._next_s = at_s + self._chance.uniform(10.0, 70.0)

    def end(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None
            self._note(event="ends")

    def _begin(self, name: str) -> Callable[[], None]:
        if name == "broker killed":
            self._broker.kill()
            return self._broker.start
        if name == "broker frozen":
            self._broker.signal(signal.SIGSTOP)
            return lambda: self._broker.signal(signal.SIGCONT)
        if name == "receiver away":
            self._ward.go()
            return self._ward.come
        if name == "cut in mid-packet":
            self._link.cut_after = self._chance.randint(300, 6000)
            self._link.hang_up()
            return lambda: setattr(self._link, "cut_after", None)
        self._link.answers = False
        return lambda: setattr(self._link, "answers", True)


def soak(hours: float, out: Path, seed: int, slide_s: float = 60.0, fps: float = 2.0) -> dict[str, Any]:
    """Run it; the figures, which also stand in out/result.json."""
    out.mkdir(parents=True, exist_ok=True)
    work = out / "work"
    work.mkdir(exist_ok=False)
    long_s, began_s, began = hours * 3600, time.monotonic(), time.time()
    events = (out / "events.jsonl").open("w", buffering=1)

    def note(**words: object) -> None:
        events.write(json.dumps({"at_s": round(time.monotonic() - began_s, 1), **words}) + "\n")

    broker = Broker(work / "broker")
    ward = Ward(broker.port)
    with BadLink(broker.port) as link:
        box = Box(
            work,
            camera=f"kind: simulator, width_px: 1280, height_px: 720, fps: {fps}, live: true, loop: true, hand: fields",
            broker=f"host: 127.0.0.1, port: {link.port}, receivers: [{RECEIVER}]",
            display=f"kind: file, directory: {work}/screens, period_s: 2, keep_pictures: 20",
            slide="auto_start: true, ask_specimen: false",
            extra="engine: {runtime: onnx, precision: float32, threads: 1}\n",
            module="tests.support.soak_daemon",
        )
        samples, glass = [], work / "glass-is-away"
        try:
            ward.come()
            box.start({AWAY: str(glass)}).up()
            trouble, finished = Trouble(seed, broker, link, ward, min(200.0, long_s / 14), note), 0
            slide_due_s, sample_due_s, glass_due_s = slide_s, 0.0, long_s
            with (out / "samples.jsonl").open("w", buffering=1) as lines:
                while (at_s := time.monotonic() - began_s) < long_s:
                    assert box.ended is None, box.said[-3000:]
                    if at_s < long_s - min(180.0, long_s / 5):
                        trouble.go_on(at_s)
                    else:
                        trouble.end()
                    if at_s >= slide_due_s:
                        slide_due_s += slide_s
                        answer = box.ask("finish", sure=True)
                        again = box.ask("start", sure=True)
                        good = answer is not None and answer["ok"]
                        finished += good
                        if not good or again is None or not again["ok"]:
                            note(event="refused", finish=answer, start=again)
                        glass.touch()
                        glass_due_s = at_s + GLASS_S
                    if at_s >= glass_due_s:
                        glass.unlink(missing_ok=True)
                    if at_s >= sample_due_s:
                        sample_due_s += EVERY_S
                        samples.append(sample(box, began_s, finished, len(ward.slides)))
                        lines.write(json.dumps(asdict(samples[-1])) + "\n")
                    time.sleep(0.2)
            box.ask("finish", sure=True)
            waited_s = wait_for_receipts(box)
            code = box.end()
        finally:
            if box.process is not None and box.process.poll() is None:
                box.process.kill()
            ward.go()
            broker.end()
            events.close()
    result = {
        **judge(box, ward, samples),
        "exit_code": code,
        "faults": dict(trouble.counts),
        "hours": round(samples[-1].at_s / 3600, 2),
        "waited_at_end_s": round(waited_s),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime(began)),
        "commit": commit(),
        "watch_error": str(ward.error or ""),
    }
    (out / "result.json").write_text(json.dumps(result, indent=1))
    return result


def wait_for_receipts(box: Box, patience_s: float = 17 * 60) -> float:
    """Until nothing waits any more: what the broker lost in a kill is sent again after a quarter of an hour. The seconds it took."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < patience_s:
        status = box.status()
        if status is not None and status["outbox_pending"] == 0:
            break
        time.sleep(1.0)
    return time.monotonic() - began_s


def judge(box: Box, ward: Ward, samples: list[Sample]) -> dict[str, Any]:
    """What was lost and doubled, and how the figures went after the warm-up."""
    with Store.read(box.record) as store:
        slides = {stored.slide.slide_id: stored.slide for stored in store.slides(100_000)}
        waiting = store.pending_count()
    closed = {name for name, slide in slides.items() if slide.state is not SlideState.COUNTING and slide.state is not SlideState.PAUSED}
    log = box.said
    told, held = list(fields_told(log)), {(name, field.index) for name, slide in slides.items() for field in slide.fields}
    warm = [each for each in samples if each.at_s >= min(900.0, samples[-1].at_s / 4)]
    answers = sorted(each.answer_ms for each in samples if each.answer_ms is not None)
    hours = (warm[-1].at_s - warm[0].at_s) / 3600
    return {
        "samples": len(samples),
        "slides": len(closed),
        "lost": len(closed - set(ward.slides)),
        "doubled": ward.doubled,
        "fields": len(told),
        "lost_fields": sum(each not in held for each in told),
        "waiting": waiting,
        "sound": verifying.verify(box.record).sound,
        "tracebacks": log.count("Traceback"),
        "log_lines": len(log.splitlines()),
        "warm_after_s": round(warm[0].at_s),
        "mb_per_hour": round(slope([(each.at_s / 3600, each.rss_mb) for each in warm]), 2),
        "rss_mb": [warm[0].rss_mb, warm[-1].rss_mb, max(each.rss_mb for each in samples)],
        "threads": [min(each.threads for each in warm), max(each.threads for each in warm), warm[-1].threads],
        "files": [min(each.files for each in warm), max(each.files for each in warm), warm[-1].files],
        "cores": round((warm[-1].cpu_s - warm[0].cpu_s) / 3600 / hours, 2),
        "answer_ms": [answers[len(answers) // 2], answers[int(0.99 * (len(answers) - 1))], answers[-1]],
        "unanswered": sum(each.answer_ms is None for each in samples),
        "deepest": max(each.depth or 0 for each in samples),
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    n, x, y = len(points), sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
    spread = sum((px - x) ** 2 for px, _ in points)
    return sum((px - x) * (py - y) for px, py in points) / spread if n > 1 and spread else 0.0


def commit() -> str:
    """Short hash of what is checked out; "" outside of a clone."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> int:
    from tests.support.soak_page import into_page, plot, words

    parser = argparse.ArgumentParser(prog="soak", description="The appliance for hours beside a broker in trouble.")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True, help="folder for samples, figures and plot; outside of the repository")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--slide-seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--page", type=Path, help="run nothing: put what lies in --out into this page")
    chosen = parser.parse_args()
    if chosen.page is not None:
        into_page(chosen.out, chosen.page)
        return 0
    result = soak(chosen.hours, chosen.out.absolute(), chosen.seed, chosen.slide_seconds, chosen.fps)
    plot(chosen.out)
    sys.stdout.write(words(result) + "\n")
    return 0 if not (result["lost"] or result["doubled"] or result["lost_fields"] or result["tracebacks"]) and result["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
