"""Weights that others published, read without running anything of theirs: `import_weights` (YOLOv5, AttriDet), `import_resnet`."""

from engines.network.foreign.account import Entry, LeftOut, Outcome, Transfer
from engines.network.foreign.archive import ForeignWeightsError, TorchFile
from engines.network.foreign.torchvision import import_resnet
from engines.network.foreign.transfer import import_weights

__all__ = [
    "Entry",
    "ForeignWeightsError",
    "LeftOut",
    "Outcome",
    "TorchFile",
    "Transfer",
    "import_resnet",
    "import_weights",
]
