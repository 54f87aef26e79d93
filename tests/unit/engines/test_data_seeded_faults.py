"""`data check` finds 41 of 41 faults that stand in one subset at once, and with JSON labels alone those that are not of TXT files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.data.check import check
from engines.data.faults import Fault
from tests.support.miniature import build
from tests.support.seeded_faults import FIELDS, SEEDS, SIZE_PX, Seed, plant_all

Found = tuple[dict[str, str], tuple[Fault, ...]]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return plant_all(tmp_path_factory.mktemp("seeded"))


@pytest.fixture(scope="module")
def found(spoilt: tuple[Path, dict[str, str]]) -> Found:
    root, where = spoilt
    return where, check(root.parent).findings


@pytest.fixture(scope="module")
def found_by_json(spoilt: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Found:
    root, where = spoilt
    alone = tmp_path_factory.mktemp("json") / root.name
    shutil.copytree(root, alone)
    shutil.rmtree(alone / "txt_labels")
    return where, check(alone.parent).findings


def test_there_are_forty_one() -> None:
    assert len(SEEDS) == 41 == len({seed.name for seed in SEEDS})


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_it_is_found_in_its_picture(found: Found, seed: Seed) -> None:
    where, findings = found
    assert _hits(findings, seed, where[seed.name]), _said(findings, where[seed.name])


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if not seed.with_txt], ids=lambda seed: seed.name)
def test_json_alone_suffices(found_by_json: Found, seed: Seed) -> None:
    where, findings = found_by_json
    assert _hits(findings, seed, where[seed.name]), _said(findings, where[seed.name])


def test_nothing_is_found_where_nothing_was_planted(tmp_path: Path) -> None:
    made = build(tmp_path, fields=FIELDS, few=0, size_px=SIZE_PX)
    planted = {kind for seed in SEEDS for kind in seed.kinds}
    assert [str(fault) for fault in check(made.subset("H_100X_C2")).findings if fault.kind in planted] == []


def _hits(findings: tuple[Fault, ...], seed: Seed, stem: str) -> list[Fault]:
    return [fault for fault in findings if fault.kind in seed.kinds and stem in str(fault)]


def _said(findings: tuple[Fault, ...], stem: str) -> str:
    return "\n".join(f"{fault.kind.slug}: {fault}" for fault in findings if stem in str(fault)) or "nothing is said of it"
