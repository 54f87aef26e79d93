"""Plans of recipes: steps written out, words read as the program reads them, and what is wrong in one named before anything is done."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.cli import app
from engines.commands.recipe import COMMANDS
from engines.data.layout import patient_of
from engines.errors import DataError
from engines.experiments.measures import Measures
from engines.options import request_from
from engines.progress import Reporter
from engines.recipe.plan import plan_file, read_plan, shipped_plans, steps_of, values_of
from engines.recipe.request import RecipeRequest
from engines.recipe.run import run_recipe
from engines.taxonomy import LEUKEMIA_ATTRI
from tests.support.miniature import Miniature

ROOT = Path(__file__).resolve().parents[3]
SPLIT = "data split {download} --out {out}/data --subset {source.name} --subset {target.name} --leave-out-shared"
MINIMAL: dict[str, Any] = {
    "title": "Two steps",
    "subsets": {"source": "H_100X_C2", "target": "L_100X_C2"},
    "values": {"size": "--size n --imgsz 64"},
    "steps": [
        {
            "name": "split",
            "run": "data split {download} --out {out}/data --subset {source.name} --subset {target.name} --leave-out-shared",
        },
        {"name": "train", "run": "train --data {source} {size} --epochs 1 --seed {seed} --out {out}"},
        {"name": "score", "run": "evaluate {train}/last.pt --data {target} --split test --json {out}/scores.json"},
    ],
}


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def download(miniature: Miniature) -> Path:
    return miniature.root


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}), encoding="utf-8")
    return path


def with_step(number: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**step, **changes} if at == number else step for at, step in enumerate(MINIMAL["steps"])]


def dry(plan: Path, download: Path, **options: Any) -> list[str]:
    heard = Heard()
    asked = RecipeRequest(plan=str(plan), data=download, out=plan.parent / "run", dry_run=True, **options)
    assert run_recipe(asked, COMMANDS, heard) == 0
    return heard.lines


@pytest.mark.parametrize("name", shipped_plans())
def test_a_shipped_plan_is_found_by_name_and_in_the_documents(name: str) -> None:
    path = plan_file(name)
    plan = read_plan(path)
    assert (ROOT / "docs/recipes" / path.name).read_bytes() == path.read_bytes()
    for at in ("", *plan.at):
        for step in steps_of(plan, path, values_of(plan, path, at, ())):
            assert bool(step.said) != bool(step.planned.do), step.name


def test_a_step_needs_those_that_it_names(tmp_path: Path) -> None:
    path = written(tmp_path, seeds=[0, 1], steps=[MINIMAL["steps"][0], *({**step, "each": ["seed"]} for step in MINIMAL["steps"][1:])])
    plan = read_plan(path)
    steps = {step.name: step for step in steps_of(plan, path, plan.values)}
    assert list(steps) == ["split", "train-0", "train-1", "score-0", "score-1"]
    assert steps["train-1"].needs == ("split",) and "--seed 1" in steps["train-1"].said
    assert set(steps["score-1"].needs) == {"split", "train-1"}


def test_a_list_may_name_subsets(tmp_path: Path) -> None:
    steps = [MINIMAL["steps"][0], {"name": "train", "each": ["subset", "seed"], "run": "train --data {{subset}} --out {out}"}]
    path = written(tmp_path, lists={"subset": ["H_100X_C2", "L_100X_C2"]}, steps=steps)
    plan = read_plan(path)
    last = steps_of(plan, path, plan.values)[-1]
    assert (last.name, last.said, last.needs) == ("train-L_100X_C2-0", "train --data {L_100X_C2} --out {out}", ("split",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unknown": 1}, "unknown"),
        ({"steps": with_step(1, run="train --data {sorce} --out {out}")}, "{sorce} stands for nothing"),
        ({"steps": with_step(1, name="split")}, "another meaning already"),
        ({"steps": with_step(1, do="page")}, "either run or do"),
        ({"steps": with_step(1, each=["sead"])}, "each: sead"),
        ({"steps": with_step(1, run="trian --data {source} --out {out}")}, "no command 'trian'"),
        ({"steps": with_step(1, run="train --data {source} --epoch 3 --out {out}")}, "--epoch: no such option; did you mean --epochs"),
        ({"steps": with_step(1, run="train --data {source} --imgsz 8 --out {out}")}, "--imgsz 8: must be at least 64"),
        ({"steps": with_step(1, run="train --data {source} --batch four --out {out}")}, "not a whole number"),
        ({"steps": with_step(1, run="train --data {source}")}, "--out: must be given"),
        ({"steps": with_step(1, run="train --data {download}/H_9 --out {out}")}, "H_9: is not there"),
        ({"steps": with_step(1, run="train --data {source} --initial {download}/no.pt --out {out}")}, "no.pt: is not there"),
        ({"steps": with_step(1, run="train --data {source} --initial zoo:attridet-x --out {out}")}, "no such bundle"),
        (
            {"steps": with_step(2, run="evaluate {train}/last.pt --data {target} --split tets")},
            "step score: .*no split 'tets'; splits there",
        ),
        ({"steps": with_step(2, run="evaluate {out}/../later/last.pt --data {target} --split test")}, "no step of the plan makes it"),
        ({"steps": with_step(0, run=MINIMAL["steps"][0]["run"].replace("{target.name}", "L_100X_C9"))}, "did you mean L_100X_C"),
        (
            {
                "steps": [
                    *MINIMAL["steps"],
                    {"name": "card", "do": "card", "of": {"name": "a", "licence": "b", "data_licence": "c", "run": []}},
                ]
            },
            "step card: of.runs: Field required",
        ),
        ({"subsets": {"source": "H_100X_C2", "target": "L_1OOX_C2"}}, "subsets.target: .*no subset L_1OOX_C2; did you mean L_1"),
    ],
)
def test_what_is_wrong_in_a_plan_is_told_before_the_first_training(
    tmp_path: Path, download: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words) as raised:
        dry(written(tmp_path, **changes), download)
    assert "plan.yaml" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_misspelt_measure_of_the_page_is_told_with_the_right_one(tmp_path: Path, download: Path) -> None:
    table = {"title": "T", "columns": {"F1": "attributes.published.mean_f1"}, "rows": [{"name": "ours", "scores": "score"}]}
    steps = [*MINIMAL["steps"], {"name": "page", "do": "page"}]
    with pytest.raises(
        DataError, match=r"no number at 'attributes\.published\.mean_f1'. Did you mean attributes\.published_rule\.mean_f1"
    ):
        dry(written(tmp_path, steps=steps, page={"tables": [table]}), download)


def test_the_dry_run_tells_steps_inputs_pictures_and_patients_and_does_nothing(tmp_path: Path, download: Path) -> None:
    said = "\n".join(dry(written(tmp_path), download))
    assert re.search(r"train: attridet train\n +takes: H_100X_C2:train\n +pictures: H_100X_C2:train \d+\n +.*min|seconds", said)
    assert "score: attridet evaluate\n    takes: train/last.pt, L_100X_C2:test" in said
    assert "patient 6, who is in a kept split of another subset" in said
    assert "train: patients" in said and "val: patients" in said
    assert not (tmp_path / "run").exists()


def test_only_takes_what_it_needs_and_names_are_checked(tmp_path: Path, download: Path) -> None:
    said = dry(written(tmp_path), download, only=("tr*",))
    assert [line for line in said if "not asked for" in line] == [" 3. score: attridet evaluate (not asked for)"]
    with pytest.raises(DataError, match="--only scoer: the plan has split, train, score"):
        dry(written(tmp_path), download, only=("scoer",))


def test_a_patient_is_on_one_side_in_all_subsets(tmp_path: Path, download: Path) -> None:
    """Patient 6 of the miniature is in train of the H subsets and in test of the L subsets."""
    from engines.data.splits import plan, write_plan

    divided = plan(download, {"train": 0.8, "val": 0.2}, 0, subsets=("H_100X_C2", "L_100X_C2"), leave_out_shared=True)
    assert divided.shared["6"] > 0
    write_plan(divided, tmp_path / "data")
    sides: dict[str, set[str]] = {}
    for picture in (tmp_path / "data").rglob("Images/*/*"):
        sides.setdefault(str(patient_of(picture.name)), set()).add(picture.parent.name)
    assert sides["6"] == {"test"} and all(len(found) == 1 for found in sides.values()), sides
    with pytest.raises(DataError, match="patients 6 are in"):
        plan(download, {"train": 0.8, "val": 0.2}, 0, subsets=("H_100X_C2", "L_100X_C2"))


LINES = [
    line
    for page in ("laboratory", "training", "calibration", "bundles")
    for line in re.findall(r"^ *(attridet [a-z-]+ .*)$", (ROOT / f"docs/{page}.md").read_text(encoding="utf-8"), re.M)
    if not re.search(r"[\[|…]|\.\.\.", line)
]


@pytest.mark.parametrize("line", LINES)
def test_words_are_read_as_the_program_reads_them(line: str) -> None:
    words = shlex.split(re.sub(r"\s#.*", "", line))[1:]
    name = " ".join(words[:2]) if words[0] == "data" else words[0]
    if name not in COMMANDS:
        pytest.skip(f"{name} is no step of a recipe")
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    kind = COMMANDS[name]
    asked = request_from(kind, words[len(name.split()) :])
    theirs = kind(**{key: value for key, value in bound.arguments.items() if key not in ("values", "given")})
    assert asked == theirs


def test_measures_are_those_of_an_evaluation() -> None:
    names = Measures(LEUKEMIA_ATTRI).names
    assert {"detection.yolov5.map50", "detection.coco.map5095", "detection.classes.Myeloblast.yolov5_ap50"} <= set(names)
    assert {"working_point.blasts.youden", "attributes.each.nucleolus.chance_f1", "attributes.published_rule.mean_f1"} <= set(names)
