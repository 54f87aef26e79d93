"""The page's tables: each seed and their mean, the paper's figures beside, and nothing where nothing was run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.errors import DataError
from engines.recipe.page import markdown, tables_of, write_page
from engines.recipe.page_plan import PagePlan
from engines.recipe.places import Places
from engines.recipe.plan import Plan, read_plan, steps_of

COLUMNS = {"mAP50": "detection.yolov5.map50", "F1": "attributes.mean.f1"}
PLAN: dict[str, Any] = {
    "title": "A <table>",
    "subsets": {"source": "H_100X_C2"},
    "seeds": [0, 1],
    "lists": {"subset": ["H_100X_C2", "L_100X_C2"]},
    "steps": [
        {"name": "score", "each": ["subset", "seed"], "run": "evaluate zoo:attridet-n --data {download} --json {out}/scores.json"},
        {"name": "page", "do": "page"},
    ],
    "page": {
        "tables": [
            {
                "title": "T",
                "columns": COLUMNS,
                "rows": [
                    {
                        "name": "ours, {subset}",
                        "scores": "score",
                        "each": ["subset"],
                        "paper": {"ours, H_100X_C2": {"mAP50": 33, "F1": 3.33}},
                    },
                    {
                        "name": "chance",
                        "scores": "score",
                        "where": {"subset": "H_100X_C2"},
                        "measures": {"mAP50": "", "F1": "attributes.mean.chance_f1"},
                    },
                    {"name": "CBM", "paper": {"F1": 21.9}},
                ],
            }
        ],
        "differences": ["Everything <b>."],
    },
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    for seed, value in ((0, 0.2), (1, 0.4)):
        folder = tmp_path / f"score-H_100X_C2-{seed}"
        folder.mkdir()
        content = {
            "data": {"name": "H", "split": "test", "images": 9},
            "detection": {"yolov5": {"map50": value}},
            "attributes": {"mean": {"f1": None if seed else 0.5, "chance_f1": 0.25}},
        }
        (folder / "scores.json").write_text(json.dumps(content))
    return read_plan(tmp_path / "plan.yaml")


def test_seeds_stand_apart_and_what_was_not_run_is_empty(tmp_path: Path, plan: Plan) -> None:
    where, places = tmp_path / "plan.yaml", Places(tmp_path, tmp_path, {}, "cpu", 1)
    (table,) = tables_of(plan, where, steps_of(plan, where, {}), places)
    text = markdown(table)
    assert "| ours, H_100X_C2 | 30.0 (20.0, 40.0) / 33.0 | 50.0 / 3.33 |" in text
    assert "| ours, L_100X_C2 |  |  |" in text
    assert "| chance |  | 25.0 (25.0, 25.0) |" in text
    assert "| CBM |  | / 21.9 |" in text
    page = write_page(plan, where, steps_of(plan, where, {}), places, "attridet recipe plan").read_text(encoding="utf-8")
    assert (
        "A &lt;table&gt;" in page
        and "Everything &lt;b&gt;." in page
        and "H, test: 9 pictures" in page
        and page.count("not run</small>") == 2
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "x", "scores": "scoer"}, "no step scoer"),
        ({"name": "x", "scores": "score", "paper": {"mAP5": 3}}, "no column 'mAP5'"),
        ({"name": "x", "scores": "score", "each": ["sbset"]}, "no list sbset"),
        ({"name": "x", "scores": "score", "where": {"subset": "H_9"}}, "no list subset with H_9"),
    ],
)
def test_a_wrong_row_is_named(row: dict[str, Any], words: str) -> None:
    page = PagePlan.read({"tables": [{"title": "T", "columns": COLUMNS, "rows": [row]}]}, Path("plan.yaml"))
    with pytest.raises(DataError, match=f"plan.yaml: page: T: row x: {words}"):
        page.check({"score"}, PLAN["lists"], Path("plan.yaml"))
