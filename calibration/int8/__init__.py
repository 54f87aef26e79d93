"""From a float bundle and frames of one microscope to a bundle in INT8.

Public: `choose_frames`, `FramesRequest`, `FramesResult`, `quantize`, `QuantizeRequest`, `QuantizeResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from calibration.int8.request import FramesRequest, QuantizeRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from calibration.int8.run import QuantizeResult, quantize
    from calibration.int8.selection import FramesResult, choose_frames

__all__ = ["FramesRequest", "FramesResult", "QuantizeRequest", "QuantizeResult", "choose_frames", "quantize"]
__getattr__ = lazy(__name__, quantize="run", QuantizeResult="run", choose_frames="selection", FramesResult="selection")
