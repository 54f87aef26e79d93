"""RoIAlign in plain torch: batched, differentiable in the features, the same numbers as the compiled kernels.

Bilinear interpolation is separable, and so is its rule at the border; a region's output is therefore A_y · crop · A_xᵀ with two small
matrices that hold the averaged interpolation weights. (He et al., Mask R-CNN, 2017.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CROP_BUDGET = 1 << 24
"""Elements gathered at once; more regions than that are done in halves, small ones first."""


def roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    *,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Pool K regions of a feature map to a fixed size by averaged bilinear samples.

    features: (B, C, H, W) floating. rois: (K, 5): index in the batch, x1, y1, x2, y2 in input px (multiplied by `spatial_scale`).
    output_size: height, width. sampling_ratio: samples a bin and side; 0 or less: adaptive, ceil(region / bins), each region its own.
    aligned: subtract half a cell; otherwise a region is at least one cell wide and high.
    Returns (K, C, height, width) in the features' dtype; sums run in float32 at least. Samples outside [-1, size] give 0, others
    are clamped to the map. Gradients flow to the features, not to the regions. Raises ValueError on a wrong shape.
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"regions need the shape (K, 5): batch index, x1, y1, x2, y2; got {tuple(rois.shape)}")
    channels, (out_h, out_w) = features.shape[1], output_size
    if len(rois) == 0:
        return features.sum() * 0 + features.new_zeros((0, channels, out_h, out_w))
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    with torch.no_grad():
        boxes = rois[:, 1:].to(dtype) * spatial_scale - (0.5 if aligned else 0.0)
        start, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        if not aligned:
            size = size.clamp(min=1.0)
        height, width = features.shape[2:]
        first_y, weight_y = _axis_weights(start[:, 1], size[:, 1], out_h, sampling_ratio, height)
        first_x, weight_x = _axis_weights(start[:, 0], size[:, 0], out_w, sampling_ratio, width)
        k, len_y, len_x = len(rois), weight_y.shape[2], weight_x.shape[2]
    if k > 1 and k * len_y * len_x * channels > _CROP_BUDGET:
        # By area, so that large crops, to whose size all of a portion are padded, come together.
        order = torch.argsort(size.clamp(min=0).prod(1))
        halves = [
            roi_align(features, rois[part], output_size, spatial_scale, sampling_ratio=sampling_ratio, aligned=aligned)
            for part in (order[: k // 2], order[k // 2 :])
        ]
        return torch.cat(halves)[torch.argsort(order)]
    y = (first_y[:, None] + torch.arange(len_y, device=rois.device)).clamp(max=height - 1)
    x = (first_x[:, None] + torch.arange(len_x, device=rois.device)).clamp(max=width - 1)
    index = (rois[:, 0].long()[:, None, None] * height + y[:, :, None]) * width + x[:, None, :]
    # One row of C numbers a cell: a gather copies whole rows, and its backward adds whole rows.
    cells = features.permute(0, 2, 3, 1).reshape(-1, channels)
    with torch.autocast(features.device.type, enabled=False):
        crop = functional.embedding(index, cells).to(dtype)  # (K, Ly, Lx, C)
        rows = torch.bmm(weight_y, crop.view(k, len_y, len_x * channels)).view(k * out_h, len_x, channels)
        repeated_x = weight_x[:, None].expand(k, out_h, out_w, len_x).reshape(k * out_h, out_w, len_x)
        pooled = torch.bmm(repeated_x, rows).view(k, out_h, out_w, channels)
    return pooled.permute(0, 3, 1, 2).to(features.dtype)


def _axis_weights(start: Tensor, size: Tensor, bins: int, sampling_ratio: int, limit: int) -> tuple[Tensor, Tensor]:
    """First cell (K,) and weights (K, bins, L) over the L cells from it, along one axis of `limit` cells."""
    step = (size / bins)[:, None, None]
    grid = torch.full_like(size, sampling_ratio) if sampling_ratio > 0 else torch.ceil(size / bins)
    count = grid.clamp(min=1)[:, None, None]
    sample = torch.arange(int(count.max()), device=size.device, dtype=size.dtype)[None, None]
    drawn = sample < grid[:, None, None]
    sample = torch.minimum(sample, count - 1)  # samples not drawn repeat the last one, with no weight
    bin_index = torch.arange(bins, device=size.device, dtype=size.dtype)[None, :, None]
    position = start[:, None, None] + bin_index * step + (sample + 0.5) * step / count
    share = (drawn & (position >= -1.0) & (position <= limit)).to(size.dtype) / count
    position = position.clamp(0, limit - 1)
    low = position.floor()
    fraction = position - low
    low = low.long()
    high = (low + 1).clamp(max=limit - 1)
    first = low.amin((1, 2))
    length = int((high.amax((1, 2)) - first).max()) + 1
    weights = torch.zeros((len(size), bins, length), device=size.device, dtype=size.dtype)
    weights.scatter_add_(2, low - first[:, None, None], (1 - fraction) * share)
    weights.scatter_add_(2, high - first[:, None, None], fraction * share)
    return first, weights
