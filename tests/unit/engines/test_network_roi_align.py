"""RoIAlign against the compiled kernels' numbers, and properties that any right implementation has."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.network import roi_align

MODULE = importlib.import_module("engines.families.roi_align")  # the package's own name is the function


@pytest.fixture(scope="module")
def fixture(parity: Path) -> dict[str, Tensor]:
    return {k: torch.from_numpy(v) for k, v in np.load(parity / "roi_align/roi_align.npz").items()}


@pytest.mark.shared
@pytest.mark.parametrize("portion", ["at once", "one by one"])
def test_forward_and_gradient_of_every_case(
    parity: Path, fixture: dict[str, Tensor], portion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if portion == "one by one":
        monkeypatch.setattr(MODULE, "_CROP_BUDGET", 1)
    cases = json.loads((parity / "roi_align/cases.json").read_text())
    assert len(cases) >= 12
    for case in cases:
        name = case["id"]
        x = fixture["x"].clone().requires_grad_()
        out = roi_align(
            x,
            fixture[f"{name}.rois"],
            tuple(case["output_size"]),
            case["spatial_scale"],
            sampling_ratio=case["sampling_ratio"],
            aligned=case["aligned"],
        )
        torch.testing.assert_close(out.detach(), fixture[f"{name}.y"], rtol=0, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        out.backward(fixture[f"{name}.grad_out"])
        torch.testing.assert_close(x.grad, fixture[f"{name}.grad_x"], rtol=0, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def scalar_roi_align(x: Tensor, roi: list[float], bins: tuple[int, int], ratio: int, aligned: bool) -> Tensor:
    """The definition, one sample at a time, spatial scale 1, for one region of a (C, H, W) map."""
    _, height, width = x.shape
    x1, y1, x2, y2 = (v - (0.5 if aligned else 0.0) for v in roi)
    sides = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
    counts = [ratio if ratio > 0 else int(np.ceil(s / n)) for s, n in zip(sides, bins, strict=True)]
    out = x.new_zeros(len(x), *bins)
    for i, j, a, b in np.ndindex(*bins, *(max(c, 0) for c in counts)):
        y = y1 + sides[0] / bins[0] * (i + (a + 0.5) / counts[0])
        u = x1 + sides[1] / bins[1] * (j + (b + 0.5) / counts[1])
        if not (-1 <= y <= height and -1 <= u <= width):
            continue
        y, u = min(max(y, 0), height - 1), min(max(u, 0), width - 1)
        t, left = int(y), int(u)
        bottom, right = min(t + 1, height - 1), min(left + 1, width - 1)
        fy, fx = y - t, u - left
        above = x[:, t, left] * (1 - fx) + x[:, t, right] * fx
        below = x[:, bottom, left] * (1 - fx) + x[:, bottom, right] * fx
        out[:, i, j] += (above * (1 - fy) + below * fy) / (counts[0] * counts[1])
    return out


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 2])
def test_equals_the_definition_also_for_odd_regions(aligned: bool, ratio: int) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand((2, 3, 9, 13), generator=generator, dtype=torch.float64)
    rois = torch.tensor(
        [
            [0, 1.3, 2.1, 7.9, 6.4],
            [1, -4.0, -3.0, 20.0, 15.0],  # beyond every border
            [0, 5.2, 5.2, 5.2, 5.2],  # no size
            [1, 12.2, 8.3, 12.9, 8.9],  # the last cell
            [0, 40.0, 40.0, 60.0, 50.0],  # wholly outside
            [1, 8.0, 7.0, 3.0, 2.0],  # corners exchanged
            [0, -1.0, -1.0, 13.0, 9.0],  # exactly on the limit of what counts
        ],
        dtype=torch.float64,
    )
    out = roi_align(x, rois, (4, 3), 1.0, sampling_ratio=ratio, aligned=aligned)
    for region, roi in zip(out, rois.tolist(), strict=True):
        expected = scalar_roi_align(x[int(roi[0])], roi[1:], (4, 3), ratio, aligned)
        torch.testing.assert_close(region, expected, rtol=0, atol=1e-12)


def test_gradient_is_the_derivative() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand((1, 2, 6, 7), generator=generator, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 0.5, 1.0, 5.5, 4.0], [0, -2.0, 2.0, 3.0, 9.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: roi_align(t, rois, (3, 4), 1.0), (x,))


def test_a_linear_ramp_is_the_ramp_at_the_bins_centres() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    ramp = (2 * x + 3 * y + 1).view(1, 1, 40, 50)
    x1, y1, x2, y2 = 20.0, 24.0, 140.0, 120.0  # px; a quarter of it in cells, well inside
    out = roi_align(ramp, torch.tensor([[0, x1, y1, x2, y2]]), (24, 30), 0.25)[0, 0]
    centres_x = (x1 + (x2 - x1) * (torch.arange(30) + 0.5) / 30) / 4
    centres_y = (y1 + (y2 - y1) * (torch.arange(24) + 0.5) / 24) / 4
    torch.testing.assert_close(out, 2 * centres_x[None] + 3 * centres_y[:, None] + 1, rtol=0, atol=1e-4)


def test_moving_map_and_region_by_one_cell_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(7)
    x = torch.zeros(1, 4, 30, 30)
    x[:, :, 2:28, 2:28] = torch.rand((1, 4, 26, 26), generator=generator)
    moved = torch.roll(x, (1, 1), (2, 3))
    roi = torch.tensor([[0.0, 30.0, 25.0, 90.0, 77.0]])
    out = roi_align(x, roi, (24, 30), 0.25)
    torch.testing.assert_close(roi_align(moved, roi + torch.tensor([0, 4, 4, 4, 4]), (24, 30), 0.25), out, rtol=0, atol=1e-6)
    assert (roi_align(moved, roi, (24, 30), 0.25) - out).abs().max() > 0.01


def test_no_region_keeps_the_graph() -> None:
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    out = roi_align(x, torch.zeros(0, 5), (24, 30), 0.25)
    assert out.shape == (0, 3, 24, 30)
    out.sum().backward()
    assert x.grad is not None and not x.grad.any()


def test_memory_format_and_half_precision() -> None:
    x = torch.rand(2, 8, 20, 20, generator=torch.Generator().manual_seed(1))
    rois = torch.tensor([[0, 3.0, 5.0, 60.0, 70.0], [1, 10.0, 0.0, 20.0, 80.0]])
    plain = roi_align(x, rois, (24, 30), 0.25)
    torch.testing.assert_close(roi_align(x.to(memory_format=torch.channels_last), rois, (24, 30), 0.25), plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # positions keep their digits, only the map is coarse
        half = roi_align(x.bfloat16(), rois, (24, 30), 0.25)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), plain, rtol=0, atol=1e-2)


def test_regions_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(K, 5\)"):
        roi_align(torch.rand(1, 3, 8, 8), torch.zeros(2, 4), (24, 30), 0.25)
