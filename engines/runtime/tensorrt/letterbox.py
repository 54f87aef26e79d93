"""Parameters of the letterbox kernel for one size of frame: which source pixels make a pixel, with what weights; OpenCV's formulas in
numpy.

`kernel.cu` does the sums. Both together equal `engines.preprocess.prepare`; tests hold that with a build of the kernel for the
processor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Letterbox

SPAN = np.dtype([("first", "<i4"), ("count", "<i4"), ("head", "<f4"), ("body", "<f4"), ("tail", "<f4")])
"""`Span` of kernel.cu."""
GEOMETRY = np.dtype(
    [
        *((name, "<i4") for name in ("mode", "frame_h", "frame_w", "resized_h", "resized_w", "out_h", "out_w", "top", "left")),
        ("area_scale", "<f4"),
    ]
)
"""`Geometry` of kernel.cu."""
COPY, AREA, AREA_WHOLE, LINEAR = range(4)
"""`Mode` of kernel.cu."""
BLOCK = (32, 8, 1)
"""Threads of a block, one an output pixel."""

Records = NDArray[np.void]


class Tables(NamedTuple):
    """The kernel's tables for one size of frame: `columns` (resized_w,), `rows` (resized_h,) of SPAN, `geometry` (1,) of GEOMETRY."""

    columns: Records
    rows: Records
    geometry: Records


def tables(letterbox: Letterbox) -> Tables:
    """The tables for frames that lie in the input like this."""
    (frame_h, frame_w), (h, w) = letterbox.frame_hw, letterbox.resized_hw
    scale_x, scale_y = _scale(frame_w, w), _scale(frame_h, h)
    area_scale = 0.0
    if letterbox.resized_hw == letterbox.frame_hw:
        mode, columns, rows = COPY, np.zeros(w, SPAN), np.zeros(h, SPAN)
    elif letterbox.ratio > 1:
        mode, columns, rows = LINEAR, _linear(frame_w, w, scale_x, True), _linear(frame_h, h, scale_y, False)
    else:
        whole = all(abs(scale - round(scale)) < np.finfo(np.float64).eps for scale in (scale_x, scale_y))
        mode = AREA_WHOLE if whole else AREA
        columns, rows = _area(frame_w, w, scale_x), _area(frame_h, h, scale_y)
        area_scale = 1 / (round(scale_x) * round(scale_y)) if whole else 0.0
    geometry = np.array([(mode, frame_h, frame_w, h, w, *letterbox.out_hw, letterbox.top, letterbox.left, area_scale)], GEOMETRY)
    return Tables(columns, rows, geometry)


def grid(letterbox: Letterbox) -> tuple[int, int, int]:
    """Blocks of a launch: one thread for each pixel of the input."""
    return -(-letterbox.out_hw[1] // BLOCK[0]), -(-letterbox.out_hw[0] // BLOCK[1]), 1


def _scale(source: int, target: int) -> float:
    """Source pixels of one target pixel, by way of the inverse as OpenCV computes it."""
    return 1.0 / (target / source)


def _spans(**fields: Any) -> Records:
    spans = np.zeros(len(fields["first"]), SPAN)
    for name, values in fields.items():
        spans[name] = values
    return spans


def _area(source: int, target: int, scale: float) -> Records:
    """OpenCV's computeResizeAreaTab: the pixels that a span of `scale` covers, the outer two by their covered share.

    A share below a thousandth of a pixel is left out, which is OpenCV's way to forgive rounding. Of whole ratios the kernel takes
    `first` and `count` only.
    """
    start = np.arange(target) * scale
    end = start + scale
    width = np.minimum(scale, source - start)
    last = np.minimum(np.floor(end).astype(np.int64), source - 1)
    first = np.minimum(np.ceil(start).astype(np.int64), last)
    has_head, has_tail = first - start > 1e-3, end - last > 1e-3
    body = 1.0 / width
    head = (first - start) / width
    tail = np.minimum(np.minimum(end - last, 1.0), width) / width
    count = (last - first) + has_head + has_tail
    # The kernel weighs the first pixel as head and the last as tail, whatever they are.
    return _spans(
        first=first - has_head,
        count=count,
        head=np.where(has_head, head, np.where(last > first, body, tail)),
        body=body,
        tail=np.where(has_tail, tail, body),
    )


def _linear(source: int, target: int, scale: float, one_at_border: bool) -> Records:
    """OpenCV's bilinear weights in 2048ths; `first` and `count` are the two pixels.

    one_at_border: beyond the outermost centres one pixel has all the weight, as OpenCV does for columns. For its rows the outermost one
    is taken twice with both weights, which its fixed point rounds otherwise.
    """
    at = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.int64)
    share = (at - first).astype(np.float32)
    if one_at_border:
        share[(first < 0) | (first >= source - 1)] = 0
    one, unit = np.float32(1), np.float32(2048)
    return _spans(
        first=first.clip(0, source - 1),
        count=(first + 1).clip(0, source - 1),
        head=np.rint((one - share) * unit),
        tail=np.rint(share * unit),
    )
