"""Detector families, one folder each, by name: `family("fcos")`. Importing this package loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from engines.errors import DataError

if TYPE_CHECKING:
    import onnx

    from engines.families.base import Network

FAMILIES = {"attridet": "AttriDet", "cbm": "CBM", "dino": "DINO", "fcos": "FCOS", "sparse_rcnn": "SparseRCNN"}
"""Name, which is that of the folder and of its module, and the class in it."""
DEFAULT = "attridet"
"""What a checkpoint is that names no family, being older than they."""


EXPORTED = ("attridet", "cbm", "fcos")
"""Those that have a form in ONNX, in the module `graphs` of their folder: `detector_graph(network, input_hw)`, and where they tell
attributes `attributes_graph(network, input_hw, regions)`."""


def family(name: str) -> type[Network]:
    """The class of a family's networks. Raises DataError naming those there are."""
    if name not in FAMILIES:
        raise DataError(f"--family {name}: there are {', '.join(FAMILIES)}")
    found: type[Network] = getattr(import_module(f"engines.families.{name}.{name}"), FAMILIES[name])
    return found


def detector_graph(network: Network, input_hw: tuple[int, int]) -> onnx.ModelProto:
    """`detector.onnx` of a network, see `engines.runtime.graphs`. Raises DataError for a family that has no form in ONNX."""
    if network.family not in EXPORTED:
        raise DataError(f"the family {network.family} cannot be exported yet, only trained and judged; {', '.join(EXPORTED)} can")
    graph: onnx.ModelProto = import_module(f"engines.families.{network.family}.graphs").detector_graph(network, input_hw)
    return graph


def attributes_graph(network: Network, input_hw: tuple[int, int], regions: int) -> onnx.ModelProto:
    """`attributes.onnx` of a network that describes, for a fixed number of regions, see `engines.runtime.graphs`."""
    graph: onnx.ModelProto = import_module(f"engines.families.{network.family}.graphs").attributes_graph(network, input_hw, regions)
    return graph
