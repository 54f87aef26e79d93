"""The evidence: every number on the page comes from its results, a site's cells are judged on others, nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import attridet
from looking_bundles import random_layer
from planted_cells import planted_cells
from truthful import write_split

from calibration.evidence.measure import OWN_SIZE, WHOLE_FRAME
from calibration.evidence.page import page, shown
from calibration.evidence.plan import read_plan
from calibration.evidence.site_curve import draw_and_fit, judge, mean_of
from engines.bundle import Bundle, write_bundle
from engines.errors import DataError
from engines.naming import NamingLayer
from engines.naming.cells import LabelledCells
from engines.naming.choice import encoder_of
from engines.naming.fit import fit
from engines.taxonomy import LEUKEMIA_ATTRI

ROOT = Path(__file__).resolve().parents[3]
PLAN = """
frame: 960x720
sets: [{folder: ward, words: "two patients"}, {folder: empty, words: "fields without cells"}]
site: {folder: site, split: val, judged: [{folder: ward}], cells: [0, 6], draws: 2}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of drawn cells: a ward of two patients, one of whom the site has too; fields whose label file holds no cell."""
    root = tmp_path_factory.mktemp("data")
    write_split(root / "ward", names=["1_1_1000_ALL.png", "2_1_1000_ALL.png"])
    write_split(root / "site", names=["2_1_1000_ALL.png", "3_1_1000_ALL.png", "4_1_1000_ALL.png"])
    write_split(root / "empty", names=["5_1_1000_ALL.png"])
    labels = json.loads((root / "empty/json_labels/val.json").read_text())
    (root / "empty/json_labels/val.json").write_text(json.dumps({**labels, "annotations": []}))
    (root / "plan.yaml").write_text(PLAN)
    return root


@pytest.fixture(scope="module")
def looking(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle with a layer and open cells of random features."""
    folder = tmp_path_factory.mktemp("looking")
    look = bundle.manifest.second_look
    assert look is not None
    rng = np.random.default_rng(0)
    kinds = np.repeat([1, 2, 3, 7], 10)
    open_cells = LabelledCells(
        rng.normal(size=(40, look.features)).astype(np.float32) + kinds[:, None],
        kinds,
        np.full((40, 7), -1),
        np.full(40, "open"),
        np.full(40, "open/"),
        encoder_of(bundle),
        {"open": "ours"},
    )
    open_cells.write(folder / "open-cells.npz", LEUKEMIA_ATTRI.classes)
    random_layer(bundle).write(folder / "layer.npz")
    names = {"layer": "naming-layer.npz", "open_cells": "open-cells.npz"}
    manifest = bundle.manifest.model_copy(update={"second_look": look.model_copy(update=names)})
    files: dict[str, bytes | Path] = {n: bundle.path / n for n in bundle.manifest.files if not n.startswith("golden")}
    files |= {"naming-layer.npz": folder / "layer.npz", "open-cells.npz": folder / "open-cells.npz"}
    return write_bundle(folder / "looking", manifest, files)


