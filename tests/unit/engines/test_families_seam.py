"""Every detector family behind the one seam: trained, kept, resumed, judged and opened without a word of which it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from discs import discs, write_discs

from engines.errors import DataError
from engines.families import FAMILIES, family
from engines.network import checkpoint
from engines.network.engine import open_checkpoint
from engines.network.weights import load_weights, save_weights
from engines.progress import Reporter
from engines.taxonomy import LEUKEMIA_ATTRI
from engines.training import TrainRequest, train
from engines.training.judge import FolderJudge, judge_samples
from engines.training.loop import Run, Trainer

OF_THEIR_OWN = [name for name in FAMILIES if name != "cbm"]
"""Families that need no other's network to look at a picture."""


def trainer(name: str, folder: Path, epochs: int = 1) -> Trainer:
    run = Run(folder, family=name, size=family(name).sizes[0], imgsz=64, batch=4, epochs=epochs, workers=0, amp=False)
    return Trainer(run, discs(4, 64))


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_a_step_is_learnt_kept_and_goes_on_to_the_same_weights(name: str, tmp_path: Path) -> None:
    whole = trainer(name, tmp_path / "whole", epochs=2)
    before = [value.clone() for value in whole.model.parameters()]
    whole.fit()
    assert any(not torch.equal(a, b) for a, b in zip(before, whole.model.parameters(), strict=True))
    first = trainer(name, tmp_path / "parts", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        first.fit(after_epoch=stopping)
    second = trainer(name, tmp_path / "parts", epochs=2)
    second.resume(tmp_path / "parts" / "last.pt")
    second.fit()
    for (key, a), b in zip(whole.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    network, state = checkpoint.load_any(tmp_path / "whole" / "last.pt")
    assert (network.family, state["family"], network.training) == (name, name, False)
    save_weights(network, tmp_path / "weights.safetensors", {})
    again = load_weights(tmp_path / "weights.safetensors")[0]
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))


def stopping(row: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_what_it_says_of_pictures_is_rows_and_the_judge_reads_them(name: str, tmp_path: Path) -> None:
    network = family(name)(family(name).sizes[0], LEUKEMIA_ATTRI).eval()
    with torch.no_grad():
        rows, maps = network.look(torch.rand(2, 3, 64, 96))
        told = network.describe(maps, torch.tensor([[1.0, 4, 4, 40, 40], [0, 2, 2, 60, 60]]))
    assert rows.shape[0] == 2 and rows.shape[2] == 5 + len(LEUKEMIA_ATTRI.classes)
    assert ((rows[..., 4:] >= 0) & (rows[..., 4:] <= 1)).all() and (rows[..., 2:4] >= 0).all()
    assert told.shape == (2, LEUKEMIA_ATTRI.n_logits) and torch.isfinite(told).all() == network.describes
    seen = judge_samples(network, discs(3, 64), 64, False)
    assert len(seen) == 3 and np.isfinite(seen[0].judged.scores).all()
    assert "fitness" in FolderJudge({"discs": discs(3, 64)}, 64)(network, 1)


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_a_picture_with_and_without_cells_and_a_region_to_ignore_has_a_loss_that_is_a_number(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path, family=name, size=family(name).sizes[0], imgsz=64, batch=4, workers=0, amp=False)
    samples = discs(4, 64, unlabelled=2)
    ignored = np.array([[4, 4, 60, 60]], np.float32)
    begun = Trainer(run, [samples[0], replace(samples[1], ignored=ignored), *samples[2:]])
    (batch,) = begun._loader()
    total, parts = begun.joint_loss(batch)
    assert torch.isfinite(total) and all(torch.isfinite(part) for part in parts.values())
    total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in begun.model.parameters())


def test_weights_of_another_family_and_sizes_that_are_not_there_are_told(tmp_path: Path) -> None:
    save_weights(family("fcos")("r18", LEUKEMIA_ATTRI), tmp_path / "fcos.safetensors", {})
    run = Run(tmp_path, imgsz=64, batch=4, workers=0, initial=tmp_path / "fcos.safetensors")
    with pytest.raises(DataError, match=r"fcos\.safetensors: is of the family fcos"):
        Trainer(run, discs(4, 64))
    with pytest.raises(DataError, match="there are attridet"):
        family("yolo")
    with pytest.raises(DataError, match=r"this needs an AttriDet"):
        checkpoint.load_attridet(tmp_path / "fcos.safetensors")
    with pytest.raises(DataError, match=r"--size n: there are r18, r50 of fcos"):
        train(TrainRequest(data=(str(write_discs(tmp_path / "data")),), out=tmp_path / "run", family="fcos", size="n"))


def test_what_fcos_tells_of_a_folder_has_no_attributes_and_no_zero_in_their_place(tmp_path: Path) -> None:
    trainer("fcos", tmp_path).fit()
    with open_checkpoint(tmp_path / "last.pt", 64, confidence=0.01) as engine:
        assert not engine.describes and engine.thresholds.iou == family("fcos").iou
        found = engine.infer(discs(1, 64)[0].image).detections
    assert np.isnan(found.attributes).all() and found.non_finite == 0


def test_weights_of_types_that_a_family_does_not_know_are_said_not_to_count(tmp_path: Path) -> None:
    class Heard(Reporter):
        words: list[str] = []  # noqa: RUF012  # one test

        def warning(self, text: str) -> None:
            self.words.append(text)

    folder = str(write_discs(tmp_path / "data"))
    request = TrainRequest(
        data=(folder,),
        out=tmp_path / "run",
        family="fcos",
        class_weights=True,
        imgsz=64,
        batch=4,
        epochs=1,
        judge=False,
        pictures=False,
    )
    train(request, Heard())
    assert any("types are not weighed: the losses of fcos" in text for text in Heard.words)
