"""The results of docs/experiments/fleet.py as the tables of docs/scale.md, between its two markers."""

# ruff: noqa: E501  # rows of tables are long

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: make fleet -->", "<!-- end of what was measured -->"
_WORDS = {
    "steady": "nothing happens",
    "killed": "one of three ingesters killed (SIGKILL), back 20 s later",
    "outage": "broker stopped for 60 s",
    "frozen": "broker frozen (SIGSTOP) for 60 s",
}


def write(page: Path, folder: Path) -> None:
    """Put the tables into the page. Parts that were not measured are left out."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables(results)}\n{END}{after}")


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    first = next(iter(results.values()))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    runs = {part: results[part] for part in _WORDS if part in results}
    lines = [
        f"{first['began_at'][:10]}, commit {commit}. **{os.cpu_count()} cores for all of it**: devices, broker, ingesters, PostgreSQL, and other work of the",
        "machine (mean load while measured: "
        + ", ".join(f"{part} {run['load_of_the_machine']:.0f}" for part, run in results.items())
        + ").",
        "",
        "| what happens | summaries made | lost | doubled | still waiting | sent again | sent → broker p50 / p99 | sent → committed p50 / p99 | sent → receipt p50 / p99 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for part, run in runs.items():
        done = run["summaries"]
        cells = [_WORDS[part], done["made"], run["lost"], run["doubled"], done["waiting"], done["sent_again"]]
        cells += [_pair(done["broker_s"]), _pair(run.get("commit_s", {})), _pair(done["receipt_s"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", *_use(runs), "", *_outages(runs), "", *_drains(results)]
    return "\n".join(lines)


def _pair(took: Mapping[str, float]) -> str:
    return f"{_seconds(took['p50'])} / {_seconds(took['p99'])}" if took else "-"


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def _use(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = ["mosquitto", "ingester-1", "ingester-2", "ingester-3", "postgresql"]
    lines = ["| cores used, memory | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for part, run in runs.items():
        shares, memory = run["cpu_share"], run["memory_mb"]
        lines.append(f"| {_WORDS[part]} | " + " | ".join(f"{shares.get(n, 0):.2f}, {memory.get(n, 0)} MB" for n in names) + " |")
    return lines


def _outages(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        "| devices come back | all back after the loss | most connections in 1 s | in 10 s | by the broker's log, 1 s | in 10 s |",
        "|---|---|---|---|---|---|",
    ]
    for part in ("outage", "frozen"):
        if part in runs and runs[part]["outages"]:
            worst = max(runs[part]["outages"], key=lambda outage: int(outage["connects"]))
            log = runs[part]["broker_log"]
            all_back = "not all in time" if worst["all_back_s"] is None else f"{worst['all_back_s']:.0f} s"
            cells = [_WORDS[part], all_back, worst["busiest_1s"], worst["busiest_10s"], log["busiest_1s"], log["busiest_10s"]]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _drains(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        "| what waits at the broker is taken | summaries | summaries/s | best 10 s | lost | doubled | CPU s: broker, ingesters, database |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, run in results.items():
        if part.startswith("drain-"):
            _, kind, number = part.split("-")
            used = run["cpu_s"]
            ingesters = sum(value for name, value in used.items() if name.startswith("ingester"))
            cpu = f"{used.get('mosquitto', 0):.0f}, {ingesters:.0f}, {used.get('postgresql', 0):.0f}"
            name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[kind]
            cells = [
                f"{name}, {number} ingester{'s' if number != '1' else ''}",
                run["stored"],
                run["rate_per_s"],
                run["best_10s_per_s"],
                run["lost"],
                run["doubled"],
                cpu,
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
