"""Patients on both sides: a checkpoint and a bundle know whom they were trained on, and every command that judges says so first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import attridet

from engines.bundle import Bundle
from engines.evaluation.trained_on import digest_of, overlap
from engines.manifest import SCHEMA_VERSION, parse_manifest
from engines.network import checkpoint
from engines.provenance import LABELLED, UNLABELLED, DataSeen, data_of
from tests.support.miniature import Miniature

SMALL = ("--imgsz", 64, "--batch", 4, "--threads", 1, "--workers", 0, "--no-pictures", "--epochs", 1)


@pytest.fixture(scope="module")
def trained(miniature: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on H_100X_C2, whose train holds patient 6; its folder."""
    out, threads = tmp_path_factory.mktemp("trained") / "a", torch.get_num_threads()
    done = attridet("train", "--data", miniature.subset("H_100X_C2"), "--out", out, *SMALL)
    torch.set_num_threads(threads)
    assert done.code == 0, done.err
    assert "no split val in H_100X_C2" in done.out
    return out


@pytest.fixture(scope="module")
def bundle(miniature: Miniature, trained: Path) -> Path:
    """A bundle of it, exported without a card; one epoch finds no cell, so the weights are the shipped ones."""
    out, finds = trained.parent / "engine", trained.parent / "finds.pt"
    checkpoint.save(finds, {**checkpoint.read(trained / "best.pt"), "ema": checkpoint.load_any(Path("zoo:attridet-n"))[0].state_dict()})
    done = attridet("export", finds, out, "--images", miniature.subset("H_100X_C2") / "Images/test", "--input", 320)
    assert done.code == 0, done.err
    return out


def test_a_checkpoint_knows_its_data(miniature: Miniature, trained: Path) -> None:
    state = checkpoint.read(trained / "best.pt")
    held = json.loads((trained / "val.json").read_text())
    (seen,) = data_of(state)
    names = {p.name for p in (miniature.subset("H_100X_C2") / "Images/train").iterdir()} - set(held["pictures"]["H_100X_C2"])
    assert state["data"] == ["H_100X_C2"] and (seen.name, seen.split, seen.role) == ("H_100X_C2", "train", LABELLED)
    assert seen.images == len(names) and seen.names_sha256 == digest_of(names) and seen.cells > len(names)
    assert set(seen.patients) == {"1", "2", "3", "4", "6"} - set(held["patients"]) and "6" in seen.patients
    assert state["command"].startswith("attridet train --out") and "--epochs 1" in state["command"]


def test_evaluate_says_so_in_text_json_and_page_and_is_silent_on_a_clean_split(
    miniature: Miniature, trained: Path, tmp_path: Path
) -> None:
    words = "The network was trained on 1 of 2 patients judged here (6, of H_100X_C2/train)"
    given = ("--resamples", 0, "--input", 64, "--threads", 1)
    files = ("--json", tmp_path / "l.json", "--page", tmp_path / "page")
    leaky = attridet("evaluate", trained / "best.pt", "--data", miniature.subset("L_100X_C1"), "--split", "test", *files, *given)
    assert leaky.code == 0 and leaky.out.startswith(f"Mind: {words}")
    plain = json.loads((tmp_path / "l.json").read_text())
    assert plain["trained_on"]["patients"] == ["6"] and plain["data"]["notes"][0].startswith(words)
    assert words in (tmp_path / "page/index.html").read_text()
    clean = attridet("evaluate", trained / "best.pt", "--data", miniature.subset("H_100X_C1"), "--split", "test", *given)
    assert clean.code == 0 and "trained on" not in clean.out and "Mind" not in clean.out


