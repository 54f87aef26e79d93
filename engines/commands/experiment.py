"""`attridet experiment`: all runs of a plan, seed by seed, scored alike, and the table that compares them.

A run is a command of `attridet` in a process of its own; what was done stays, so that a broken-off experiment goes on where it was.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from engines.bench.machine import processor
from engines.errors import DataError, EnginesError
from engines.experiments.plan import Bar, Plan, PlannedRun, read_plan, starts_from
from engines.files import atomic_folder, make_folder, write_result


class RunFailedError(EnginesError):
    """A run of the plan ended with an error. Read its log, mend the cause, start the experiment again: what is done stays."""

    exit_code = 1


def run(plan_path: Path, data: Path, out: Path, *, at_once: int, only: tuple[str, ...], device: str) -> None:
    """Runs what is not there yet, scores, prints and writes the table. Raises EnginesError."""
    plan = read_plan(plan_path)
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; give the one that holds the data sets")
    wanted = _with_starts(plan, only)
    make_folder(out)
    work = _Work(plan, data.absolute(), out.absolute(), at_once, device, Console(stderr=True))
    work.do(wanted)
    table = markdown(plan, work.out)
    write_result(out / "table.md", table.encode())
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

    @property
    def places(self) -> dict[str, Any]:
        """What the plan's placeholders stand for, but for networks and seed."""
        return {"data": self.data, "device": self.device, **{name: self.out / "data" / name for name in self.plan.prepare}}

    def prepare(self) -> None:
        """Make the data sets that are not there; each is moved to its place when it is whole."""
        for name, command in self.plan.prepare.items():
            folder: Path = self.places[name]
            if folder.exists():
                continue
            folder.parent.mkdir(exist_ok=True)
            self.console.print(f"{name}: making data")
            with atomic_folder(folder) as staging:
                words = [word.format(**self.places, this=staging) for word in shlex.split(command)]
                self._attridet(words, folder.with_name(f"{name}.log"), threads=False)

    def do(self, wanted: set[str]) -> None:
        self.prepare()
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
        # How it was asked for, without the places of this machine.
        said = f"{planned.command} --seed {seed}"
        if record.exists():
            there = json.loads(record.read_text(encoding="utf-8"))["command"]
            if there != said:
                raise DataError(f"{folder}: holds another run ({there}); name another --out, or another run in the plan")
        else:
            checkpoints = {r.name: self.out / f"{r.name}-{seed}" / "last.pt" for r in self.plan.runs}
            words = [word.format(**self.places, seed=seed, **checkpoints) for word in shlex.split(planned.command)]
            words += ["--out", str(folder), "--seed", str(seed)]
            if (folder / "last.pt").exists():
                words.append("--resume")
            self.console.print(f"{planned.name}, seed {seed}: started")
            seconds = self._attridet(words, folder / "run.log")
            done = {"command": said, "seconds": round(seconds), "machine": machine(self.device)}
            write_result(record, json.dumps(done, indent=2).encode())
            self.console.print(f"{planned.name}, seed {seed}: {seconds / 60:.1f} min")
        for name in planned.score:
            score, file = self.plan.scores[name], folder / f"score-{name}.json"
            if not file.exists():
                words = ["evaluate", str(folder / "last.pt"), "--data", score.data.format(**self.places), "--split", score.split]
                self._attridet([*words, "--json", str(file), *shlex.split(score.options)], folder / f"score-{name}.log")

    def _attridet(self, words: list[str], log: Path, threads: bool = True) -> float:
        began = time.monotonic()
        share = str(max(1, (os.cpu_count() or 1) // self.at_once))
        with log.open("w", encoding="utf-8") as file:
            ended = subprocess.run(
                [sys.executable, "-m", "engines", *words, *(["--threads", share] if threads else [])],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": share},
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
    return f"{os.cpu_count()} cores, {processor()}"


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
                    for measure, path in {**plan.details, **plan.measures}.items():
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
    done = sorted({seed for values in found.values() for seed in values})
    missing = [seed for seed in plan.seeds if seed not in done]
    seeds = f"Mean over the seeds {', '.join(map(str, done))}" if done else "No seed yet"
    if missing and done:
        seeds += f" ({', '.join(map(str, missing))} of the plan not run yet)"
    lines += ["", f"{seeds}, each seed's value in brackets. {'; '.join(machines)}."]
    if plan.bars:
        lines += ["", *(_judged(bar, found) for bar in plan.bars)]
    if plan.details:
        lines += ["", *_details(plan, found)]
    return "\n".join(lines) + "\n"


def _details(plan: Plan, found: dict[tuple[str, str, str], dict[int, float]]) -> list[str]:
    """The second table: one row for each detail, one column for each run on each data set; values are means over the seeds."""
    columns = [(planned.name, score) for planned in plan.runs for score in planned.score]
    lines = [
        f"| mean over the seeds | {' | '.join(f'{name} on {score}' for name, score in columns)} |",
        "|---|" + "---|" * len(columns),
    ]
    for detail in plan.details:
        values = [found.get((name, score, detail), {}).values() for name, score in columns]
        lines.append(f"| {detail} | {' | '.join(f'{statistics.fmean(v):.3f}' if v else '-' for v in values)} |")
    return lines


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
