"""`attridet import-weights` as a person meets it: the account in print and as JSON, the weights as a start of training, errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from published import save, save_checkpoint

from engines.cli import main
from engines.families import FAMILIES, family
from engines.families.fcos.fcos import FCOS
from engines.network import AttributeHead, AttriDet, YOLOv5, copy_fitting
from engines.network.checkpoint import load_any
from engines.network.foreign import import_resnet
from engines.network.weights import load_weights
from engines.taxonomy import LEUKEMIA_ATTRI

pytestmark = pytest.mark.usefixtures("one_thread")


def attridet(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of one call."""
    monkeypatch.setattr(sys, "argv", ["attridet", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    return save_checkpoint(tmp_path / "yolov5n.pt", YOLOv5("n", 80))


def test_the_account_is_printed_and_written_and_training_starts_from_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    out, account = tmp_path / "start.safetensors", tmp_path / "account.json"
    assert attridet(monkeypatch, "import-weights", coco, "--out", out, "--json", account) == 0
    printed = capsys.readouterr().out
    for words in (
        "yolov5n.pt: YOLOv5 v6.0 to v7.0, size n",
        "model.0 to 23",
        "box and objectness rows taken, no class: there are 80 others",
        "no attribute CNN was given",
        "Not covered, at random: Cell Size, Nuclear Chromatin",
        "Anchors, px (its own): 10x13 16x30 33x23",
        "AGPL-3.0",
        f"written: {out}",
    ):
        assert words in printed
    told = json.loads(account.read_text())
    assert told["counts"] == {"taken": 343, "part": 6, "start": 12}
    assert len(told["entries"]) == 361 and told["left_out"] == []
    assert len(told["files"]["yolov5n.pt"]) == 64
    model, record = load_weights(out)
    assert record["imported"]["size"] == "n" and record["imported"]["attributes_at_start"] == [a.key for a in LEUKEMIA_ATTRI.attributes]
    fresh = AttriDet("n")
    assert copy_fitting(fresh, load_any(out)[0]) == []
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in fresh.state_dict().items())


def test_a_taxonomy_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, tmp_path: Path
) -> None:
    own, out = tmp_path / "own.yaml", tmp_path / "start.safetensors"
    own.write_text("classes: [None, Plasma cell]\nattributes: [{key: auer_rods, name: Auer Rods, values: [absent, present]}]\n")
    assert attridet(monkeypatch, "import-weights", coco, "--out", out, "--taxonomy", own) == 0
    assert "Not covered, at random: Auer Rods." in capsys.readouterr().out
    assert load_weights(out)[0].taxonomy.classes == ("None", "Plasma cell")


