"""Weights that others published (YOLOv5, AttriDet), read without running anything of theirs: `import_weights`."""

from engines.network.foreign.archive import ForeignWeightsError, TorchFile
from engines.network.foreign.transfer import Entry, LeftOut, Outcome, Transfer, import_weights

__all__ = ["Entry", "ForeignWeightsError", "LeftOut", "Outcome", "TorchFile", "Transfer", "import_weights"]
