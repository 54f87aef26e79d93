"""The adapting step on a few drawn cells: it looks at the target, resumes to the identical next step, and exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.adapt.trainer import Adaptation, AdaptTrainer, Method, NotTaughtError, PairedBatch, collate_pairs, truths
from engines.data.augment import Sample
from engines.errors import DataError
from engines.export.bundle import export_bundle
from engines.families.hyper import FILM
from engines.manifest import Card
from engines.network import AttriDet, checkpoint, copy_fitting, without_variances
from engines.network.weights import load_weights, save_weights
from engines.provenance import Training
from engines.training import record
from engines.training.loop import Progress, Run
from engines.training.run import epoch_line

pytestmark = pytest.mark.usefixtures("one_thread")


def fields(count: int, seed: int, ground: int) -> list[Sample]:
    """Pictures of two discs; those of the target have another ground."""
    rng, samples = np.random.default_rng(seed), []
    for _ in range(count):
        image = np.full((96, 96, 3), ground, np.uint8)
        boxes = []
        for x in (26, 70):
            y, r = int(rng.integers(24, 72)), int(rng.integers(10, 18))
            cv2.circle(image, (x, y), r, (90, 30, 60), -1)
            boxes.append([x - r, y - r, x + r, y + r])
        samples.append(Sample(image, np.array(boxes, np.float32), np.array([[3, -1, 1, 0, -1, -1, -1, -1]] * 2, np.int64)))
    return samples


def run(folder: Path, epochs: int = 2) -> Run:
    calm = replace(FILM, patchwork=0.0, mosaic=0.0, crop=0.0, blur=0.0, warmup_epochs=0.0, ema_tau=4.0)
    return Run(folder=folder, imgsz=96, epochs=epochs, batch=4, workers=0, amp=False, hyper=calm)


@pytest.fixture(scope="module")
def start(model: AttriDet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network without variances that finds something sure in any picture."""
    path = tmp_path_factory.mktemp("start") / "lively.safetensors"
    save_weights(model, path, {})
    return path


