"""What a runtime adds to the house: a way to run the graphs. Everything around them is in `engines.runtime.engine`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from engines.detections import Float32, Image
from engines.errors import BundleError

IMAGE, ROWS, P2, P3, ROIS, PROBABILITIES = "image", "rows", "p2", "p3", "rois", "probabilities"
"""Names of the graphs' inputs and outputs.

detector.onnx: `image` (1, 3, H, W) float32 RGB 0 to 1 -> `rows` (1, N, 5 + classes) float32: centre x, centre y, width, height in input
px, objectness, class probabilities; `p2` (1, C1, H/4, W/4) and `p3` (1, C4, H/8, W/8), the early maps.
attributes*.onnx: `p2`, `p3`, `rois` (n, 4) float32 x1 y1 x2 y2 in input px -> `probabilities` (n, logits), each attribute sums to 1.
Of another family than attridet: no `p2` and `p3`; where it tells attributes, their graph takes `image` in place of these.
"""
TILES, FEATURES = "tiles", "features"
"""cells.onnx, the second look: `tiles` (n, 3, side, side) float32 RGB 0 to 1, a cell in the middle of each -> `features` (n, F)."""


def check_names(path: Path, found: tuple[set[str], set[str]], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Raises BundleError naming the file whose inputs and outputs are others than these."""
    if found != (set(inputs), set(outputs)):
        raise BundleError(
            f"{path}: has inputs {sorted(found[0])} and outputs {sorted(found[1])}, expected {sorted(inputs)} and "
            f"{sorted(outputs)}. Export the bundle again."
        )


def check_input(path: Path, takes: Sequence[int], hw: tuple[int, int]) -> None:
    """Raises BundleError naming the file of a detector that takes another picture than the manifest says."""
    if list(takes) != [1, 3, *hw]:
        raise BundleError(f"{path}: takes a picture of {list(takes)}, the manifest says {[1, 3, *hw]}. Export the bundle again.")


class Graphs(Protocol):
    """Runs a bundle's graphs; used by one thread, between `open` and `close`.

    The feature maps of the last picture stay with the runtime (on a GPU they never leave it): `describe` speaks of the picture that
    `detect` saw last. All methods raise `engines.errors.InferenceError` with the runtime's own words; `open` raises
    `RuntimeUnavailableError` or `BundleError` instead.
    """

    regions: int
    """Regions that one `describe` takes; 0 where the network tells no attributes, and `describe` is never asked."""

    def open(self) -> None:
        """Loads detector and attribute graph; after `close` it may be called again."""
        ...

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        """Rows (N, 5 + classes) of one letterboxed picture, (H, W, 3) uint8 BGR. The array is overwritten by the next call.

        Rows whose objectness does not exceed `confidence` may be left out; those that are there keep the graph's order.
        """
        ...

    def describe(self, rois: Float32) -> Float32:
        """Attribute probabilities (regions, logits) of boxes (regions, 4) in input px on the picture seen last."""
        ...

    def look(self, tiles: Image) -> Float32:
        """Features (N, F) of N tiles, (N, side, side, 3) uint8 BGR; any N. The second look's graph is loaded at the first call."""
        ...

    def close(self) -> None:
        """Frees everything; also when `open` failed half-way."""
        ...
