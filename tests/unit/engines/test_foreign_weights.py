"""Somebody else's weights: files really made by torch.save, read without the classes they name; what is taken and what is told."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import COCO_NAMES, save, save_checkpoint, save_v5
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from engines.network import VARIANTS, AttributeHead, AttriDet, Taps, YOLOv5
from engines.network.foreign import ForeignWeightsError, TorchFile, Transfer, import_weights
from engines.network.foreign.account import Assignment
from engines.network.foreign.archive import Storage, StoredTensor
from engines.network.foreign.layout import V6, classes_of, layout_of, size_of
from engines.network.foreign.modules import Network, find_network
from engines.network.foreign.transfer import _take_attributes
from engines.taxonomy import LEUKEMIA_ATTRI

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(size: str = "n", classes: int = 80, seed: int = 3) -> YOLOv5:
    """A network whose every number differs from a fresh one's, statistics too; anchors of its own."""
    torch.manual_seed(seed)
    anchors = [[(12, 12), (20, 26), (40, 40)], [(50, 60), (70, 70), (80, 90)], [(100, 120), (150, 160), (200, 240)]]
    model = YOLOv5(size, classes, anchors)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point() and value.shape != (3, 3, 2):
                value.add_(torch.rand_like(value) * 0.1)
    return model


def outcomes(transfer: Transfer) -> dict[str, str]:
    return {entry.key: entry.outcome for entry in transfer.entries}


def assert_holds(model: AttriDet, network: YOLOv5, half: bool = True) -> None:
    """Everything but the detection level's rows is the file's."""
    own = model.state_dict()
    for key, value in network.state_dict().items():
        if not key.startswith("model.24.m."):
            torch.testing.assert_close(own[key], (value.half().to(value.dtype) if half else value), rtol=0, atol=0, msg=key)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "older form"])
def test_a_checkpoint_of_coco_gives_everything_but_its_classes(tmp_path: Path, legacy: bool) -> None:
    network = trained()
    model, transfer = import_weights(save_checkpoint(tmp_path / "yolov5n.pt", network, legacy=legacy), seed=5)
    assert (transfer.layout, transfer.size, transfer.where, transfer.classes) == ("YOLOv5 v6.0 to v7.0", "n", "ema", 80)
    assert transfer.class_names == tuple(COCO_NAMES)
    assert "models" not in sys.modules
    assert_holds(model, network)
    detector = {k: v for k, v in outcomes(transfer).items() if not k.startswith("attribute_head.")}
    part = {k for k, v in detector.items() if v == "part"}
    assert part == {f"model.24.m.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")}
    assert {v for k, v in detector.items() if k not in part} == {"taken"}
    assert len(detector) == 349 and not transfer.left_out and not transfer.classes_taken
    torch.manual_seed(5)
    fresh = AttriDet("n").state_dict()
    for key in part:
        got, theirs, start = (s[key].view(3, -1, *s[key].shape[1:]) for s in (model.state_dict(), network.half().state_dict(), fresh))
        assert torch.equal(got[:, :5], theirs[:, :5].float()), key
        assert torch.equal(got[:, 5:], start[:, 5:]), key
    assert transfer.anchors_px[2] == ((100.0, 120.0), (150.0, 160.0), (200.0, 240.0))
    assert transfer.anchors_taken and not transfer.unusual and not transfer.warnings
    assert {"models.yolo.DetectionModel", "models.common.Conv"} <= set(transfer.replaced)
    assert {v for k, v in outcomes(transfer).items() if k.startswith("attribute_head.")} == {"start"}
    assert len(transfer.attributes_at_start) == 7 and not transfer.attributes_taken


def test_the_start_of_the_rest_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "yolov5n.pt", trained())
    before = torch.random.get_rng_state()
    first, second, other = (import_weights(path, seed=seed)[0].state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(v, second[k]) for k, v in first.items())
    assert not torch.equal(first["attribute_head.conv1.weight"], other["attribute_head.conv1.weight"])


@pytest.mark.parametrize("size", VARIANTS)
@pytest.mark.parametrize("classes", [80, 14])
def test_sizes_and_classes_are_told_from_shapes(size: str, classes: int) -> None:
    with torch.device("meta"):
        state = YOLOv5(size, classes).state_dict()
    tensors = {k: StoredTensor(Storage(k, v.dtype, v.numel()), 0, tuple(v.shape), v.stride()) for k, v in state.items()}
    network = Network("", tensors)
    layout = layout_of(network, "x.pt")
    assert (layout, size_of(network, layout, "x.pt"), classes_of(tensors)) == (V6, size, classes)


