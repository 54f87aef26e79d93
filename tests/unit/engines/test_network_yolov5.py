"""YOLOv5 against the reference's numbers, and what its docstring promises."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines.families.attridet.layers import fuse_conv_bn
from engines.families.attridet.yolov5 import Detect, Prediction
from engines.network import ANCHORS_PX, VARIANTS, AttriDet, YOLOv5

PARAMETERS = {
    80: {"n": 1_872_157, "s": 7_235_389, "m": 21_190_557, "l": 46_563_709, "x": 86_749_405},
    14: {"n": 1_782_859, "s": 7_057_387, "m": 20_923_851, "l": 46_208_299, "x": 86_305_291},
}
ENTRIES = {"n": 349, "s": 349, "m": 481, "l": 613, "x": 745}
TAPS = {"n": (32, 64), "s": (64, 128), "m": (96, 192), "l": (128, 256), "x": (160, 320)}


class Reference:
    """One size's fixture: our model with the reference's weights, and what the reference answered."""

    def __init__(self, folder: Path, size: str) -> None:
        spec = importlib.util.spec_from_file_location("weights_recipe", folder / "lib/weights_recipe.py")
        assert spec and spec.loader
        recipe = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(recipe)
        stem = folder / "yolov5" / f"yolov5{size}_nc14"
        self.meta: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text())
        self.io = dict(np.load(f"{stem}_io.npz"))
        self.weights = {k: torch.from_numpy(v) for k, v in recipe.make_state(self.meta["shapes"], self.meta["seed"]).items()}
        self.weights |= {k: torch.from_numpy(v) for k, v in np.load(f"{stem}_bn_stats.npz").items()}
        self.weights["model.24.anchors"] = torch.from_numpy(self.io["anchors_buffer"])
        self.image = torch.from_numpy(self.io["image"])
        self.size = size

    def model(self) -> YOLOv5:
        model = YOLOv5(self.size, classes=14)
        model.load_state_dict(self.weights)
        return model

    def assert_close(self, got: Tensor, name: str, atol: float) -> None:
        np.testing.assert_allclose(got.detach().numpy(), self.io[name], rtol=0, atol=atol, err_msg=name)

    def assert_rows_close(self, rows: Tensor, name: str) -> None:
        expected = self.io[name]
        np.testing.assert_allclose(rows[..., :4].numpy(), expected[..., :4], rtol=0, atol=2e-2, err_msg=f"{name}: boxes in px")
        np.testing.assert_allclose(rows[..., 4:].numpy(), expected[..., 4:], rtol=0, atol=1e-4, err_msg=f"{name}: probabilities")


@pytest.fixture(scope="module", params=["n", "s"])
def reference(parity: Path, request: pytest.FixtureRequest) -> Reference:
    return Reference(parity, request.param)


@pytest.mark.shared
class TestParity:
    def test_names_shapes_and_order_of_the_state_dict(self, reference: Reference) -> None:
        state = YOLOv5(reference.size, classes=14).state_dict()
        assert {k: list(v.shape) for k, v in state.items()} == reference.meta["shapes"]
        assert list(state) == list(reference.meta["shapes"])
        reference.assert_close(state["model.24.anchors"], "anchors_buffer", 0)

    def test_evaluation_mode(self, reference: Reference) -> None:
        with torch.no_grad():
            output, taps = reference.model().eval().forward_with_taps(reference.image)
        assert isinstance(output, Prediction)
        for i, level in enumerate(output.levels):
            reference.assert_close(level, f"raw_p{i + 3}", 1e-4)
        reference.assert_close(taps.p2, "layer1", 1e-4)
        reference.assert_close(taps.p3, "layer4", 1e-4)
        reference.assert_rows_close(output.rows, "pred")

    def test_training_mode_and_running_statistics_after_one_pass(self, reference: Reference) -> None:
        model = reference.model().train()
        with torch.no_grad():
            levels = model(reference.image)
        assert isinstance(levels, list)
        for i, level in enumerate(levels):
            reference.assert_close(level, f"train_p{i + 3}", 1e-4)
        state = model.state_dict()
        names = [k for k in reference.io if k.startswith("after_train_step.")]
        assert names
        for name in names:
            reference.assert_close(state[name.removeprefix("after_train_step.")], name, 1e-5)

    def test_fused(self, reference: Reference) -> None:
        model = reference.model().eval().fuse()
        assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        with torch.no_grad():
            reference.assert_rows_close(model(reference.image).rows, "pred_fused")

    def test_channels_last_gives_the_same(self, reference: Reference) -> None:
        model = reference.model().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            rows, _ = model(reference.image.to(memory_format=torch.channels_last))
        reference.assert_rows_close(rows, "pred")

    def test_parameter_groups_of_the_optimiser_count_alike(self, reference: Reference) -> None:
        norms = [m for m in YOLOv5(reference.size, 14).modules() if isinstance(m, nn.BatchNorm2d)]
        assert reference.meta["optimizer_groups"][2]["n_tensors"] == len(norms)


@pytest.mark.shared
def test_one_convolution_and_normalisation_fuse_as_in_the_reference(parity: Path) -> None:
    z = {k: torch.from_numpy(v) for k, v in np.load(parity / "misc/misc.npz").items() if k.startswith("fuse.")}
    conv, bn = nn.Conv2d(5, 7, 3, bias=False), nn.BatchNorm2d(7, eps=1e-3)
    conv.load_state_dict({"weight": z["fuse.conv"]})
    bn.load_state_dict(
        {"weight": z["fuse.gamma"], "bias": z["fuse.beta"], "running_mean": z["fuse.mean"], "running_var": z["fuse.var"]},
        strict=False,
    )
    fused = fuse_conv_bn(conv, bn)
    assert fused.bias is not None
    torch.testing.assert_close(fused.weight, z["fuse.w"], rtol=0, atol=1e-6)
    torch.testing.assert_close(fused.bias, z["fuse.b"], rtol=0, atol=1e-6)


def on_meta(size: str, classes: int) -> YOLOv5:
    with torch.device("meta"):  # counts only: no memory, no arithmetic
        return YOLOv5(size, classes)


@pytest.mark.parametrize("size", VARIANTS)
@pytest.mark.parametrize("classes", [80, 14])
def test_parameters_entries_and_taps_of_every_size(size: str, classes: int) -> None:
    model = on_meta(size, classes)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[classes][size]
    assert len(model.state_dict()) == ENTRIES[size]
    assert model.tap_channels == TAPS[size]
    _, taps = model.forward_levels(torch.zeros(1, 3, 64, 96, device="meta"))
    assert taps.p2.shape == (1, TAPS[size][0], 16, 24)
    assert taps.p3.shape == (1, TAPS[size][1], 8, 12)


def test_shapes_of_both_modes() -> None:
    model = YOLOv5("n", classes=3)
    levels = model.train()(torch.rand(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [(2, 3, 8, 12, 8), (2, 3, 4, 6, 8), (2, 3, 2, 3, 8)]
    with torch.no_grad():
        rows, raw = model.eval()(torch.rand(2, 3, 64, 96))
    assert rows.shape == (2, 3 * (96 + 24 + 6), 8)
    assert [tuple(level.shape) for level in raw] == [tuple(level.shape) for level in levels]


def test_decoded_rows_run_over_levels_anchors_rows_columns() -> None:
    model = YOLOv5("n", classes=1)
    levels = [torch.zeros(1, 3, n, n + 1, 6) for n in (4, 2, 1)]
    levels[0][0, 2, 3, 1, 4] = 50.0  # P3, third anchor, row 3, column 1
    levels[1][0, 1, 0, 2, 4] = 50.0  # P4, second anchor, row 0, column 2
    rows = model.decode(levels)[0]
    first, second = torch.where(rows[:, 4] == 1.0)[0].tolist()
    assert first == 2 * 20 + 3 * 5 + 1
    assert second == 60 + 1 * 6 + 2
    # Sigmoid 0.5 is the middle of the cell and the anchor itself.
    torch.testing.assert_close(rows[first, :4], torch.tensor([1.5 * 8, 3.5 * 8, 33.0, 23.0]))
    torch.testing.assert_close(rows[second, :4], torch.tensor([2.5 * 16, 0.5 * 16, 62.0, 45.0]))


def test_normalisation_constants_are_not_torchs_own() -> None:
    norms = [m for m in YOLOv5("n").modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 57
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}


def test_biases_start_at_the_priors() -> None:
    detect = YOLOv5("s", classes=14).detect
    for layer, stride in zip(detect.m, (8, 16, 32), strict=True):
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        bias, spread = layer.bias.detach().view(3, -1), 1 / math.sqrt(layer.in_channels)  # bound of torch's own start
        assert (bias[:, 4] - math.log(8 / (640 / stride) ** 2)).abs().max() <= spread
        assert (bias[:, 5:] - math.log(0.6 / (14 - 0.99999))).abs().max() <= spread
        assert bias[:, :4].abs().max() <= spread


def test_anchors_are_turned_round_when_large_ones_stand_at_the_fine_level() -> None:
    turned = Detect(1, (8, 8, 8), ANCHORS_PX[::-1])
    torch.testing.assert_close(turned.anchors, Detect(1, (8, 8, 8), ANCHORS_PX).anchors)
    torch.testing.assert_close(turned.anchors[0] * 8, torch.tensor(ANCHORS_PX[0], dtype=torch.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "xl"}, "there is no 'xl'"),
        ({"size": "n", "classes": 0}, "at least one class"),
        ({"size": "n", "anchors_px": ANCHORS_PX[:2]}, "shape"),
        ({"size": "n", "anchors_px": [[(1, 1), (2, 2), (0, 3)]] * 3}, "positive"),
    ],
)
def test_impossible_networks_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YOLOv5(**arguments)


@pytest.mark.parametrize("shape", [(1, 3, 64, 100), (1, 3, 60, 64), (3, 64, 64), (1, 1, 64, 64)])
def test_images_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        YOLOv5("n")(torch.zeros(shape))
    with pytest.raises(ValueError, match="multiples of 32"):
        AttriDet("n").forward_train(torch.zeros(shape))


def test_half_precision_under_autocast_still_decodes_in_float32() -> None:
    model = YOLOv5("n", classes=2).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        rows, levels = model(torch.rand(1, 3, 64, 64))
    assert levels[0].dtype == torch.bfloat16
    assert rows.dtype == torch.float32


def test_fusing_changes_nothing_but_the_form() -> None:
    torch.manual_seed(0)
    model = YOLOv5("n", classes=2)
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        for _ in range(3):
            model.train()(images)  # running statistics that are not those of the start
        before = model.eval()(images).rows
        fused = model.fuse()
        assert fused is model
        torch.testing.assert_close(fused(images).rows, before, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(model.fuse()(images).rows, before, rtol=1e-4, atol=1e-3)
