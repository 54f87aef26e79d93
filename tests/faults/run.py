"""Runs the cases by name and writes their table: `python -m tests.faults.run --results FOLDER [--cases NAMES] [--page PAGE]`.

Each case leaves a file in the folder; the table is made of all that lie there, so one case can be run again alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tests.faults.of_broker
import tests.faults.of_disk
import tests.faults.of_process  # noqa: F401  # they bring their cases
from tests.faults.bench import Trial
from tests.faults.cases import CASES, Case
from tests.support.page_part import write_part
from tests.support.soak import commit

BEGIN, END = "<!-- faults: written by make test-faults -->", "<!-- end of faults -->"
HEAD = (
    "| case | what is done | tries | lost | doubled | back after: median, worst (s) | seen |",
    "|---|---|---|---|---|---|---|",
)


def run(case: Case, tries: int, seed: int, folder: Path) -> dict[str, Any]:
    """One case; what the table needs of it."""
    trial = Trial(tries, folder, random.Random(seed * 1_000_003 + zlib.crc32(case.name.encode())))
    began_s = time.monotonic()
    try:
        case.run(trial)
    except Exception as error:
        traceback.print_exc()
        trial.hold(False, f"{type(error).__name__}: {str(error)[:120]}")
    back = sorted(trial.back_s)
    return {
        "tries": trial.tries,
        "lost": trial.lost,
        "doubled": trial.doubled,
        "median_s": round(statistics.median(back), 2) if back else None,
        "worst_s": round(back[-1], 2) if back else None,
        "words": trial.words,
        "faults": trial.faults,
        "took_s": round(time.monotonic() - began_s, 1),
        "seed": seed,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def table(results: Mapping[str, Mapping[str, Any]], kept: Mapping[str, str] = MappingProxyType({})) -> str:
    """Markdown; cases in their order. kept: rows of an older table, for cases that have no result."""
    rows = {**kept}
    for name, result in results.items():
        back = "" if result["median_s"] is None else f"{result['median_s']:.1f}, {result['worst_s']:.1f}"
        seen = "; ".join(filter(None, [*(f"**FAILS: {fault}**" for fault in result["faults"]), result["words"]])).replace("|", "/")
        row = (f"`{name}`", CASES[name].what, f"{result['tries']:,}", result["lost"], result["doubled"], back, seen)
        rows[name] = "| " + " | ".join(map(str, row)) + " |"
    newest = max(results.values(), key=lambda result: str(result["date"]))
    commits = ", ".join(f"`{each}`" for each in sorted({str(result["commit"]) for result in results.values()}))
    took_min = sum(float(result["took_s"]) for result in results.values()) / 60
    failing = sum("**FAILS" in row or row.split(" | ")[3:5] != ["0", "0"] for row in rows.values())
    words = (
        f"{len(rows)} cases, {failing} failing. {newest['date']}, commit {commits}, seed {newest['seed']}, {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}; {took_min:.0f} minutes by `make test-faults`."
    )
    return "\n".join([*HEAD, *(rows[name] for name in CASES if name in rows), "", words])


def into_page(results: Mapping[str, Mapping[str, Any]], page: Path) -> None:
    """Put the table between the page's marks; a row there whose case has no result stays."""

    def made(old: str) -> str:
        kept = {found[1]: found[0] for found in re.finditer(r"^\| `([\w-]+)` \|.*$", old, re.M) if found[1] in CASES}
        return table(results, kept)

    write_part(page, BEGIN, END, made)


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="Break the appliance in every named way, and say what came of it.")
    parser.add_argument("--cases", default="", help="names, by spaces; default all: " + " ".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of tries")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="whose table is written anew")
    parser.add_argument("--only-page", action="store_true", help="run nothing")
    chosen = parser.parse_args()
    names = chosen.cases.split() or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no such case: {' '.join(unknown)}; known: {' '.join(CASES)}")
    chosen.results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in [] if chosen.only_page else names:
        case = CASES[name]
        with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
            result = run(case, max(1, round(case.tries * chosen.scale)), chosen.seed, Path(folder))
            if result["faults"]:
                for log in Path(folder).rglob("log"):
                    (chosen.results / f"{name}.{log.parent.name}.log").write_bytes(log.read_bytes())
        (chosen.results / f"{name}.json").write_text(json.dumps(result, indent=1))
        bad = bool(result["faults"] or result["lost"] or result["doubled"])
        failed += bad
        sys.stdout.write(f"{'FAILS' if bad else 'holds'} {name}: {json.dumps(result)}\n")
        sys.stdout.flush()
    if chosen.page is not None:
        into_page(
            {name: json.loads(path.read_text()) for name in CASES if (path := chosen.results / f"{name}.json").exists()}, chosen.page
        )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
