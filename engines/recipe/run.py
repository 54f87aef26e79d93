"""A recipe carried out: every step once, in order, in a process of its own; what is done stays done, also after a SIGKILL.

A step is done when its record stands (`steps/NAME.json`), which is written last. What an unfinished step left behind is removed before
it begins again, except a training's folder, which goes on from its last epoch.
"""

from __future__ import annotations

import fcntl
import fnmatch
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.data.splits import Plan as Division
from engines.errors import DataError
from engines.experiments.process import last_line, run_attridet
from engines.files import make_folder, write_json
from engines.progress import SILENT, Reporter
from engines.recipe.card import CardPlan, write_card
from engines.recipe.checks import Checks, Commands
from engines.recipe.choose import Choice, choose
from engines.recipe.dry_run import dry_run
from engines.recipe.places import BEGUN, RECORDS, Places
from engines.recipe.plan import TINY, Plan, Step, plan_file, read_plan, steps_of, values_of, words_of
from engines.recipe.request import RecipeRequest
from engines.recipe.result import result_of

DATE = "SOURCE_DATE_EPOCH"
"""Seconds since 1970 that stand for now in what is written, as reproducible builds have it: so that the same data, plan and program
give the same engine folder to the byte, however often the recipe was broken off."""
PAGE = "page"
_CAUTION = 3


def run_recipe(request: RecipeRequest, commands: Commands, reporter: Reporter = SILENT) -> int:
    """Do what is not done yet of a recipe; the exit code: 0, or 3 where the result is to be taken with caution. Raises EnginesError.

    commands: each command of `attridet` and what it takes (`engines.commands.recipe.COMMANDS`).
    """
    where = plan_file(request.plan)
    plan = read_plan(where)
    if request.tiny and request.at not in ("", TINY):
        raise DataError(f"--tiny and --at {request.at}: give one of them")
    at = TINY if request.tiny else request.at
    values = values_of(plan, where, at, request.values)
    steps = steps_of(plan, where, values)
    if request.device != "cpu" and request.device.partition(":")[0] != "cuda":
        raise DataError(f"--device {request.device}: there are cpu and cuda")
    places = Places.of(plan, where, request)
    wanted = _wanted(steps, request.only)
    command = _command(request, where, at)
    recipe = _Recipe(plan, where, steps, places, request, command, reporter)
    done = {step.name for step in steps if recipe.done(step)}
    checks = Checks(plan, where, steps, places, commands)
    looked = checks.all()
    _refuse_planted(checks.division)
    if request.dry_run:
        for line in dry_run(looked, checks, wanted, done, request.processes, request.device, request.threads):
            reporter.message(line)
        return 0
    recipe.begin(at, values)
    for number, step in enumerate(steps, 1):
        if step.name in wanted or step.planned.do == PAGE:  # which shows what is done so far
            recipe.do(step, f"[{number}/{len(steps)}] {step.name}")
    if left := [step.planned.name for step in steps if not recipe.done(step)]:
        each = (f"{name} ({left.count(name)})" if left.count(name) > 1 else name for name in dict.fromkeys(left))
        reporter.message(f"{places.out}: not done yet: {', '.join(each)}")
        return 0
    found = result_of(steps, places)
    for line in found.lines:
        reporter.message(line)
    return _CAUTION if found.cautions else 0


def _wanted(steps: Sequence[Step], only: Sequence[str]) -> set[str]:
    """The steps that are asked for, with all that they need."""
    names = [step.name for step in steps]
    if not only:
        return set(names)
    wanted: set[str] = set()
    for pattern in only:
        found = fnmatch.filter(names, pattern)
        if not found:
            planned = dict.fromkeys(f"{step.planned.name}-*" if step.planned.each else step.name for step in steps)
            raise DataError(f"--only {pattern}: the plan has {', '.join(planned)}")
        wanted.update(found)
    for step in reversed(steps):
        if step.name in wanted:
            wanted.update(step.needs)
    return wanted


def _command(request: RecipeRequest, where: Path, at: str) -> str:
    """What was typed, without the places of this machine."""
    named = request.plan if where.stem == request.plan else where.name
    given = "".join(f" --set {text}" for text in request.values)
    return f"attridet recipe {named} --data DOWNLOAD --out RUN{f' --at {at}' if at else ''}{given}"


def _refuse_planted(division: Division | None) -> None:
    """DataError for a patient on two sides, which the division makes impossible; this looks at the pictures themselves once more."""
    if division is None:
        return
    from engines.data.layout import UNLABELLED, patient_of

    sides: dict[str, set[str]] = {}
    placed = [(side, picture) for side, pictures in division.sides.items() for _, picture in pictures]
    placed += [(one.split.name, picture) for one in division.kept for picture in one.pictures]
    for side, picture in placed:
        if patient := patient_of(picture.path.name):
            sides.setdefault(patient, set()).add(side.removesuffix(UNLABELLED))
    for patient, found in sides.items():
        if len(found) > 1:
            raise DataError(f"patient {patient} would be in {' and '.join(sorted(found))}; give the split --leave-out-shared")