def test_export_without_a_card_says_what_the_weights_are(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    (seen,) = manifest.training.data
    assert manifest.name == "engine" and seen.images == 16 and seen.role == LABELLED and "6" in seen.patients
    assert manifest.training.command.startswith("attridet train") and (manifest.training.seed, manifest.training.epochs) == (0, 1)


def test_quantize_and_gate_say_so_and_keep_it(miniature: Miniature, bundle: Path, tmp_path: Path) -> None:
    frames = miniature.subset("H_100X_C2") / "Images/train"
    leaky, clean = (f"{miniature.subset(name)}:test" for name in ("L_100X_C1", "H_100X_C1"))
    loose = [word for one in ("map-points", "f1-points", "youden-points", "shift-px") for word in (f"--{one}", 100)]
    loose += ["--least-found", 0, "--least-sensitivity", 0, "--least-youden", 0, "--threads", 1, "--runtime", "onnx"]
    made = attridet(
        "quantize", bundle, tmp_path / "int8", "--frames", frames, "--data", leaky, "--page", tmp_path / "page", "--count", 4, *loose
    )
    assert made.code == 3 and made.out.startswith("Mind: The network was trained on 1 of 2 patients judged here (6"), made.err
    gate = Bundle.open(tmp_path / "int8").manifest.gate
    assert gate is not None and gate.caution.startswith("was trained on 1 of 2 patients judged here (6, of H_100X_C2/train)")
    assert "was trained on 1 of 2 patients judged here" in (tmp_path / "page/index.html").read_text()
    judged = attridet("gate", tmp_path / "int8", "--reference", bundle, "--data", leaky, *loose)
    assert judged.code == 3 and judged.out.startswith("Mind: The network was trained on"), judged.err
    judged = attridet("gate", tmp_path / "int8", "--reference", bundle, "--data", clean, *loose)
    assert "trained on" not in judged.out and judged.code in (0, 3), judged.err
    gate = Bundle.open(tmp_path / "int8").manifest.gate
    assert gate is not None and "trained on" not in gate.caution


@pytest.mark.parametrize(("subset", "said"), [("L_100X_C1", True), ("H_100X_C1", False)])
def test_an_export_that_chooses_its_working_point_is_the_two_commands_to_the_byte_and_says_so_first(
    miniature: Miniature, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subset: str, said: bool
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764547200")
    data, pictures = miniature.subset(subset), ("--images", miniature.subset("H_100X_C2") / "Images/test", "--input", 320)
    finds, costs = bundle.parent / "finds.pt", ("--blast-cost", 3, "--threads", 1)
    one = attridet("export", finds, tmp_path / "one/engine", *pictures, "--data", data, "--split", "test", *costs)
    assert one.code == 0 and f"chosen on {subset}/test" in one.out and "working point is the default" not in one.out, one.err
    assert one.out.startswith("Mind: The network was trained on 1 of 2 patients judged here (6") is said
    plain = attridet("export", finds, tmp_path / "plain/engine", *pictures)
    assert plain.code == 0 and "name labelled pictures by --data" in plain.out
    two = attridet("working-point", tmp_path / "plain/engine", tmp_path / "two/engine", "--data", f"{data}:test", *costs)
    assert two.code == 0 and two.out.startswith("Mind: The network was trained on") is said, two.err
    made, other = (Bundle.open(tmp_path / way / "engine") for way in ("one", "two"))
    assert made.digest == other.digest
    chosen, card = made.manifest.working_point, made.manifest.metrics["working point"]
    assert chosen is not None and (chosen.data, chosen.split, chosen.blast_cost) == (subset, "test", 3)
    assert made.manifest.thresholds.confidence == chosen.confidence == card["confidence"] != 0.25
    assert card["chosen on"] == f"{subset}/test" and ("trained on 1 of 2 patients" in card.get("caution", "")) is said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--split", "test"), "--split: is of the working point that --data chooses"),
        (("--blast-cost", 3), "--blast-cost: is of the working point"),
        (("--data", "H_100X_C1", "--confidence", 0.3), "--confidence 0.3: --data"),
        (("--data", "H_100X_C1", "--split", "tset"), "tset"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_a_choice_that_cannot_be_made_is_told_before_the_graphs(
    miniature: Miniature, bundle: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    given = [miniature.subset(word) if word == "H_100X_C1" else word for word in words]
    images = miniature.subset("H_100X_C2") / "Images/test"
    called = attridet("export", bundle.parent / "finds.pt", tmp_path / "engine", "--images", images, *given)
    assert called.code == 2 and told in called.err and len(called.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


WORDS = "The network was trained on 1 of 2 patients judged here (6, of H_100X_C2/train): the scores flatter it."


@pytest.mark.parametrize(("others", "said"), [("L_100X_C1", True), ("H_100X_C1", False)])
def test_train_says_so_of_its_own_pictures(miniature: Miniature, tmp_path: Path, others: str, said: bool) -> None:
    """Patient 6 is learnt from in H_100X_C2, and in the split of L_100X_C1 that judges each epoch."""
    data = ("--data", miniature.subset("H_100X_C2"), "--data", miniature.subset(others))
    done = attridet("train", *data, "--judge-split", "test", "--out", tmp_path / "run", *SMALL)
    assert done.code == 0, done.err
    assert (f"Mind: {WORDS}" in done.out) is said and ("trained on" in done.out) is said


def test_train_says_so_of_those_from_whom_its_first_weights_learnt(miniature: Miniature, trained: Path, tmp_path: Path) -> None:
    data = ("--data", miniature.subset("L_100X_C1"), "--judge-split", "test", "--initial", trained / "best.pt")
    done = attridet("train", *data, "--out", tmp_path / "run", *SMALL)
    assert done.code == 0 and f"Mind: {WORDS}" in done.out, done.err


@pytest.mark.parametrize("target", ["L_100X_C1", "H_100X_C1"])
def test_adapt_says_so_of_its_source_and_of_its_first_weights(miniature: Miniature, trained: Path, tmp_path: Path, target: str) -> None:
    """Both learnt from patient 6, whom the target's test has in L_100X_C1 alone."""
    data = ("--source", miniature.subset("H_100X_C2"), "--target", miniature.subset(target), "--judge-split", "test")
    given = ("--initial", trained / "best.pt", "--method", "source-only", "--imgsz", 64, "--batch", 4, "--threads", 1, "--epochs", 1)
    done = attridet("adapt", *data, *given, "--workers", 0, "--out", tmp_path / "run")
    assert done.code in (0, 1), done.err
    said = target == "L_100X_C1"
    assert (f"Mind: {WORDS}" in done.out) is said and ("trained on" in done.out) is said


def test_a_manifest_without_such_facts_is_written_as_before(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    manifest = parse_manifest(text, "manifest.json")
    assert manifest.to_json() == text and json.loads(text)["schema_version"] == 5 <= SCHEMA_VERSION
    bare = manifest.training.model_copy(update={"data": (DataSeen(name="film", licence="Apache-2.0", images=3),)})
    plain = json.loads(manifest.model_copy(update={"training": bare}).to_json())
    assert plain["training"]["data"] == [{"name": "film", "licence": "Apache-2.0", "images": 3, "note": ""}]
    assert plain["schema_version"] < 5


def test_who_overlaps_in_words() -> None:
    target = DataSeen(
        name="L", licence="-", images=2, role=UNLABELLED, split="train", patients=("7",), names_sha256=digest_of(["a", "b"])
    )
    shown = overlap([target], ["7_1_1000_AML.png", "8_1_1000_ALL.png"])
    assert shown.said == "was shown, without labels, 1 of 2 patients judged here (7, of L/train)"
    assert overlap([target], ["b", "a"]).said == "was shown, without labels, these very pictures (L/train)"
    assert not overlap([target], ["c"]) and not overlap([], ["7_1_1000_AML.png"])
    assert data_of({"data": ["film", {"name": "pbc", "licence": "x", "images": 4}]})[1].images == 4


def test_labels_that_are_still_packed_are_named(miniature: Miniature, trained: Path, tmp_path: Path) -> None:
    packed = shutil.copytree(miniature.subset("L_100X_C2"), tmp_path / "L_100X_C2")
    for words in (
        ("train", "--data", packed, "--out", tmp_path / "run", *SMALL),
        ("evaluate", trained / "best.pt", "--data", packed, "--split", "test"),
    ):
        told = attridet(*words)
        assert (told.code == 2 and "labels.zip" in told.err) or told.code == 0
