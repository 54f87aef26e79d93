"""What an experiment found: runs beside each other, means over the seeds, and whether they reached their bars."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from engines.experiments.measures import number_at
from engines.experiments.plan import Bar, Plan, PlannedRun


def results(plan: Plan, out: Path) -> dict[tuple[str, str, str], dict[int, float]]:
    """(run, score, measure) -> seed -> value, of what has been scored so far."""
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    for planned, score in plan.scored:
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
    for planned, score in plan.scored:
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
    columns = [(planned.name, score) for planned, score in plan.scored]
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
