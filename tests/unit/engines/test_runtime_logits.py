"""Decoding in numpy: the network's own numbers, also with variances, in the network's order, and nothing lost at a threshold."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detections import Float32
from engines.runtime.logits import Level, decode

torch = pytest.importorskip("torch")


def levels_and_rows(classes: int, variances: bool) -> tuple[list[tuple[Float32, Level]], Float32]:
    """Logits of three levels as convolutions leave them, and the rows that the network makes of them."""
    from engines.families.attridet.yolov5 import Detect

    torch.manual_seed(0)
    detect = Detect(classes, (8, 16, 24), variances=variances).eval()
    sides = ((8, 12), (4, 6), (2, 3))
    with torch.no_grad():
        for conv in detect.m:
            conv.weight.mul_(4)
        maps = [torch.randn(1, c, *hw) * 3 for c, hw in zip((8, 16, 24), sides, strict=True)]
        logits = [conv(x) for conv, x in zip(detect.m, maps, strict=True)]
        rows = detect.decode(detect(maps))[0].numpy()
    given = []
    for i, planes in enumerate(logits):
        anchors_px = (detect.anchors[i] * detect.stride[i]).numpy()
        level = Level(anchors_px, float(detect.stride[i]), classes, detect.outputs)
        given.append((np.ascontiguousarray(planes.permute(0, 2, 3, 1).numpy()), level))
    return given, rows


@pytest.mark.parametrize("variances", [False, True])
def test_rows_are_the_networks(variances: bool) -> None:
    given, expected = levels_and_rows(14, variances)
    found = decode(given)
    assert found.shape == expected.shape == (3 * (96 + 24 + 6), 19) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("confidence", [0.001, 0.25, 0.9])
@pytest.mark.parametrize("variances", [False, True])
def test_what_is_left_out_does_not_exceed_the_threshold(variances: bool, confidence: float) -> None:
    given, _ = levels_and_rows(3, variances)
    every, some = decode(given), decode(given, confidence)
    assert len(some) < len(every)
    np.testing.assert_array_equal(some[some[:, 4] > confidence], every[every[:, 4] > confidence])


def test_a_score_on_the_edge_is_left_to_the_caller() -> None:
    logits = np.zeros((1, 1, 1, 6), np.float32)
    level = Level(np.ones((1, 2), np.float32), 8.0, 1, 6)
    logits[..., 4] = np.log(0.25 / 0.75)
    assert len(decode([(logits, level)], 0.25)) == 1


@pytest.mark.parametrize("confidence", [0.0, 0.25])
def test_a_nan_is_not_left_out(confidence: float) -> None:
    """Whoever watches for it, as the gate does, must see it."""
    logits = np.full((1, 1, 1, 6), np.nan, np.float32)
    assert np.isnan(decode([(logits, Level(np.ones((1, 2), np.float32), 8.0, 1, 6))], confidence)).any()


def test_logits_beyond_what_exp_holds_are_0_and_1() -> None:
    logits = np.array([200, -200, 0, 0, 200, -200], np.float32).reshape(1, 1, 1, 6)
    level = Level(np.array([[10, 20]], np.float32), 8.0, 1, 6)
    np.testing.assert_array_equal(decode([(logits, level)], 0.5), [[12, -4, 10, 20, 1, 0]])