def test_one_command_measures_and_writes_the_page(looking: Bundle, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "docs/accuracy.md"
    out.parent.mkdir()
    options = (
        "--plan",
        data / "plan.yaml",
        "--root",
        data,
        "--rendered",
        data / "ward",
        "--out",
        out,
        "--resamples",
        20,
        "--threads",
        1,
    )
    called = attridet("evidence", looking.path, *options, "--pictures", tmp_path / "worst")
    assert called.code == 0, called.err
    results, text = json.loads(out.with_suffix(".json").read_text()), out.read_text()
    ward, empty = results["sets"]
    assert (ward["pictures"], ward["patients"], ward["white"], ward["blasts"]) == (2, 2, 4, 2)
    assert set(ward["ways"]) == {OWN_SIZE, WHOLE_FRAME} and [look["look"] for look in ward["ways"][OWN_SIZE]] == [
        "detector alone",
        "second look",
    ]
    assert shown(ward) == ward["ways"][WHOLE_FRAME][1] and empty["white"] == 0
    assert results["engine"]["digest"] == looking.digest and str(looking.path.parent) not in text + json.dumps(results)
    assert results["site"]["judged"]["ward/val"] == {"patients": 1, "white": 2, "left_out": 1}  # patient 2 is the site's too
    assert [len(row["judged"]["ward/val"]) for row in results["site"]["rows"]] == [1, 2]
    assert "left out: 1 whom the site has too" in text and "not a diagnosis" in text
    told = shown(ward)["counts"]
    assert f"{told['blasts_told']} of 2 blasts told as a blast" in text and "no number on it was typed by hand" in text
    assert (out.parent / "images/accuracy-site-cells.png").is_file() and "images/accuracy-rendered-1.jpg" in text
    assert sorted(p.name for p in (out.parent / "images").iterdir()) == [
        "accuracy-rendered-1.jpg",
        "accuracy-rendered-2.jpg",
        "accuracy-site-cells.png",
    ]
    assert (tmp_path / "worst/ward-val-1.jpg").is_file()
    out.unlink()
    assert attridet("evidence", "--out", out).code == 0 and out.read_text() == text  # the page anew from its results


def test_what_cannot_be_measured_is_said_before_any_work(looking: Bundle, data: Path, tmp_path: Path) -> None:
    (tmp_path / "repository/.git").mkdir(parents=True)
    base = ("evidence", looking.path, "--out", tmp_path / "accuracy.md")
    missing = PLAN.replace("folder: empty", "folder: moon")
    (tmp_path / "missing.yaml").write_text(missing)
    (tmp_path / "wrong.yaml").write_text(PLAN.replace("judged:", "judge:"))
    for options, words in (
        (("--plan", tmp_path / "missing.yaml", "--root", data), "has no moon, which the plan names"),
        (("--plan", tmp_path / "wrong.yaml", "--root", data), "wrong.yaml: site.judged: Field required"),
        (("--plan", data / "plan.yaml", "--root", data, "--pictures", tmp_path / "repository/docs"), "lies in a repository"),
    ):
        called = attridet(*base, *options)
        assert called.code == 2 and words in called.err, called.err
    called = attridet("evidence", "--out", tmp_path / "accuracy.md")
    assert called.code == 2 and "no results of an evidence" in called.err and not (tmp_path / "accuracy.md").exists()


@pytest.fixture(scope="module")
def results(looking: Bundle, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict]:
    """Results with one set, a fresh copy at each call."""
    out = tmp_path_factory.mktemp("page") / "accuracy.md"
    options = ("--plan", data / "plan.yaml", "--root", data, "--out", out, "--resamples", 0, "--threads", 1, "--draws", 1)
    assert attridet("evidence", looking.path, *options).code == 0
    text = out.with_suffix(".json").read_text()
    return lambda: json.loads(text)


def test_a_planted_number_appears_on_the_page_and_nowhere_else_is_one_kept(results: Callable[[], dict]) -> None:
    plain, changed = results(), results()
    look = shown(changed["sets"][0])
    look["counts"].update(blasts=4711, blasts_told=815, blasts_lost=77)
    look["blasts"]["auc"] = 0.123456
    before, after = page(plain, "r.json"), page(changed, "r.json")
    assert "815 of 4711 blasts told as a blast (77 lost" in after and "| 0.12 |" in after
    assert "4711" not in before and "0.12 |" not in before


def test_the_most_frequent_wrong_answers_come_first_and_right_groups_are_none(results: Callable[[], dict]) -> None:
    changed = results()
    shown(changed["sets"][0])["answers"] = {
        "Myeloblast": {"Myeloblast": 50, "Lymphocyte": 7, "Blast or equivalent, kind uncertain": 9, "unidentified": 3, "not found": 2},
        "Lymphocyte": {"Blast or equivalent, kind uncertain": 8},
        "nothing here": {"no cell": 5, "Neutrophil": 4},
        "None": {"not found": 6},
    }
    text = page(changed, "r.json")
    table = text[text.index("## What it misses and confuses") : text.index("## Whether its probabilities")]
    rows = [line for line in table.splitlines() if line.startswith("| ward")]
    assert rows == [
        "| ward/val | Lymphocyte | Blast or equivalent, kind uncertain | 8 of 8 |",
        "| ward/val | Myeloblast | Lymphocyte | 7 of 71 |",
        "| ward/val | nothing here | Neutrophil | 4 of 9 |",
        "| ward/val | Myeloblast | not found | 2 of 71 |",
    ]


def test_site_cells_bring_a_layer_to_their_microscope() -> None:
    """Open cells of one microscope, a site whose features are moved: with its own cells the layer tells blasts there."""
    known, site, others = (planted_cells(*given) for given in (("open", 20, 1), ("site", 40, 2, 8.0), ("site", 10, 3, 8.0, 2)))
    own = fit(known, LEUKEMIA_ATTRI, np.full(len(known), -1)).layer
    rng = np.random.default_rng(0)
    layer = draw_and_fit(own, known, site, 60, rng, LEUKEMIA_ATTRI)
    assert isinstance(layer, NamingLayer) and layer.site and draw_and_fit(own, known, site, 0, rng, LEUKEMIA_ATTRI) is own
    judged = judge(layer, others, LEUKEMIA_ATTRI)
    assert judged["j"] > 0.9 and judged["sensitivity"] - judged["false_blasts"] == pytest.approx(judged["j"])
    with pytest.raises(DataError, match="200 labelled white cells, 201 are asked for"):
        draw_and_fit(own, known, site, 201, rng, LEUKEMIA_ATTRI)


def test_mean_and_range_of_the_draws() -> None:
    rows = [{"j": 0.2}, {"j": None}, {"j": 0.6}]
    assert mean_of(rows, "j") == (pytest.approx(0.4), 0.2, 0.6) and np.isnan(mean_of([{"j": None}], "j")).all()


def test_the_shipped_plan_is_one_and_its_words_hold_no_number(tmp_path: Path) -> None:
    plan = read_plan(ROOT / "docs/evidence.yaml")
    assert (
        plan.frame == "1920x1080" and plan.site is not None and plan.site.cells == (0, 20, 50, 100, 200, 400) and plan.site.draws == 5
    )
    assert {one.folder for one in plan.sets} >= {"lld_40x", "pbc", "chula_rbc"}
    (tmp_path / "plan.yaml").write_text('sets: [{folder: a, words: "finds 90 per cent"}]')
    with pytest.raises(DataError, match=r"sets\.0\.words"):
        read_plan(tmp_path / "plan.yaml")
