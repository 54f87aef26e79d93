"""From a float bundle and frames of one microscope to a bundle in INT8; and to one in FP16, which needs no frames.

Public: `choose_frames`, `FramesRequest`, `FramesResult`, `quantize`, `QuantizeRequest`, `QuantizeResult`, `halve`, `HalveRequest`,
`HalveResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from calibration.int8.request import FramesRequest, HalveRequest, QuantizeRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from calibration.int8.halving import HalveResult, halve
    from calibration.int8.run import QuantizeResult, quantize
    from calibration.int8.selection import FramesResult, choose_frames

__all__ = [
    "FramesRequest",
    "FramesResult",
    "HalveRequest",
    "HalveResult",
    "QuantizeRequest",
    "QuantizeResult",
    "choose_frames",
    "halve",
    "quantize",
]
__getattr__ = lazy(
    __name__,
    quantize="run",
    QuantizeResult="run",
    choose_frames="selection",
    FramesResult="selection",
    halve="halving",
    HalveResult="halving",
)
