"""`attridet experiment`: all runs of a plan, seed by seed, scored alike, and the table that compares them.

A run is a command of `attridet` in a process of its own; what was done stays, so that a broken-off experiment goes on where it was.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from engines.errors import DataError, EnginesError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedRun(_Part):
    """One network.

    command: words after `attridet`, where {data}, {seed}, {device} and {NAME}, the network of another run, are filled in; `--out` and
    `--seed` are added. score: the data sets of the plan that it is scored on.
    """

    name: str
    command: str
    score: tuple[str, ...] = ()


class Score(_Part):
    """How a network is scored: `attridet evaluate` on `data` (with {data}), with these further words."""

    data: str
    split: str = "val"
    options: str = ""


class Bar(_Part):
    """`run` should reach `times` what `against` reaches in `measure` on `score`."""

    run: str
    against: str
    score: str
    measure: str
    times: float


class Plan(_Part):
    """What the YAML file says. measures: a heading for the table and where its number stands in the JSON of `attridet evaluate`."""

    title: str
    note: str = ""
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    scores: dict[str, Score]
    measures: dict[str, str]
    bars: tuple[Bar, ...] = ()


class RunFailedError(EnginesError):
    """A run of the plan ended with an error. Read its log, mend the cause, start the experiment again: what is done stays."""

    exit_code = 1


def read_plan(path: Path) -> Plan:
    """The plan in a YAML file; DataError naming the file and the key that is wrong."""
    try:
        plan = Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from error
    names = [r.name for r in plan.runs]
    for r in plan.runs:
        for score in r.score:
            if score not in plan.scores:
                raise DataError(f"{path}: run {r.name} is to be scored on {score}, which scores does not hold")
        earlier = names[: names.index(r.name)]
        for wanted in starts_from(r, names):
            if wanted not in earlier:
                raise DataError(f"{path}: run {r.name} starts from {wanted}, which must stand before it")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two runs bear one name")
    for bar in plan.bars:
        for name in (bar.run, bar.against):
            if name not in names:
                raise DataError(f"{path}: a bar names the run {name}, which is not planned")
    return plan


def starts_from(planned: PlannedRun, names: Iterable[str]) -> list[str]:
    """The runs whose networks this one's command names."""
    return [name for name in names if "{" + name + "}" in planned.command]


def run(plan_path: Path, data: Path, out: Path, *, at_once: int, only: tuple[str, ...], device: str) -> None:
    """Runs what is not there yet, scores, prints and writes the table. Raises EnginesError."""
    plan = read_plan(plan_path)
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; give the one that holds the data sets")
    wanted = _with_starts(plan, only)
    out.mkdir(parents=True, exist_ok=True)
    work = _Work(plan, data.absolute(), out.absolute(), at_once, device, Console(stderr=True))
    work.do(wanted)
    table = markdown(plan, work.out)
    (out / "table.md").write_text(table, encoding="utf-8")
    Console().print(table, markup=False, highlight=False, soft_wrap=True)


def _with_starts(plan: Plan, only: tuple[str, ...]) -> set[str]:
    names = [r.name for r in plan.runs]
    for name in only:
        if name not in names:
            raise DataError(f"--only {name}: the plan has {', '.join(names)}")
    wanted = set(only or names)
    for r in reversed(plan.runs):
        if r.name in wanted:
            wanted.update(starts_from(r, names))
    return wanted


