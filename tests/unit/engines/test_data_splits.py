"""Splits by patient: nobody on two sides, classes shared out, one seed one split; and by picture where names give nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import ARTEFACT, BLAST, NEUTROPHIL, Cell, picture, write_subset

from engines.data.check import check
from engines.data.faults import Kind
from engines.data.layout import patient_of
from engines.data.leukemiaattri import read_split
from engines.data.splits import divide, plan, write_plan
from engines.errors import DataError

SHARES = {"train": 0.8, "val": 0.2}


def patients(n: int, fields: int = 3) -> dict[str, list[Cell]]:
    """Fields of n patients; every second one has neutrophils, every third artefacts."""
    return {
        f"{p}_{k}_1000_AML.png": [Cell(1, (1 + 20 * n, 2, 18, 7)) for n in range(1 + p % 3)]
        + [NEUTROPHIL] * (p % 2)
        + [ARTEFACT] * (p % 3 == 0)
        for p in range(1, n + 1)
        for k in range(fields)
    }


counts = st.integers(3, 24).flatmap(
    lambda units: st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=units, max_size=units)
)


@settings(max_examples=30)
@given(counts, st.integers(0, 5), st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.7, 0.15, 0.15)]))
def test_no_side_is_empty_and_the_seed_decides(rows: list[list[int]], seed: int, shares: tuple[float, ...]) -> None:
    chosen = divide(np.asarray(rows, float), shares, seed)
    assert set(chosen) == set(range(len(shares)))
    np.testing.assert_array_equal(chosen, divide(np.asarray(rows, float), shares, seed))


def test_many_small_units_come_near_to_the_shares() -> None:
    rng = np.random.default_rng(3)
    rows = rng.poisson(rng.gamma(1.0, 4.0, 5), (120, 5)).astype(float)
    for seed in range(3):
        chosen = divide(rows, (0.7, 0.2, 0.1), seed)
        held = np.stack([rows[chosen == side].sum(0) for side in range(3)]) / rows.sum(0)
        assert np.abs(held - np.array([[0.7], [0.2], [0.1]])).max() < 0.02


def test_no_exchange_of_two_units_would_be_better_than_what_is_found() -> None:
    """Small enough to try everything: the best of five seeds is within 2 % of the best division there is, by plain distance."""
    rng = np.random.default_rng(0)
    rows = rng.integers(50, 400, (11, 3)).astype(float)
    parts = rows / rows.sum(0)

    def distance(chosen: np.ndarray) -> float:
        held = np.stack([parts[chosen == side].sum(0) for side in (0, 1)])
        return float(((held - np.array([[0.75], [0.25]])) ** 2).sum())

    every = (np.array([(code >> bit) & 1 for bit in range(11)]) for code in range(1, 2**11 - 1))
    best = min(map(distance, every))
    found = min(distance(divide(rows, (0.75, 0.25), seed)) for seed in range(5))
    assert found <= best + 0.0004


def test_a_class_of_two_patients_is_on_both_sides() -> None:
    rows = np.zeros((12, 2))
    rows[:, 0] = 100
    rows[[2, 7], 1] = 50  # both in train would be nearer to 80 %, and val could not score it
    for seed in range(4):
        chosen = divide(rows, (0.8, 0.2), seed)
        assert chosen[2] != chosen[7]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_patients_stay_whole_and_everything_is_there(tmp_path: Path, seed: int) -> None:
    fields = patients(9)
    root = write_subset(tmp_path / "set", {"train": dict(list(fields.items())[:20]), "val": dict(list(fields.items())[20:])})
    planned = plan(root, SHARES, seed)
    assert (planned.by, planned.pooled) == ("patient", ("train", "val"))
    assert set(planned.patients["train"]) | set(planned.patients["val"]) == {str(p) for p in range(1, 10)}
    assert write_plan(planned, tmp_path / "out") == (27, 0)
    sides = {side: read_split(tmp_path / "out", side) for side in SHARES}
    assert not {patient_of(p.path.name) for p in sides["train"]} & {patient_of(p.path.name) for p in sides["val"]}
    again = {p.path.name: sorted(p.classes) for side in sides.values() for p in side}
    assert again == {name: sorted(c.code for c in cells) for name, cells in fields.items()}
    assert check(tmp_path / "out").findings == ()
    said = json.loads((tmp_path / "out/split.json").read_text())
    assert said["seed"] == seed and said["patients"]["val"] == list(planned.patients["val"])
    cells = sum(len(p.classes) for p in sides["val"]) / sum(map(len, fields.values()))
    assert 0.1 <= cells <= 0.32


def test_a_patient_is_on_one_side_in_every_subset(tmp_path: Path) -> None:
    for name in ("H_100X_C1", "L_40X_C2"):
        write_subset(tmp_path / "all" / name, {"train": patients(6)})
    write_plan(plan(tmp_path / "all", SHARES, 0), tmp_path / "out")
    assert Kind.PATIENT_BOTH_SIDES not in {f.kind for f in check(tmp_path / "out").findings}
    assert (tmp_path / "out/L_40X_C2/Images/val").is_dir()


def test_test_is_kept_unless_asked_for(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": patients(5), "test": {"77_1_1000_CLL.png": [NEUTROPHIL]}})
    planned = plan(root, SHARES, 0)
    assert planned.pooled == ("train",)
    write_plan(planned, tmp_path / "out")
    assert [p.path.name for p in read_split(tmp_path / "out", "test")] == ["77_1_1000_CLL.png"]
    assert "77" in sum(plan(root, SHARES, 0, ["train", "test"]).patients.values(), ())
    shared = {"train": patients(3), "test": {"2_9_1000_AML.png": [BLAST]}}
    root = write_subset(tmp_path / "shared", shared)
    with pytest.raises(DataError, match=r"patients 2 are in shared/test too.*--from test"):
        plan(root, SHARES, 0)
    with pytest.raises(DataError, match=r"has a split 'val' already.*--from val"):
        plan(write_subset(tmp_path / "two", {"train": patients(3), "val": {"9_1_1000_ALL.png": [BLAST]}}), SHARES, 0, ["train"])
    with pytest.raises(DataError, match="no split 'vla'; splits there: test, train"):
        plan(root, SHARES, 0, ["vla"])


def test_names_without_patients_are_divided_by_picture_identical_ones_together(tmp_path: Path) -> None:
    fields = {f"BA_{n}.png": [BLAST if n % 2 else NEUTROPHIL] for n in range(30)}
    root = write_subset(tmp_path / "set", {"train": fields})
    for n in range(15, 30):
        shutil.copy(root / f"Images/train/BA_{n - 15}.png", root / f"Images/train/BA_{n}.png")
    for seed in range(3):
        planned = plan(root, SHARES, seed)
        assert planned.by == "picture" and planned.patients == {"train": (), "val": ()}
        val = {p.path.stem for _, p in planned.sides["val"]}
        assert 4 <= len(val) <= 8
        assert {f"BA_{n}" in val for n in range(15)} == {True, False}
        assert all((f"BA_{n}" in val) == (f"BA_{n + 15}" in val) for n in range(15))
    other = {p.path.stem for _, p in plan(root, SHARES, 0).sides["val"]} != {p.path.stem for _, p in plan(root, SHARES, 1).sides["val"]}
    assert other


def test_pictures_without_labels_are_kept_apart_on_their_patients_side(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": patients(6)})
    for patient in range(1, 7):
        picture(root / f"Images/train/{patient}_9_1000_AML.png")
    picture(root / "Images/train/88_1_1000_AML.png")
    planned = plan(root, SHARES, 0)
    write_plan(planned, tmp_path / "out")
    for side in SHARES:
        names = {p.name for p in (tmp_path / f"out/Images/{side}_unlabelled").iterdir()}
        more = {"88_1_1000_AML.png"} if side == "train" else set()
        assert names == {f"{p}_9_1000_AML.png" for p in planned.patients[side]} | more
    kinds = {f.kind for f in check(tmp_path / "out").findings}
    assert kinds == {Kind.SPLIT_UNLABELLED}


def test_what_cannot_be_divided(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "one", {"train": patients(1)})
    with pytest.raises(DataError, match="patient 1 cannot be divided into train, val; a patient stays whole"):
        plan(root, SHARES, 0)
    picture(tmp_path / "none/Images/train/1_1_1000_ALL.png")
    with pytest.raises(DataError, match="no label in train"):
        plan(tmp_path / "none", SHARES, 0)
