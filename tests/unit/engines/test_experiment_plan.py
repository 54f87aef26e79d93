"""Plans of experiments: what is wrong in one is named, the table compares what was scored, and one runs for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.errors import DataError
from engines.experiments import ExperimentRequest, run_experiment
from engines.experiments.plan import read_plan, starts_from
from engines.experiments.table import markdown

PLAN: dict[str, Any] = {
    "title": "Two ways",
    "seeds": [0, 1],
    "runs": [
        {"name": "start", "command": "train --data {data}/film", "score": ["film"]},
        {"name": "next", "command": "adapt --source {data}/film --target {data}/film --initial {start}", "score": ["film"]},
    ],
    "scores": {"film": {"data": "{data}/film"}},
    "measures": {"AP50": "a.b"},
    "bars": [{"run": "next", "against": "start", "score": "film", "measure": "AP50", "times": 1.2}],
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}), encoding="utf-8")
    return path


def test_a_plan_says_what_starts_from_what(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path))
    assert starts_from(plan.runs[1], ["start", "next"]) == ["start"]
    assert starts_from(plan.runs[0], ["start", "next"]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": list(reversed(PLAN["runs"]))}, "starts from start, which must stand before it"),
        ({"runs": [PLAN["runs"][0]] * 2, "bars": []}, "two runs bear one name"),
        ({"scores": {}}, "is to be scored on film"),
        ({"seeds": "many"}, "seeds"),
        ({"bars": [{**PLAN["bars"][0], "run": "nobody"}]}, "a bar names the run nobody"),
        ({"unknown": 1}, "unknown"),
        ({"prepare": {"start": "film {this}"}}, "both a run and a data set"),
    ],
)
def test_a_wrong_plan_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        read_plan(written(tmp_path, **changes))
    assert "plan.yaml" in str(raised.value)


def test_the_table_compares_means_and_counts_seeds(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path))
    for name, values in (("start", (0.4, 0.5)), ("next", (0.6, 0.55))):
        for seed, value in enumerate(values):
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            (folder / "run.json").write_text(json.dumps({"command": "", "seconds": 120, "machine": "a machine"}))
            (folder / "score-film.json").write_text(json.dumps({"a": {"b": value}}))
    table = markdown(plan, tmp_path)
    assert "| start | film | 0.450 (0.400, 0.500) | 2 |" in table
    assert "**reached**, 1.28 x on the mean, 1 of 2 seeds (1.50, 1.10)" in table
    assert "a machine" in table


def test_what_was_not_run_is_not_called_reached(tmp_path: Path) -> None:
    assert "not measured yet" in markdown(read_plan(written(tmp_path)), tmp_path)


@pytest.mark.integration
def test_a_small_plan_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    small = "--imgsz 64 --epochs 1 --batch 2"
    small_plan: dict[str, Any] = {
        "seeds": [3],
        "prepare": {"film": "film {this} --train 4 --val 2 --size 160 --domain H_C2 --objective 40 --case mixed --workers 1"},
        "scores": {"film": {"data": "{film}"}},
        "runs": [
            {"name": "start", "command": f"train --data {{film}} --no-judge {small}"},
            {
                "name": "next",
                "command": f"adapt --source {{film}} --target {{film}} --initial {{start}} --method source-only {small}",
                "score": ["film"],
            },
        ],
        "measures": {"AP50": "detection.yolov5.map50"},
        "bars": [],
    }
    plan = written(tmp_path, **small_plan)
    out = tmp_path / "out"
    request = ExperimentRequest(plan=plan, data=tmp_path, out=out)
    with pytest.raises(DataError, match=r"no number at 'detection\.yolo\.map50'. Did you mean detection\.yolov5\.map50"):
        misspelt = written(tmp_path, seeds=[3], bars=[], measures={"AP50": "detection.yolo.map50"})
        run_experiment(replace(request, plan=misspelt))
    assert not out.exists(), "told before anything was made"
    written(tmp_path, **small_plan)
    assert "next | film | " in run_experiment(request)
    files = {file: file.stat().st_mtime_ns for file in out.rglob("*.pt")}
    assert len(files) >= 2
    run_experiment(replace(request, only=("next",)))
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.pt")} == files
    changed = yaml.safe_load(plan.read_text())
    changed["runs"][0]["command"] += " --detach"
    plan.write_text(yaml.safe_dump(changed))
    with pytest.raises(DataError, match="holds another run"):
        run_experiment(replace(request, at_once=1))