@dataclass(frozen=True)
class _Work:
    plan: Plan
    data: Path
    out: Path
    at_once: int
    device: str
    console: Console

    def do(self, wanted: set[str]) -> None:
        # Seeds first, so that after half of the time every run has been seen once.
        done: dict[tuple[str, int], Future[None]] = {}
        with ThreadPoolExecutor(self.at_once) as pool:
            for seed in self.plan.seeds:
                for planned in self.plan.runs:
                    if planned.name in wanted:
                        before = [done[name, seed] for name in starts_from(planned, (r.name for r in self.plan.runs))]
                        done[planned.name, seed] = pool.submit(self._one, planned, seed, before)
            for future in done.values():
                future.result()

    def _one(self, planned: PlannedRun, seed: int, before: list[Future[None]]) -> None:
        for future in before:
            future.result()
        folder = self.out / f"{planned.name}-{seed}"
        folder.mkdir(exist_ok=True)
        record = folder / "run.json"
        if not record.exists():
            checkpoints = {r.name: self.out / f"{r.name}-{seed}" / "last.pt" for r in self.plan.runs}
            words = [word.format(data=self.data, seed=seed, device=self.device, **checkpoints) for word in shlex.split(planned.command)]
            words += ["--out", str(folder), "--seed", str(seed)]
            if (folder / "last.pt").exists():
                words.append("--resume")
            self.console.print(f"{planned.name}, seed {seed}: started")
            seconds = self._attridet(words, folder / "run.log")
            # How it was asked for, without the places of this machine.
            said = planned.command + f" --seed {seed}"
            record.write_text(json.dumps({"command": said, "seconds": round(seconds), "machine": machine(self.device)}, indent=2))
            self.console.print(f"{planned.name}, seed {seed}: {seconds / 60:.1f} min")
        for name in planned.score:
            score, file = self.plan.scores[name], folder / f"score-{name}.json"
            if not file.exists():
                words = ["evaluate", str(folder / "last.pt"), "--data", score.data.format(data=self.data), "--split", score.split]
                self._attridet([*words, "--json", str(file), *shlex.split(score.options)], folder / f"score-{name}.log")

    def _attridet(self, words: list[str], log: Path) -> float:
        began = time.monotonic()
        threads = str(max(1, (os.cpu_count() or 1) // self.at_once))
        with log.open("w", encoding="utf-8") as file:
            ended = subprocess.run(
                [sys.executable, "-m", "engines", *words, "--threads", threads],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": threads},
                check=False,
            )
        if ended.returncode:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise RunFailedError(f"{log}: attridet {words[0]} ended with {ended.returncode}: {''.join(said)}")
        return time.monotonic() - began


def machine(device: str) -> str:
    """The processor or GPU that did it, in words for a table."""
    if device != "cpu":
        return device
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores, {model}"


def number_at(content: Any, path: str) -> float:
    """The number at "a.b.c" in JSON content; NaN where there is none."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return float(content) if isinstance(content, int | float) else float("nan")


def results(plan: Plan, out: Path) -> dict[tuple[str, str, str], dict[int, float]]:
    """(run, score, measure) -> seed -> value, of what has been scored so far."""
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for planned in plan.runs:
        for score in planned.score:
            for seed in plan.seeds:
                file = out / f"{planned.name}-{seed}" / f"score-{score}.json"
                if file.exists():
                    content = json.loads(file.read_text(encoding="utf-8"))
                    for measure, path in plan.measures.items():
                        found.setdefault((planned.name, score, measure), {})[seed] = number_at(content, path)
    return found


def markdown(plan: Plan, out: Path) -> str:
    """The table: a row a run and data set, a column a measure: mean over seeds, and each seed's value in brackets; then the bars."""
    found = results(plan, out)
    lines = [f"### {plan.title}", ""]
    if plan.note:
        lines += [plan.note.strip(), ""]
    lines += [f"| run | scored on | {' | '.join(plan.measures)} | minutes |", "|---|---|" + "---|" * (len(plan.measures) + 1)]
    for planned in plan.runs:
        for score in planned.score:
            cells = [_cell(found.get((planned.name, score, measure), {})) for measure in plan.measures]
            lines.append(f"| {planned.name} | {score} | {' | '.join(cells)} | {_minutes(plan, planned, out)} |")
    machines = sorted({json.loads(file.read_text())["machine"] for file in out.glob("*/run.json")})
    lines += ["", f"Mean over the seeds {', '.join(map(str, plan.seeds))}, each seed's value in brackets. {'; '.join(machines)}."]
    for bar in plan.bars:
        lines += ["", _judged(bar, found)]
    return "\n".join(lines) + "\n"


def _cell(values: dict[int, float]) -> str:
    if not values:
        return "-"
    return f"{statistics.fmean(values.values()):.3f} ({', '.join(f'{v:.3f}' for v in values.values())})"


def _minutes(plan: Plan, planned: PlannedRun, out: Path) -> str:
    files = [out / f"{planned.name}-{seed}" / "run.json" for seed in plan.seeds]
    taken = [json.loads(file.read_text())["seconds"] / 60 for file in files if file.exists()]
    return f"{statistics.fmean(taken):.0f}" if taken else "-"


def _judged(bar: Bar, found: dict[tuple[str, str, str], dict[int, float]]) -> str:
    own, other = (found.get((name, bar.score, bar.measure), {}) for name in (bar.run, bar.against))
    both = [seed for seed in own if seed in other and other[seed] > 0]
    asked = f"{bar.measure} of {bar.run} on {bar.score} at least {bar.times:g} x that of {bar.against}"
    if not both:
        return f"- {asked}: not measured yet."
    ratios = [own[seed] / other[seed] for seed in both]
    mean = statistics.fmean(own[seed] for seed in both) / statistics.fmean(other[seed] for seed in both)
    reached = sum(ratio >= bar.times for ratio in ratios)
    verdict = "reached" if mean >= bar.times else "not reached"
    return (
        f"- {asked}: **{verdict}**, {mean:.2f} x on the mean, {reached} of {len(both)} seeds ({', '.join(f'{r:.2f}' for r in ratios)})."
    )