@dataclass(frozen=True)
class _Recipe:
    plan: Plan
    where: Path
    steps: list[Step]
    places: Places
    request: RecipeRequest
    command: str
    reporter: Reporter

    def begin(self, at: str, values: dict[str, str]) -> None:
        """Keep what was asked for; DataError where another recipe, or one of other data, was begun in the folder."""
        file = self.places.out / BEGUN
        asked = {"plan": self.where.name, "title": self.plan.title, "at": at, "values": values, "data": str(self.places.download)}
        if not file.exists():
            make_folder(self.places.out / RECORDS)
            write_json(file, {**asked, "date": self._moment()})
            return
        there = json.loads(file.read_text(encoding="utf-8"))
        for name, value in asked.items():
            if there.get(name) != value:
                raise DataError(f"{self.places.out}: was begun with {name} {there.get(name)}, not {value}; name another --out")

    def _moment(self) -> int:
        """Of the newest picture or label file of the subsets, or what the environment says."""
        if os.environ.get(DATE, "").isdigit():
            return int(os.environ[DATE])
        files = (file for subset in self.places.subsets.values() for file in subset.root.rglob("*") if file.is_file())
        return int(max((file.stat().st_mtime for file in files), default=time.time()))

    def done(self, step: Step) -> bool:
        """Whether its record stands; DataError where the record is of another command."""
        file = self.places.record(step.name)
        if not file.exists():
            return False
        there = json.loads(file.read_text(encoding="utf-8"))["command"]
        if there != self._said(step):
            raise DataError(f"{self.places.out}: holds another {step.name} ({there}); name another --out")
        return True

    def _said(self, step: Step) -> str:
        return step.said or f"{step.planned.do}: {json.dumps(step.planned.of, sort_keys=True)}"

    def do(self, step: Step, title: str) -> None:
        if self.done(step):
            self.reporter.message(f"{title}: done before")
            return
        with self._alone(step, title) as lock:
            if self.done(step):  # by another process meanwhile
                self.reporter.message(f"{title}: done by another process")
                return
            self._clear(step)
            self.reporter.message(f"{title}: {f'attridet {step.command}' if step.said else step.planned.do}")
            began, code = time.monotonic(), 0
            if step.planned.run:
                code = self._run(step, title, lock)
            elif step.planned.do == "choose":
                verdict = choose(Choice.read(step.planned.of, self.where, step.name), self.places.out, self.places.folder(step.name))
                (self.reporter.message if verdict.better else self.reporter.warning)(verdict.words)
            elif step.planned.do == "card":
                asked = CardPlan.read(step.planned.of, self.where, step.name)
                write_card(asked, self.command, self.plan, self.places, self.places.folder(step.name))
            else:
                from engines.recipe.page import write_page

                self.reporter.message(f"written: {write_page(self.plan, self.where, self.steps, self.places, self.command)}")
            if step.planned.do == PAGE and not all(self.done(one) for one in self.steps if one.planned.do != PAGE):
                return
            seconds = time.monotonic() - began
            record = {
                "command": self._said(step),
                "exit_code": code,
                "seconds": round(seconds, 1),
                "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "device": self.places.device,
                "threads": self.places.threads,
            }
            write_json(self.places.record(step.name), record)
            note = f" (exit code {code}: {last_line(self.places.log(step.name))})" if code else ""
            self.reporter.message(f"{title}: done in {_time(seconds)}{note}")

    def _run(self, step: Step, title: str, lock: int) -> int:
        words = words_of(step, self.places.for_step(step, self.steps, self.plan))
        if step.trains and any(self.places.folder(step.name).rglob("last.pt")):
            words.append("--resume")
        date = json.loads((self.places.out / BEGUN).read_text(encoding="utf-8"))["date"]
        ended = run_attridet(
            words,
            self.places.log(step.name),
            threads=self.places.threads,
            processes=self.request.processes if step.trains else 1,
            accept=step.planned.accept,
            environment={DATE: str(date)},
            hold=(lock,),
            said=lambda line: self.reporter.message(f"  {step.name}: {line[:200]}"),
        )
        return ended.code

    def _clear(self, step: Step) -> None:
        """Remove what an attempt that was broken off left; a training goes on with it where it has a checkpoint."""
        folder = self.places.folder(step.name)
        if step.trains and any(folder.rglob("last.pt")):
            return
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)

    @contextmanager
    def _alone(self, step: Step, title: str) -> Iterator[int]:
        """One process does a step. The step's own process holds the lock too, so that a second recipe waits for one left behind."""
        file = self.places.out / RECORDS / f"{step.name}.lock"
        with file.open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.reporter.message(f"{title}: is being done by another process; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
