"""An experiment carried out: all runs of a plan, seed by seed, scored alike.

A run is a command of `attridet` in a process of its own; what was done stays, so that a broken-off experiment goes on where it was.
"""

from __future__ import annotations

import json
import os
import shlex
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.bench.machine import processor
from engines.errors import DataError
from engines.experiments.measures import Measures
from engines.experiments.plan import Plan, PlannedRun, read_plan, starts_from
from engines.experiments.process import run_attridet
from engines.experiments.request import ExperimentRequest
from engines.experiments.table import markdown
from engines.files import atomic_folder, make_folder, write_result
from engines.progress import SILENT, Reporter
from engines.taxonomy import read_taxonomy


def run_experiment(request: ExperimentRequest, reporter: Reporter = SILENT) -> str:
    """Do what is not done yet of a plan, score it, and write the table, which is returned (Markdown). Raises EnginesError."""
    plan = read_plan(request.plan)
    if not request.data.is_dir():
        raise DataError(f"{request.data}: no such folder; give the one that holds the data sets")
    Measures(read_taxonomy(request.taxonomy)).check(request.plan, {**plan.measures, **plan.details})
    wanted = _with_starts(plan, request.only)
    make_folder(request.out)
    _Experiment(plan, request, request.out.absolute(), reporter).do(wanted)
    table = markdown(plan, request.out)
    write_result(request.out / "table.md", table.encode())
    return table


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
class _Experiment:
    plan: Plan
    request: ExperimentRequest
    out: Path
    reporter: Reporter

    @property
    def places(self) -> dict[str, Any]:
        """What the plan's placeholders stand for, but for networks and seed."""
        return {
            "data": self.request.data.absolute(),
            "device": self.request.device,
            **{name: self.out / "data" / name for name in self.plan.prepare},
        }

    def prepare(self) -> None:
        """Make the data sets that are not there; each is moved to its place when it is whole."""
        for name, command in self.plan.prepare.items():
            folder: Path = self.places[name]
            if folder.exists():
                continue
            folder.parent.mkdir(exist_ok=True)
            self.reporter.message(f"{name}: making data")
            with atomic_folder(folder) as staging:
                words = [word.format(**self.places, this=staging) for word in shlex.split(command)]
                self._attridet(words, folder.with_name(f"{name}.log"), threads=False)

    def do(self, wanted: set[str]) -> None:
        self.prepare()
        # Seeds first, so that after half of the time every run has been seen once.
        done: dict[tuple[str, int], Future[None]] = {}
        with ThreadPoolExecutor(self.request.at_once) as pool:
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
            self.reporter.message(f"{planned.name}, seed {seed}: started")
            seconds = self._attridet(words, folder / "run.log")
            device = self.request.device
            machine = f"{os.cpu_count()} cores, {processor()}" if device == "cpu" else device
            done = {"command": said, "seconds": round(seconds), "machine": machine}
            write_result(record, json.dumps(done, indent=2).encode())
            self.reporter.message(f"{planned.name}, seed {seed}: {seconds / 60:.1f} min")
        for name in planned.score:
            score, file = self.plan.scores[name], folder / f"score-{name}.json"
            if not file.exists():
                words = ["evaluate", str(folder / "last.pt"), "--data", score.data.format(**self.places), "--split", score.split]
                self._attridet([*words, "--json", str(file), *shlex.split(score.options)], folder / f"score-{name}.log")

    def _attridet(self, words: list[str], log: Path, threads: bool = True) -> float:
        if self.request.taxonomy is not None:
            words = [*words, "--taxonomy", str(self.request.taxonomy.absolute())]
        share = max(1, (os.cpu_count() or 1) // self.request.at_once)
        return run_attridet([*words, *(["--threads", str(share)] if threads else [])], log, threads=share).seconds
