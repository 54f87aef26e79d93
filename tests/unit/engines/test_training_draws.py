"""What an epoch shows: shares of folders in turn, patients in proportion, the same again after a resume; and how cells are weighed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import attridet
from discs import discs, write_discs

from engines.adapt.request import AdaptRequest
from engines.data.augment import Sample
from engines.data.leukemiaattri import LabelledImage
from engines.families.attridet.losses import DetectionLoss
from engines.families.hyper import FILM, LOW, SETS
from engines.network import checkpoint
from engines.taxonomy import LEUKEMIA_ATTRI
from engines.training.class_weights import class_weights
from engines.training.dataset import TrainingSet
from engines.training.draws import EpochDraw, Part, lay_out
from engines.training.loop import Run, Trainer
from engines.training.request import recalled

NONE, LYMPHOBLAST, NEUTROPHIL = (LEUKEMIA_ATTRI.classes.index(name) for name in ("None", "Lymphoblast", "Neutrophil"))


def shown(draw: EpochDraw, epochs: int, seed: int = 3) -> list[list[int]]:
    return [draw.drawn(seed, epoch).tolist() for epoch in range(epochs)]


def test_a_quarter_is_another_one_each_epoch_until_all_were_shown() -> None:
    samples, draw = lay_out([discs(8), discs(10)], [0.25, 2.0])
    epochs = shown(draw, 8)
    assert len(samples) == 8 + 20 and all(len(epoch) == len(draw) == 2 + 20 for epoch in epochs)
    assert all(epoch[2:] == list(range(8, 28)) for epoch in epochs), "all of the other folder, twice, each epoch"
    quarters = [epoch[:2] for epoch in epochs]
    for round_ in (quarters[:4], quarters[4:]):
        assert sorted(n for quarter in round_ for n in quarter) == list(range(8))
    assert quarters[:4] != quarters[4:] and quarters[0] != [0, 1]
    assert shown(draw, 8, seed=4) != epochs and shown(draw, 8) == epochs
    assert draw.expected().tolist() == pytest.approx([0.25] * 8 + [1.0] * 20)


def test_one_and_a_half_shows_each_picture_once_or_twice() -> None:
    _, draw = lay_out([discs(8)], [1.5])
    first, second = (Counter(epoch) for epoch in shown(draw, 2))
    assert sorted(first.values()) == [1] * 4 + [2] * 4 and set((first + second).values()) == {3}


def test_a_patient_with_nine_times_the_pictures_is_shown_three_times_as_often() -> None:
    draw = EpochDraw((Part(0, 40, 20, ("7",) * 36 + ("8",) * 4),))
    epochs = shown(draw, 60)
    assert all(len(epoch) == 20 for epoch in epochs)
    times = Counter(position for epoch in epochs for position in epoch)
    of_7, of_8 = sum(times[n] for n in range(36)), sum(times[n] for n in range(36, 40))
    assert of_7 / of_8 == pytest.approx(3.0, rel=0.05)
    assert max(times[n] for n in range(36)) - min(times[n] for n in range(36)) <= 1, "a patient's own pictures in turn"
    assert draw.largest(draw.parts[0]) == (36, pytest.approx(15.0))


def test_patients_are_known_by_name_and_fields_by_looks() -> None:
    rng = np.random.default_rng(0)
    fields = [cv2.resize(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8), (96, 96)) for _ in range(5)]
    none = np.zeros((0, 4), np.float32), np.zeros((0, 8), np.int64)
    pictures = [*fields, np.ascontiguousarray(fields[4][:, ::-1])]
    names = ["4_1_1_400_ALL.png", "4_2_1_400_ALL.png", "9_1_1_400_AML.png", "a.png", "b.png", "c.png"]
    samples = [Sample(picture, *none) for picture in pictures]  # type: ignore[arg-type]  # cv2 stub
    images = [LabelledImage(Path(name), (96, 96), none[0], np.zeros(0, np.int64), np.zeros((0, 7), np.int64)) for name in names]
    _, draw = lay_out([samples], [2.0], [images])
    units = draw.parts[0].units
    assert units is not None and len(units) == 12 and units[:6] == units[6:]
    assert len(set(units)) == 4 and units[0] == units[1] != units[2] and units[3] != units[4] == units[5]


def test_pictures_of_folders_shown_whole_are_the_same_as_ever() -> None:
    samples, draw = lay_out([discs(4), discs(3)], [2.0, 1.0])
    one, other = TrainingSet(samples, 64, FILM, 5), TrainingSet(samples, 64, FILM, 5, draw)
    for data in (one, other):
        data.set_epoch(1)
    assert len(one) == len(other) == 11
    assert all(torch.equal(a, b) for n in range(11) for a, b in zip(one[n], other[n], strict=True))


def test_an_epoch_mixes_only_what_it_shows() -> None:
    """Half of the pictures are black, and an epoch that shows the others must not hold a dark tile."""
    white, black = (
        [Sample(np.full((64, 64, 3), v, np.uint8), np.zeros((0, 4), np.float32), np.zeros((0, 8), np.int64)) for _ in range(4)]
        for v in (230, 0)
    )
    data = TrainingSet(white + black, 64, FILM, 0, EpochDraw((Part(0, 4, 4), Part(4, 4, 4))))
    data.draw = EpochDraw((Part(0, 4, 4),))
    for epoch in range(3):
        data.set_epoch(epoch)
        assert all(float(data[n][0].float().mean()) > 100 for n in range(len(data)))


def test_weights_of_types_as_computed_by_hand() -> None:
    counts = np.zeros(len(LEUKEMIA_ATTRI.classes))
    counts[[NONE, LYMPHOBLAST, NEUTROPHIL]] = 400, 100, 25
    weights = class_weights(counts, LEUKEMIA_ATTRI)
    # 1/sqrt: .05, .1, .2; None at most half of .1, so .05; scaled by 525 / (400 x .05 + 100 x .1 + 25 x .2) = 15
    assert weights[[NONE, LYMPHOBLAST, NEUTROPHIL]] == pytest.approx([0.75, 1.5, 3.0])
    assert counts @ weights == pytest.approx(counts.sum()) and weights[4] == 1
    counts[NONE] = 4  # few artefacts would weigh most; they are held down all the same
    weights = class_weights(counts, LEUKEMIA_ATTRI)
    assert weights[NONE] == pytest.approx(0.5 * weights[LYMPHOBLAST])
    only = np.zeros(len(counts))
    only[NONE] = 9
    assert class_weights(only, LEUKEMIA_ATTRI)[NONE] == pytest.approx(1)


def test_the_class_loss_is_weighed_by_type_and_nothing_else_is() -> None:
    torch.manual_seed(0)
    anchors = torch.tensor([[[4.0, 4.0]]])
    level = torch.randn(1, 1, 8, 8, 5 + 3)
    targets = torch.tensor([[0.0, 1, 0.55, 0.55, 0.5, 0.5]])  # one cell of type 1
    weights = torch.tensor([1.0, 4.0, 1.0])
    plain = DetectionLoss(anchors, LOW, classes=3)([level], targets)[1]
    heavy = DetectionLoss(anchors, LOW, classes=3, class_weights=weights)([level], targets)[1]
    assert float(heavy.cls) == pytest.approx(4 * float(plain.cls), rel=1e-6)
    assert (heavy.box, heavy.obj) == (plain.box, plain.obj)
    both = torch.cat([targets, torch.tensor([[0.0, 2, 0.55, 0.05, 0.5, 0.5]])])
    # The mean over rows, each times its type's weight, by hand from the rows' own losses.
    rows = [float(DetectionLoss(anchors, LOW, classes=3)([level], one[None])[1].cls) for one in both]
    counts = [3, 2]  # the first lies in its own cell and two neighbours, the second at the border in one less
    mixed = DetectionLoss(anchors, LOW, classes=3, class_weights=weights)([level], both)[1]
    expected = (4 * rows[0] * counts[0] + rows[1] * counts[1]) / sum(counts)
    assert float(mixed.cls) == pytest.approx(expected, rel=1e-5)


def test_weights_count_what_an_epoch_shows(tmp_path: Path) -> None:
    samples, draw = lay_out([discs(8)], [0.5])
    run = Run(tmp_path, imgsz=64, epochs=1, batch=4, workers=0, hyper=SETS["finetune"])
    trainer = Trainer(run, samples, draw=draw)
    counts = np.bincount(np.concatenate([s.labels[:, 0] for s in samples]), minlength=14) * 0.5
    assert trainer.class_weights == pytest.approx(class_weights(counts, LEUKEMIA_ATTRI))
    assert trainer.batches == 1 and Trainer(Run(tmp_path, imgsz=64, batch=4), samples).class_weights is None


def test_a_gentle_run_of_a_share_is_resumed_identically(tmp_path: Path) -> None:
    samples, draw = lay_out([discs(8)], [0.5])

    def run(folder: str) -> Trainer:
        return Trainer(Run(tmp_path / folder, imgsz=64, epochs=2, batch=2, workers=0, hyper=SETS["finetune"]), samples, draw=draw)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole, stopped = run("whole"), run("stopped")
        whole.fit()
        with pytest.raises(KeyboardInterrupt):
            stopped.fit(lambda now: (_ for _ in ()).throw(KeyboardInterrupt) if now.epoch == 2 else None)
        resumed = run("stopped")
        resumed.resume(tmp_path / "stopped" / "last.pt")
        resumed.fit()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(value, resumed.model.state_dict()[name]) for name, value in whole.model.state_dict().items())


def test_shares_and_weights_on_the_command_line(tmp_path: Path) -> None:
    folder, out = write_discs(tmp_path / "discs"), tmp_path / "run"
    words = ("--imgsz", 64, "--batch", 2, "--threads", 1, "--workers", 0, "--no-pictures", "--no-judge", "--epochs", 1)
    threads = torch.get_num_threads()
    try:
        done = attridet("train", "--data", f"{folder}:0.5", "--out", out, *words, "--class-weights", columns=500)
    finally:
        torch.set_num_threads(threads)
    assert done.code == 0, done.err
    assert "4 of 8 pictures an epoch with 4 cells" in done.out and "a cell counts in the class loss: None " in done.out
    state = checkpoint.read(out / "last.pt")
    assert state["batches"] == 2 and state["hyper"]["class_weights"] and not state["hyper"]["balance_patients"]


def test_a_kept_share_comes_back(tmp_path: Path) -> None:
    AdaptRequest(source=("a:0.25",), target=("b:2",), out=tmp_path, initial=Path("zoo:attridet-n")).keep()
    again = recalled(AdaptRequest(out=tmp_path, resume=True))
    assert again.source == (f"{Path('a').absolute()}:0.25",) and again.target == (f"{Path('b').absolute()}:2",)
    assert again.initial == Path("zoo:attridet-n")