@pytest.mark.parametrize("form", ["state dict", "in a dictionary", "of several GPUs", "module alone"])
def test_other_ways_to_keep_a_network(tmp_path: Path, form: str) -> None:
    network, path = trained(classes=14), tmp_path / "weights.pt"
    state = network.state_dict()
    if form == "module alone":
        from published import published_names, shell, whole

        with published_names() as classes:
            save(path, whole([shell(layer, classes) for layer in network.model], classes, ["a"] * 14, 14))
    else:
        wrapped = {f"module.{k}": v for k, v in state.items()}
        save(path, {"state dict": state, "in a dictionary": {"model": state, "lr": 0.1}, "of several GPUs": {"model": wrapped}}[form])
    model, transfer = import_weights(path)
    assert transfer.where == ("model" if form in ("in a dictionary", "of several GPUs") else "")
    assert_holds(model, network, half=False)


def test_classes_are_taken_by_name(tmp_path: Path) -> None:
    """AttriDet's own 14 in another order and spelling, and a class of five that we have."""
    names = [name.upper().replace(" ", "_") for name in reversed(LEUKEMIA_ATTRI.classes)]
    names[-1] = "artifact"
    network = trained(classes=14)
    model, transfer = import_weights(save_checkpoint(tmp_path / "detector.pt", network, dict(enumerate(names)), half=False))
    assert transfer.classes_taken == LEUKEMIA_ATTRI.classes and not transfer.classes_at_start
    assert outcomes(transfer)["model.24.m.1.weight"] == "taken"
    got, theirs = (m.state_dict()["model.24.m.1.bias"].view(3, 19) for m in (model, network))
    assert torch.equal(got[:, :5], theirs[:, :5])
    assert torch.equal(got[:, 5:], theirs[:, 5:].flip(1))

    network = trained(classes=5)
    model, transfer = import_weights(
        save_checkpoint(tmp_path / "five.pt", network, ["cat", "Basophil", "dog", "cow", "eosinophil"], half=False)
    )
    assert transfer.classes_taken == ("Eosinophil", "Basophil") and len(transfer.classes_at_start) == 12
    got, theirs = (m.state_dict()["model.24.m.2.bias"].view(3, -1) for m in (model, network))
    assert torch.equal(got[:, 5 + 12], theirs[:, 5 + 4]) and torch.equal(got[:, 5 + 13], theirs[:, 5 + 1])
    assert {e.note for e in transfer.entries if e.outcome == "part"} == {"box and objectness rows taken, and 2 of 14 classes by name"}


@pytest.mark.parametrize(("names", "taken"), [([str(i) for i in range(14)], 14), ([f"beast {c}" for c in "abcdefghijklmn"], 0)])
def test_fourteen_classes_without_names_are_ours_and_others_are_not(tmp_path: Path, names: list[str], taken: int) -> None:
    _, transfer = import_weights(save_checkpoint(tmp_path / "detector.pt", trained(classes=14), names))
    assert len(transfer.classes_taken) == taken