@pytest.mark.parametrize("adaptation", [Adaptation.published("confmix"), Adaptation("confmix"), Adaptation.published("daca")], ids=str)
def test_the_target_is_learnt_from(adaptation: Adaptation, start: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    trainer = AdaptTrainer(replace(run(tmp_path, 3), initial=start), adaptation, fields(8, 1, 215), fields(8, 2, 180))
    trainer.fit(seen.append)
    assert max(p.losses["gamma"] for p in seen) > 0
    assert any(p.losses["target"] != 0 for p in seen)
    assert all(np.isfinite(list(p.losses.values())).all() for p in seen)
    model, state = checkpoint.load_network(tmp_path / "last.pt")
    assert model.detect.variances and state["variances"]


@pytest.mark.parametrize("method", ["confmix", "daca"])
def test_quarters_with_something_unsure_are_left_out(method: str, start: Path, tmp_path: Path) -> None:
    """The lively network holds something for a cell all over a picture: strict, most have a quarter to learn from, or hardly one."""
    made = []
    for unsure in (None, 0.02):
        adaptation = Adaptation(method, confidence=0.9, unsure=unsure)  # type: ignore[arg-type]  # by name
        settings = replace(run(tmp_path / f"{unsure}", 1), initial=start)
        trainer = AdaptTrainer(settings, adaptation, fields(8, 1, 215), fields(8, 2, 180))
        batch = collate_pairs([trainer.data[i] for i in range(8)])
        believed = trainer._believed(batch.target)
        mixed = trainer._mixed(batch, believed) if method == "confmix" else trainer._composed(batch, believed)
        made.append(0 if mixed is None else len(mixed.images))
    assert made[0] >= 4 and made[1] <= made[0] - 3


@pytest.mark.parametrize("method", ["confmix", "daca"])
def test_a_target_in_which_nothing_is_believed_ends_the_run_as_a_failure(method: Method, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(AttriDet("n"), tmp_path / "weak.safetensors", {})
    rows: list[Mapping[str, float]] = []
    settings = replace(run(tmp_path, 2), initial=tmp_path / "weak.safetensors")
    trainer = AdaptTrainer(settings, Adaptation(method), fields(8, 1, 215), fields(6, 2, 180))
    with pytest.raises(
        NotTaughtError, match=r"no box of 6 target pictures passed 0\.7: .* from the source alone.*last\.pt is kept"
    ) as told:
        trainer.fit(after_epoch=rows.append)
    assert told.value.exit_code == 1 and (tmp_path / "last.pt").exists() and len(rows) == 2
    assert [row["pseudo_labels"] for row in record.read(tmp_path)] == [row["target_steps"] for row in rows] == [0, 0]
    assert "pseudo_labels 0  target_steps 0" in epoch_line(rows[0], 2, False)


def test_pseudo_labels_are_counted_in_each_epoch(start: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    strict = Adaptation("confmix", confidence=0.3)
    trainer = AdaptTrainer(replace(run(tmp_path, 1), initial=start), strict, fields(8, 1, 215), fields(8, 2, 180))
    trainer.fit(seen.append)
    counts = [p.losses["pseudo_labels"] for p in seen]
    assert len(seen) == 2 and 0 < counts[0] < counts[1] == trainer.history[0]["pseudo_labels"]
    assert [p.losses["target_steps"] for p in seen] == [1, 2]
    assert trainer.best == -sum(v for n, v in trainer.history[0].items() if n in ("box", "obj", "cls", "attr", "target", "gamma"))


def test_regions_to_ignore_of_the_source_are_mixed_and_those_of_the_target_are_not(start: Path, tmp_path: Path) -> None:
    region = np.array([[30, 30, 60, 60]], np.float32)
    source, target = ([replace(s, ignored=region) for s in fields(8, seed, 215)] for seed in (1, 2))
    trainer = AdaptTrainer(replace(run(tmp_path, 1), initial=start), Adaptation("confmix", recolour=0.0), source, target)
    batch = collate_pairs([trainer.data[i] for i in range(4)])
    assert batch.ignored[:, 0].tolist() == [0, 1, 2, 3]
    mixed = trainer._mixed(batch, trainer._believed(batch.target))
    assert mixed is not None and mixed.ignored is not None and len(mixed.images) == 4
    before, after = (
        torch.zeros(4).index_add(0, some[:, 0].long(), (some[:, 3:] - some[:, 1:3]).prod(1)) for some in (batch.ignored, mixed.ignored)
    )
    assert (after > 0).all() and (after < before).all(), "a quarter of each picture, and what of the region lies there, is the target's"


def test_source_only_never_reads_the_target(start: Path, tmp_path: Path) -> None:
    class Untouchable(list[Sample]):
        def __iter__(self) -> Iterator[Sample]:
            raise AssertionError("the target was looked at")

    trainer = AdaptTrainer(
        replace(run(tmp_path, 1), initial=start), Adaptation("source-only", recolour=0.0), fields(4, 1, 215), Untouchable()
    )
    trainer.fit()


def test_labels_of_the_target_change_nothing(start: Path, tmp_path: Path) -> None:
    """Adaptation is unsupervised: with the target's boxes or without, the result is the same to the bit."""
    unlabelled = [Sample(s.image, s.boxes[:0], s.labels[:0]) for s in fields(8, 2, 180)]
    results = []
    for name, target in (("with", fields(8, 2, 180)), ("without", unlabelled)):
        trainer = AdaptTrainer(replace(run(tmp_path / name, 1), initial=start), Adaptation("confmix"), fields(8, 1, 215), target)
        trainer.fit()
        results.append(trainer.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(results[0].values(), results[1].values(), strict=True))


@pytest.mark.parametrize("method", ["confmix", "daca"])
def test_a_resumed_adaptation_makes_the_identical_next_step(method: str, start: Path, tmp_path: Path) -> None:
    def trainer(folder: str) -> AdaptTrainer:
        settings = replace(run(tmp_path / folder), initial=start)
        return AdaptTrainer(settings, Adaptation(method), fields(8, 1, 215), fields(6, 2, 180))  # type: ignore[arg-type]  # by name

    whole = trainer("whole")
    whole.fit()

    class StoppedError(Exception):
        pass

    def after_one_epoch(now: Progress) -> None:
        if now.epoch == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        trainer("stopped").fit(after_one_epoch)
    resumed = trainer("stopped")
    resumed.resume(tmp_path / "stopped" / "last.pt")
    resumed.fit()
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_an_adaptation_does_not_go_on_as_another(start: Path, tmp_path: Path) -> None:
    settings = replace(run(tmp_path, 1), initial=start)
    AdaptTrainer(settings, Adaptation("confmix"), fields(8, 1, 215), fields(6, 2, 180)).save(tmp_path / "last.pt")
    other = AdaptTrainer(settings, Adaptation("confmix", unsure=0.1), fields(8, 1, 215), fields(6, 2, 180))
    with pytest.raises(DataError, match=r"trained with unsure = None, now it is 0\.1"):
        other.resume(tmp_path / "last.pt")


def test_start_weights_fit_with_and_without_variances(start: Path) -> None:
    plain = load_weights(start)[0]
    uncertain = AttriDet("n", variances=True)
    assert copy_fitting(uncertain, checkpoint.load_any(start)[0]) == []
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, _ = plain.forward_levels(image)
        after, _ = uncertain.eval().forward_levels(image)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b[..., : a.shape[-1]])


def test_a_network_with_variances_is_exported_as_it_is(start: Path, tmp_path: Path, model: AttriDet) -> None:
    """`export_bundle` itself refuses graphs that differ from torch; here that the network behind is really the one with variances."""
    uncertain = AttriDet("n", variances=True)
    copy_fitting(uncertain, checkpoint.load_any(start)[0])
    with torch.no_grad():
        for layer in uncertain.detect.m:
            assert isinstance(layer, torch.nn.Conv2d) and layer.bias is not None
            layer.bias.view(3, -1)[:, -4:] += torch.tensor([-2.0, 0.0, 1.0, 2.0])
    uncertain.eval()
    save_weights(uncertain, tmp_path / "uncertain.safetensors", {})
    again = load_weights(tmp_path / "uncertain.safetensors")[0]
    assert again.detect.variances
    card = Card(name="attridet-test", version="0.0.1", licence="Apache-2.0", training=Training(data=(), seed=0, command=""))
    pictures = [s.image for s in fields(2, 5, 200)]
    bundle = export_bundle(again, tmp_path / "bundle", card, (128, 128), pictures)
    assert bundle.detector_path.is_file()
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64)
        sure, unsure = (m.decode(m.forward_levels(image)[0])[..., 4] for m in (model, uncertain))
        plain = without_variances(uncertain)
        assert torch.equal(plain.decode(plain.forward_levels(image)[0])[..., 4], sure)
    assert (unsure < sure).all() and (unsure > 0).all()
    assert not plain.detect.variances


def test_truths_are_the_labels_in_pixels() -> None:
    targets = torch.tensor([[0, 3, 0.5, 0.5, 0.25, 0.5], [1, 7, 0.25, 0.75, 0.5, 0.25]])
    batch = PairedBatch(
        torch.zeros(2, 3, 64, 128), targets, torch.zeros(2, 7, dtype=torch.int64), torch.zeros(0, 5), torch.zeros(2, 3, 64, 128)
    )
    first, second = truths(batch)
    assert np.allclose(first.boxes, [[48, 16, 80, 48]]) and first.classes.tolist() == [3]
    assert np.allclose(second.boxes, [[0, 40, 64, 56]]) and second.scores.tolist() == [1.0]