def test_a_pair_without_what_it_does_not_cover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.manual_seed(2)
    detector = save_checkpoint(tmp_path / "last.pt", YOLOv5("n", 14), list(LEUKEMIA_ATTRI.classes))
    cnn = AttributeHead(96, (2,) * 6)
    save(tmp_path / "last_weights.pth", cnn.state_dict())
    out = tmp_path / "pair.safetensors"
    arguments = ("import-weights", detector, tmp_path / "last_weights.pth", "--out", out)
    assert attridet(monkeypatch, *arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Classes: all of ours taken." in printed
    assert "Not covered, at random: Cell Size." in printed
    assert "rows of 6 attributes taken, not of Cell Size" in printed
    assert len(load_weights(out)[0].taxonomy.attributes) == 7
    assert attridet(monkeypatch, *arguments, "--covered-only", "--replace") == 0
    assert "at random: none. Not covered, so the network has no Cell Size." in " ".join(capsys.readouterr().out.split())
    model, _ = load_weights(out)
    assert [a.key for a in model.taxonomy.attributes] == [a.key for a in LEUKEMIA_ATTRI.attributes[1:]]
    assert torch.equal(model.attribute_head.fc3.bias, cnn.fc3.bias)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.pt", "--out", "x.safetensors"), "absent.pt: no such file"),
        (("yolov5n.pt", "--out", "x.pt"), "--out x.pt: our weights are .safetensors"),
        (("yolov5n.pt", "--out", "nowhere/x.safetensors"), "its folder does not exist"),
        (("yolov5n.pt", "--out", "x.safetensors", "--json", "nowhere/a.json"), "nowhere/a.json: its folder does not exist"),
        (("yolov5n.pt", "--out", "there.safetensors"), "there.safetensors: is there already"),
        (("yolov5n.pt", "--out", "x.safetensors", "--covered-only"), "--covered-only: no attribute CNN was given"),
        (("yolov5n.pt", "yolov5n.pt", "--out", "x.safetensors"), "yolov5n.pt: not an attribute CNN"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(coco.parent)
    Path("there.safetensors").write_bytes(b"")
    assert attridet(monkeypatch, "import-weights", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("attridet: ") and words in said and len(said.strip().splitlines()) == 1
    assert not Path("x.safetensors").exists()


def torchvisions(path: Path, size: str, prefix: str = "", new: bool = True) -> Path:
    """A file as torchvision writes it: a classifier, or with a prefix its FCOS; new: names of the pyramid since 0.13."""
    torch.manual_seed(2)
    network = FCOS(size)
    state = {}
    for key, value in network.state_dict().items():
        part, _, name = key.partition(".")
        if part == "backbone" and name != "frozen":
            state[prefix + name] = torch.randn_like(value) if value.is_floating_point() else value
        elif prefix and part == "pyramid":
            state["backbone.fpn." + (name if new else name.replace(".0.", ".", 1) if "blocks.p" not in name else name)] = value + 1
        elif prefix and part == "head":
            state[key] = torch.zeros(91, *value.shape[1:]) if "cls_logits" in key else value + 1
    torch.save(state if prefix else {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
    return path


def test_a_resnet_of_torchvision_is_the_start_of_a_detector_and_frozen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source, out = torchvisions(tmp_path / "resnet18.pth", "r18"), tmp_path / "start.safetensors"
    assert attridet(monkeypatch, "import-weights", source, "--family", "fcos", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "torchvision's ResNet, size r18" in printed and "BSD-3-Clause" in printed and "Anchors" not in printed
    network = load_weights(out)[0]
    assert isinstance(network, FCOS) and network.size == "r18"
    theirs = torch.load(source)
    for key, value in network.backbone.state_dict().items():
        assert key == "frozen" or torch.equal(value, theirs[key]), key
    network.train()
    assert not network.backbone.bn1.weight.requires_grad and network.backbone.get_submodule("layer2.0.conv1").weight.requires_grad
    begun = FCOS("r18")
    begun.take(network)
    begun.train()
    assert torch.equal(begun.backbone.conv1.weight, theirs["conv1.weight"]) and not begun.backbone.conv1.weight.requires_grad


@pytest.mark.parametrize("name", [name for name in FAMILIES if family(name).sizes == ("r18", "r50")])
def test_every_family_with_a_resnet_begins_with_it(name: str, tmp_path: Path) -> None:
    source = torchvisions(tmp_path / "resnet18.pth", "r18")
    network, transfer = import_resnet(source, name)
    weight = torch.load(source)["layer4.1.conv2.weight"]
    assert (network.family, transfer.layout) == (name, "torchvision's ResNet")
    assert any(torch.equal(value, weight) for key, value in network.state_dict().items() if key.endswith("layer4.1.conv2.weight"))
    begun = family(name).begun("r18", LEUKEMIA_ATTRI)
    begun.take(network)
    begun.train()
    frozen = [key for key, value in begun.named_parameters() if not value.requires_grad]
    assert any(key.endswith("layer4.0.bn1.weight") for key in frozen) and not any("layer4.0.conv1" in key for key in frozen)


@pytest.mark.parametrize("new", [True, False])
def test_torchvisions_fcos_is_taken_but_for_its_types(new: bool, tmp_path: Path) -> None:
    source = torchvisions(tmp_path / "fcos.pth", "r18", "backbone.body.", new)
    network, transfer = import_resnet(source, "fcos")
    theirs = torch.load(source)
    assert transfer.layout == "torchvision's FCOS"
    assert {e.key for e in transfer.entries if e.outcome == "start"} == {
        f"head.classification_head.cls_logits.{name}" for name in ("weight", "bias")
    }
    state = network.state_dict()
    assert torch.equal(state["head.regression_head.bbox_reg.weight"], theirs["head.regression_head.bbox_reg.weight"])
    name = "backbone.fpn.layer_blocks.2.0.bias" if new else "backbone.fpn.layer_blocks.2.bias"
    assert torch.equal(state["pyramid.layer_blocks.2.0.bias"], theirs[name])
    assert torch.equal(state["backbone.layer3.0.conv1.weight"], theirs["backbone.body.layer3.0.conv1.weight"])


def test_what_is_no_resnet_of_ours_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], coco: Path, tmp_path: Path
) -> None:
    resnet, out = torchvisions(tmp_path / "resnet18.pth", "r18"), tmp_path / "o.safetensors"
    state = torch.load(resnet)
    torch.save({**state, "layer3.2.conv1.weight": torch.zeros(1)}, tmp_path / "more.pth")
    torch.save({k: v for k, v in state.items() if k != "layer4.1.bn2.bias"}, tmp_path / "less.pth")
    torch.save({**state, "bn1.weight": torch.full((64,), torch.nan)}, tmp_path / "nan.pth")
    for arguments, words in (
        ((resnet, "--out", out), "a ResNet, not a YOLOv5. Name the detectors' family"),
        ((coco, "--family", "fcos", "--out", out), "not a ResNet of torchvision"),
        ((tmp_path / "more.pth", "--family", "fcos", "--out", out), "2-2-3-2 blocks"),
        ((tmp_path / "less.pth", "--family", "fcos", "--out", out), "backbone.layer4.1.bn2.bias"),
        ((tmp_path / "nan.pth", "--family", "fcos", "--out", out), "not finite"),
        ((resnet, coco, "--family", "fcos", "--out", out), "fcos tells no attributes"),
        ((resnet, "--family", "resnet", "--out", out), "there are attridet, "),
    ):
        assert attridet(monkeypatch, "import-weights", *arguments) == 2, arguments
        said = capsys.readouterr().err
        assert words in said and len(said.strip().splitlines()) == 1, said
    assert not out.exists()