def test_v5_is_converted_as_far_as_it_goes(tmp_path: Path) -> None:
    network = trained("s")
    path = save_v5(tmp_path / "yolov5s.pt", network)
    with TorchFile(path) as file:
        tensors = find_network(file).tensors
        theirs = {k: file.numbers(v) for k, v in tensors.items()}
    model, transfer = import_weights(path)
    own = model.state_dict()
    assert transfer.layout == "YOLOv5 v5.0" and "does not detect as it is" in transfer.warnings[0]
    assert {item.key.rpartition(".m.")[0] for item in transfer.left_out} == {"model.4"}
    assert all(item.key.startswith("model.4.m.2.") for item in transfer.left_out)
    assert torch.equal(own["model.9.cv2.conv.weight"], theirs["model.8.cv2.conv.weight"])
    assert torch.equal(own["model.8.m.0.cv2.conv.weight"], theirs["model.9.m.0.cv2.conv.weight"])
    assert torch.equal(own["model.0.bn.running_mean"], theirs["model.0.conv.bn.running_mean"])
    # Focus stacks even and odd rows and columns; the convolution made of it gives the same.
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    stacked = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
    expected = functional.conv2d(stacked, theirs["model.0.conv.conv.weight"].double(), padding=1)
    got = functional.conv2d(x, own["model.0.conv.weight"].double(), stride=2, padding=2)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def attribute_cnn(channels: int, logits: int = 12, seed: int = 9) -> AttributeHead:
    torch.manual_seed(seed)
    head = AttributeHead(channels, (2,) * (logits // 2))
    with torch.no_grad():
        for value in head.state_dict().values():
            value.add_(torch.rand_like(value))
    return head


def test_a_pair_gives_six_attributes_and_says_that_cell_size_is_not_covered(tmp_path: Path) -> None:
    cnn = attribute_cnn(96)
    save(tmp_path / "last_weights.pth", cnn.state_dict())
    detector = save_checkpoint(tmp_path / "last.pt", trained(classes=14), list(LEUKEMIA_ATTRI.classes))
    model, transfer = import_weights(detector, tmp_path / "last_weights.pth", seed=4)
    assert transfer.attributes_taken == LEUKEMIA_ATTRI.attribute_cnn and transfer.attributes_at_start == ("cell_size",)
    told = outcomes(transfer)
    assert told["attribute_head.fc3.weight"] == told["attribute_head.fc3.bias"] == "part"
    assert {v for k, v in told.items() if ".fc3." not in k} == {"taken"}
    torch.manual_seed(4)
    start = AttriDet("n").attribute_head.fc3.weight
    assert torch.equal(model.attribute_head.fc3.weight[:3], start[:3])
    pooled = torch.rand(5, 96, 24, 30)
    with torch.no_grad():
        got = model.attribute_probabilities(model.attribute_head(pooled))
        expected = cnn.eval()(pooled).view(5, 6, 2).softmax(-1)
    torch.testing.assert_close(got[:, 3:].view(5, 6, 2), expected, rtol=0, atol=1e-6)


def test_a_cnn_of_another_size_of_detector_tells_nothing(tmp_path: Path) -> None:
    save(tmp_path / "cnn.pth", attribute_cnn(480).state_dict())
    _, transfer = import_weights(save_checkpoint(tmp_path / "n.pt", trained()), tmp_path / "cnn.pth")
    assert not transfer.attributes_taken
    assert "reads 480 channels and a detector of size n gives 96" in transfer.warnings[0]
    assert [(e.outcome, e.note) for e in transfer.entries if e.key == "attribute_head.conv1.weight"] == [
        ("start", "has the shape 128x480x3x3 there, needed is 128x96x3x3")
    ]
    assert [item.key for item in transfer.left_out] == ["conv1.weight"]


class Focus(nn.Module):
    """A module that is no network."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "optimizer": {"lr": 1.0}}, "holds no network, but a dictionary with epoch, optimizer"),
        ([1, 2], "holds no network, but a list"),
        (Focus(), "holds no network, but an object of"),
        ({"model.0.weight": torch.zeros(3)}, "not a YOLOv5 (its first entries are 'model.0.weight')"),
        ({"model.0.conv.weight": torch.zeros(16, 3, 6, 6), "model.33.x": torch.zeros(1)}, "has 34 layers"),
        ({"model.0.conv.weight": torch.zeros(16, 3, 6, 6), "model.24.x": torch.zeros(1)}, "folded into the convolutions"),
    ],
)
def test_what_is_no_yolov5_is_named(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "thing.pt"
    save(path, content)
    with pytest.raises(ForeignWeightsError, match=r"thing\.pt: ") as caught:
        import_weights(path)
    assert words in str(caught.value)


def state_without(network: YOLOv5, *, first: int = 25, width: int = 0, odd: float | None = None) -> dict[str, Tensor]:
    state = {k: v.clone() for k, v in network.state_dict().items() if int(k.split(".")[1]) < first or ".24." in k}
    if width:
        state["model.0.conv.weight"] = torch.zeros(width, 3, 6, 6)
    if odd is not None:
        state["model.3.conv.weight"][0, 0, 0, 0] = odd
    return state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"width": 24}, "24 channels in its first layer and 1 blocks"),
        ({"first": 3}, "entries of the backbone fit"),
        ({"odd": float("nan")}, "model.3.conv.weight holds numbers that are not finite"),
        ({"odd": float("inf")}, "not finite"),
    ],
)
def test_networks_that_cannot_be_taken(tmp_path: Path, state: dict[str, Any], words: str) -> None:
    save(tmp_path / "thing.pt", state_without(trained(), **state))
    with pytest.raises(ForeignWeightsError, match=r"thing\.pt: ") as caught:
        import_weights(tmp_path / "thing.pt")
    assert words in str(caught.value)


def test_another_head_keeps_ours_and_coco_anchors(tmp_path: Path) -> None:
    state = {k: v for k, v in trained().state_dict().items() if not k.startswith("model.24.")}
    save(tmp_path / "u.pt", {"model": {**state, "model.24.cv2.0.conv.weight": torch.zeros(3)}})
    model, transfer = import_weights(tmp_path / "u.pt")
    assert transfer.classes is None and not transfer.anchors_taken
    assert "ours starts at random, with COCO's anchors" in transfer.warnings[0]
    assert transfer.anchors_px[0][0] == (10.0, 13.0)
    assert [item.key for item in transfer.left_out] == ["model.24.cv2.0.conv.weight"]
    assert torch.isfinite(model.detect.m[0].weight).all()  # type: ignore[arg-type]  # a convolution


def test_a_network_with_other_activations_or_eps_is_remarked_on(tmp_path: Path) -> None:
    network = trained()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
        if hasattr(module, "act"):
            module.act = nn.LeakyReLU(0.1)
    _, transfer = import_weights(save_checkpoint(tmp_path / "old.pt", network))
    assert any("eps 1e-05, ours 0.001" in w for w in transfer.warnings)
    assert any("LeakyReLU, ours SiLU" in w for w in transfer.warnings)


@pytest.mark.shared
def test_the_references_weights_in_a_checkpoint_answer_as_the_reference(parity: Path, tmp_path: Path) -> None:
    folder = parity / "yolov5"
    spec = importlib.util.spec_from_file_location("weights_recipe", parity / "lib/weights_recipe.py")
    assert spec and spec.loader
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    meta, io = json.loads((folder / "yolov5n_nc14.json").read_text()), np.load(folder / "yolov5n_nc14_io.npz")
    network = YOLOv5("n", 14)
    weights = {k: torch.from_numpy(v) for k, v in recipe.make_state(meta["shapes"], meta["seed"]).items()}
    weights |= {k: torch.from_numpy(v) for k, v in np.load(folder / "yolov5n_nc14_bn_stats.npz").items()}
    weights["model.24.anchors"] = torch.from_numpy(io["anchors_buffer"])
    network.load_state_dict(weights)
    model, _ = import_weights(save_checkpoint(tmp_path / "n.pt", network, list(LEUKEMIA_ATTRI.classes), half=False))
    with torch.no_grad():
        rows, _ = model(torch.from_numpy(io["image"]))
    np.testing.assert_allclose(rows[..., :4].numpy(), io["pred"][..., :4], rtol=0, atol=2e-2)
    np.testing.assert_allclose(rows[..., 4:].numpy(), io["pred"][..., 4:], rtol=0, atol=1e-4)


@pytest.mark.shared
def test_the_published_cnn_tells_the_references_six_attributes(parity: Path, tmp_path: Path) -> None:
    """On the maps of size x; the detector is small, for only its head is used."""
    z = np.load(parity / "attridet/head.npz")
    save(tmp_path / "last_weights.pth", load_file(parity / "attridet/attribute_cnn_state.safetensors"))
    model = AttriDet("n")
    model.attribute_head = AttributeHead(480)
    taking = Assignment(model)
    with TorchFile(tmp_path / "last_weights.pth") as file:
        _take_attributes(taking, file, find_network(file))
        taking.read()
    assert taking.attributes == LEUKEMIA_ATTRI.attribute_cnn
    p2, p3, rois = (torch.from_numpy(z[f"square.{k}"]) for k in ("p2", "p3", "clean_rois_px"))
    with torch.no_grad():
        logits = model.eval().attribute_logits(Taps(p2, p3), rois.float())
    expected = torch.from_numpy(z["square.clean_logits"]).reshape(len(logits), 12)
    torch.testing.assert_close(logits[:, 3:], expected, rtol=0, atol=1e-4)
