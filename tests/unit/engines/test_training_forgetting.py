"""What a run from weights has forgotten: counted as by hand, printed, kept, warned of, and found again by a resumed run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import attridet
from discs import write_discs

from engines.data.augment import Sample
from engines.decode import Candidates
from engines.errors import DataError
from engines.taxonomy import LEUKEMIA_ATTRI
from engines.training import TrainRequest, forgetting, train
from engines.training.forgetting import Forgetting, Standing
from engines.training.judge import FolderJudge, JudgedSample
from engines.training.request import recalled

NONE, LYMPHOBLAST, MYELOBLAST, NEUTROPHIL = (
    LEUKEMIA_ATTRI.classes.index(name) for name in ("None", "Lymphoblast", "Myeloblast", "Neutrophil")
)


class Told:
    """Stands for a network where only its taxonomy is asked."""

    taxonomy = LEUKEMIA_ATTRI


def judged(monkeypatch: pytest.MonkeyPatch, labels: list[int], told: list[int]) -> Standing:
    """A standing where the n-th labelled cell was told as told[n], -1: not found."""
    found = [code for code in told if code >= 0]
    partner = np.array([found.index(code) if code >= 0 else -1 for code in told])
    shown = Candidates(np.zeros((len(found), 4), np.float32), np.ones(len(found), np.float32), np.array(found, np.int64))
    seen = JudgedSample(None, shown, partner, np.zeros((len(told), 0), np.float32))  # type: ignore[arg-type]  # not asked for
    monkeypatch.setattr(forgetting, "judge_samples", lambda *_: [seen])
    rows = np.array([[code, *[-1] * 7] for code in labels], np.int64)
    sample = Sample(np.zeros((8, 8, 3), np.uint8), np.zeros((len(labels), 4), np.float32), rows)
    return forgetting.standings(Told(), FolderJudge({"a": [sample]}, 64))["a"]  # type: ignore[arg-type]  # see Told


def test_recall_and_j_as_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [LYMPHOBLAST, LYMPHOBLAST, MYELOBLAST, NEUTROPHIL, NEUTROPHIL, NONE]
    told = [LYMPHOBLAST, -1, LYMPHOBLAST, MYELOBLAST, NONE, NEUTROPHIL]
    # Of five white cells one is not found and one is told as an artefact; two of three blasts and one of two others are told as blasts.
    assert judged(monkeypatch, labels, told) == Standing(5, 3, 0.6, pytest.approx(2 / 3 - 1 / 2))
    assert judged(monkeypatch, [NEUTROPHIL], [NEUTROPHIL]) == Standing(1, 0, 1.0, None)
    assert judged(monkeypatch, [NONE], [NONE]) == Standing(0, 0, None, None)


def test_a_fall_of_more_than_two_points_counts() -> None:
    one = Forgetting("bccd", Standing(100, 50, 0.915, 0.30), Standing(100, 50, 0.493, 0.285))
    assert one.fallen == {"recall": pytest.approx(0.422)}
    assert str(one) == "bccd (100 white cells, 50 blasts): recall 0.915 to 0.493, J 0.300 to 0.285"
    assert Forgetting("a", Standing(9, 0, None, None), Standing(9, 0, 0.5, None)).fallen == {}


SMALL = {"imgsz": 64, "batch": 4, "threads": 1, "workers": 0, "pictures": False, "hyper": "finetune"}


def test_a_tiny_run_says_keeps_and_finds_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = write_discs(tmp_path / "discs"), tmp_path / "run"
    words = ("--imgsz", 64, "--batch", 4, "--threads", 1, "--workers", 0, "--no-pictures", "--hyper", "finetune")
    threads = torch.get_num_threads()
    try:
        start = ("--initial", "zoo:attridet-n", "--judge-imgsz", 128)
        done = attridet("train", "--data", folder, "--out", out, *words, *start, "--epochs", 1, columns=600)
        assert done.code == 0, done.err
        assert "zoo:attridet-n learnt from: pbc" in done.out and "What of it is not shown again may be forgotten" in done.out
        kept = json.loads((out / "forgetting.json").read_text())
        before, after = kept["before"]["discs"], kept["after"]["discs"]
        assert before["cells"] == after["cells"] > 0
        assert f"discs ({before['cells']} white cells, {before['blasts']} blasts): " in done.out
        assert f"recall {before['recall']:.3f} to {after['recall']:.3f}" in done.out
        # What was before the run is not judged anew when it goes on, and a fall is warned of.
        kept["before"]["discs"]["recall"] = after["recall"] + 0.5
        (out / "forgetting.json").write_text(json.dumps(kept))
        again = attridet("train", "--out", out, "--resume", columns=600)
        assert "Mind: discs: recall fell by 50.0 points. Show more of it (--data discs:N beside the others)" in again.out
        result = train(TrainRequest(out=out, resume=True))
    finally:
        torch.set_num_threads(threads)
    assert [one.folder for one in result.forgetting] == ["discs"]
    assert result.forgetting[0].before.recall == pytest.approx(after["recall"] + 0.5)


def test_a_folder_that_is_not_learnt_from_is_watched(tmp_path: Path) -> None:
    folder, other, out = write_discs(tmp_path / "discs"), write_discs(tmp_path / "others", val=2), tmp_path / "run"
    for name in ("Images", "txt_labels/AttriDet"):
        shutil.rmtree(other / name / "train")  # a folder of val alone is enough
    threads = torch.get_num_threads()
    try:
        request = TrainRequest(
            data=(str(folder),),
            watch=(str(other),),
            initial=Path("zoo:attridet-n"),
            out=out,
            epochs=1,
            **SMALL,  # type: ignore[arg-type]
        )
        result = train(request)
    finally:
        torch.set_num_threads(threads)
    assert [(one.folder, one.after.cells) for one in result.forgetting] == [("discs", 4), ("others", 2)]
    assert "discs_map50" in result.history[0] and "others_map50" not in result.history[0], "fitness is of what is learnt"
    assert recalled(TrainRequest(out=out, resume=True)).watch == (str(other),)
    with pytest.raises(DataError, match="--watch: a run from random weights has nothing to forget"):
        train(TrainRequest(data=(str(folder),), watch=(str(other),), out=tmp_path / "random"))


def test_a_run_from_random_weights_has_nothing_to_forget(tmp_path: Path) -> None:
    folder = write_discs(tmp_path / "discs")
    threads = torch.get_num_threads()
    try:
        result = train(TrainRequest(data=(str(folder),), out=tmp_path / "run", epochs=1, **SMALL))  # type: ignore[arg-type]  # options
    finally:
        torch.set_num_threads(threads)
    assert result.forgetting == () and not (tmp_path / "run" / "forgetting.json").exists()
