"""An adaptation that made things worse is not called a success, and what the source taught ships instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.errors import DataError
from engines.recipe.choose import Choice, choose, compare
from engines.recipe.plan import plan_file, read_plan

STEP = next(step for step in read_plan(plan_file("h100-to-l100")).steps if step.do == "choose")
CHOICE = Choice.read(STEP.of, Path("plan.yaml"), "choose")


def scores(map50: float | None, found: float | None, youden: float | None) -> dict[str, Any]:
    return {"detection": {"yolov5": {"map50": map50}}, "working_point": {"recall": found, "blasts": {"youden": youden}}}


BEFORE = scores(0.255, 0.60, 0.30)


@pytest.mark.parametrize(
    ("after", "better"),
    [
        (scores(0.335, 0.60, 0.30), True),
        (scores(0.256, 0.58, 0.28), True),  # two points less of the others are allowed
        (scores(0.255, 0.90, 0.90), False),  # mAP50 must rise
        (scores(0.400, 0.579, 0.30), False),
        (scores(0.400, 0.60, 0.279), False),
        (scores(0.400, 0.60, None), False),  # what was not measured is no success
        (scores(None, 0.60, 0.30), False),
    ],
)
def test_the_shipped_plan_asks_for_more_map_and_no_loss_of_cells_and_blasts(after: dict[str, Any], better: bool) -> None:
    verdict = compare(CHOICE, BEFORE, after)
    assert verdict.better is better
    assert verdict.ships == ("adapted" if better else "source only")
    assert ("no success, and source only ships" in verdict.words) is not better


@pytest.mark.parametrize(("map50", "ships"), [(0.3, "adapted-export"), (0.2, "source-only-export")])
def test_what_ships_is_linked_and_said(tmp_path: Path, map50: float, ships: str) -> None:
    for step, content in ((CHOICE.before.scores, BEFORE), (CHOICE.after.scores, scores(map50, 0.6, 0.3))):
        (tmp_path / step).mkdir()
        (tmp_path / step / "scores.json").write_text(json.dumps(content))
    for step in (CHOICE.before.engine, CHOICE.after.engine):
        (tmp_path / step / "engine").mkdir(parents=True)
    for _ in range(2):  # also over what an attempt that was broken off left behind
        choose(CHOICE, tmp_path, tmp_path / "choose")
    assert (tmp_path / "choose/engine").resolve() == tmp_path / ships / "engine"
    told = json.loads((tmp_path / "choose/choice.json").read_text())
    assert told["better"] is (ships == "adapted-export") and len(told["compared"]) == 3


def test_a_choice_without_a_measure_to_rise_is_refused() -> None:
    with pytest.raises(DataError, match=r"plan.yaml: step choose: of\.up"):
        Choice.read({key: value for key, value in STEP.of.items() if key != "up"}, Path("plan.yaml"), "choose")
