"""Pseudo-labels for ground that nobody labelled: where they lie, how many of each type, and a run that goes on with the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from discs import discs, write_discs

from engines.data.augment import Sample
from engines.data.coco import write_json
from engines.data.labels import Picture
from engines.data.layout import find_splits
from engines.data.leukemiaattri import admit
from engines.decode import Candidates
from engines.errors import DataError
from engines.evaluation.average_precision import Judged
from engines.families import family
from engines.families.base import Network
from engines.network.checkpoint import read
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN
from engines.training import TrainRequest, train
from engines.training import pseudo as module
from engines.training.judge import JudgedSample
from engines.training.loop import Run, Trainer
from engines.training.pseudo import SURE, Filling, thresholds


def test_of_each_type_the_surest_are_taken_as_many_as_the_labels_let_expect() -> None:
    rng = np.random.default_rng(0)
    scores, classes = rng.uniform(0.25, 1, 200).astype(np.float32), rng.integers(0, 4, 200)
    expected = np.array([10.0, 40.0, 1000.0, 0.0])
    least = thresholds(scores, classes, expected)
    for kind, count in enumerate([round(SURE * 10), round(SURE * 40), (classes == 2).sum(), 0]):
        own = scores[classes == kind]
        assert (own >= least[kind]).sum() == count
        assert not count or own[own >= least[kind]].min() >= np.sort(own)[::-1][:count].min()
    assert least[0] > least[1] > least[2]  # scores alike: the rarer a type is expected, the higher its threshold
    assert least[3] == np.inf
    assert len(thresholds(scores[:0], classes[:0], expected)) == 4


def half_labelled() -> Filling:
    """Discs, of which the left half was labelled in all but the last picture, which is labelled whole."""
    samples = discs(4, 64)
    right = np.array([[0.5, 0, 1, 1]], np.float32)
    kept = [Sample(s.image, s.boxes[:0], s.labels[:0], np.array([[32, 0, 64, 64]], np.float32)) for s in samples[:3]]
    return Filling([*kept, samples[3]], [right, right, right, right[:0]], 64, False)


def test_expected_cells_are_those_of_as_much_labelled_ground() -> None:
    whole = discs(2, 64)
    third = np.array([[1 / 3, 0, 1, 1]], np.float32)
    filling = Filling(whole, [third, third[:0]], 64, False)
    expected = filling.expected(len(LEUKEMIA_ATTRI.classes))
    assert expected.sum() == pytest.approx(2 * len(whole[0].boxes))
    assert expected[whole[0].labels[0, 0]] > 0
    assert [epoch for epoch in range(12) if filling.due(epoch, 12)] == [3, 7, 11]


def test_pseudo_labels_lie_in_the_ground_and_leave_labels_and_regions_alone() -> None:
    filling = half_labelled()
    rows = np.array([[0, 40, 10, 60, 30, 3], [2, 34, 4, 50, 20, 5], [2, 36, 40, 60, 60, 3]], float)
    filled = filling.filled(rows)
    assert [len(s.boxes) for s in filled] == [1, 0, 2, len(filling.samples[3].boxes)]
    assert filled[2].labels[:, 0].tolist() == [5, 3] and (filled[2].labels[:, 1:] == UNKNOWN).all()
    assert filled[0].boxes.tolist() == [[40, 10, 60, 30]] and filled[0].boxes.dtype == np.float32
    assert all(np.array_equal(a.ignored, b.ignored) for a, b in zip(filled, filling.samples, strict=True))
    assert filled[1] is filling.samples[1] and filled[3] is filling.samples[3]
    assert all(len(s.boxes) == 0 for s in filling.samples[:3])


def test_a_run_finds_cells_in_the_ground_and_goes_on_with_the_same_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLOOR", 0.0)
    shown: list[np.ndarray] = []

    def begun(name: str) -> Trainer:
        run = Run(tmp_path / name, imgsz=64, batch=4, epochs=3, workers=0, amp=False)
        filling = half_labelled()
        return Trainer(run, filling.samples, filling=filling)

    found = np.array([[0, 40, 10, 60, 30, 3], [1, 34, 4, 50, 20, 3]], float)
    monkeypatch.setattr(Filling, "find", lambda self, network: shown.append(found) or found)
    whole = begun("whole")
    whole.fit()
    assert [row["pseudo_labels"] for row in whole.history] == [0, 2, 2] and len(shown) == 1
    first = begun("parts")
    stops = iter([None, KeyboardInterrupt])

    def after(row: object) -> None:
        if next(stops):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.fit(after_epoch=after)
    second = begun("parts")
    second.resume(tmp_path / "parts" / "last.pt")
    assert np.array_equal(second.pseudo, found) and len(second.data.samples[0].boxes) == 1
    second.fit()
    for (key, a), b in zip(whole.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    with pytest.raises(DataError, match="was trained with pseudo True"):
        plain = Trainer(begun("other").run, half_labelled().samples)
        plain.resume(tmp_path / "whole" / "last.pt")


def test_what_a_network_finds_is_kept_where_it_is_centred_in_the_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.array([[2, 2, 20, 20], [40, 10, 60, 30], [24, 30, 44, 50], [44, 40, 60, 60]], np.float32)
    shown = Candidates(boxes, np.array([0.9, 0.8, 0.7, 0.1], np.float32), np.full(4, 3))

    def said(network: Network, samples: Sequence[Sample], imgsz: int, scale_up: bool) -> list[JudgedSample]:
        told = np.zeros((1, LEUKEMIA_ATTRI.n_logits), np.float32)
        judged = Judged(boxes[:0], shown.scores[:0], shown.classes[:0], boxes[:0], shown.classes[:0])
        return [JudgedSample(judged, shown, np.array([2]), told) for _ in samples]  # the third found a labelled cell

    monkeypatch.setattr(module, "judge_samples", said)
    filling = half_labelled()
    labelled = [
        replace(s, boxes=boxes[2:3], labels=np.array([[3, *[UNKNOWN] * 7]])) if len(ground) else s
        for s, ground in zip(filling.samples, filling.unlabelled, strict=True)
    ]
    rows = replace(filling, samples=labelled).find(family("attridet")("n", LEUKEMIA_ATTRI))
    assert rows.tolist() == [[number, 40, 10, 60, 30, 3] for number in (0, 1, 2)]  # not the unsure one, nor outside the ground
    elsewhere = [replace(s, labels=np.array([[5, *[UNKNOWN] * 7]])) if len(s.ignored) else s for s in labelled]
    assert len(replace(filling, samples=elsewhere).find(family("attridet")("n", LEUKEMIA_ATTRI))) == 0  # no such type is expected


def half_said(folder: Path) -> Path:
    """Discs on disk, of whose train the left half was labelled."""
    write_discs(folder)
    (split,) = find_splits(folder, "train")
    (labels,) = admit([split], folder, LEUKEMIA_ATTRI)[0]

    def cut(picture: Picture) -> Picture:
        assert picture.labels is not None
        height, width = picture.size_hw
        return replace(picture, labels=replace(picture.labels, labelled=((0.0, 0.0, width / 2 + 8, float(height)),)))

    write_json(folder, "train", [cut(p) for p in labels.pictures], LEUKEMIA_ATTRI)
    return folder


def test_by_the_command(tmp_path: Path) -> None:
    small = {"imgsz": 64, "batch": 4, "threads": 1, "workers": 0, "judge": False, "pictures": False, "epochs": 2}
    data = half_said(tmp_path / "discs")
    threads = torch.get_num_threads()
    try:
        done = train(TrainRequest(data=(str(data),), out=tmp_path / "run", pseudo=True, **small))
        assert [row["pseudo_labels"] for row in done.history] == [0, 0]
        assert read(tmp_path / "run" / "last.pt")["pseudo"] is True
        with pytest.raises(DataError, match="--pseudo: every picture of train is labelled whole"):
            train(TrainRequest(data=(str(write_discs(tmp_path / "whole")),), out=tmp_path / "none", pseudo=True, **small))
    finally:
        torch.set_num_threads(threads)
