"""From torch to a bundle: the two ONNX graphs, and the proof that they say what torch says.

Public: `export`, `ExportRequest` (docs/api.md). Importing this package imports nothing heavy; its modules import torch and onnx.
"""

from typing import TYPE_CHECKING

from engines.export.request import ExportRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.export.run import export

__all__ = ["ExportRequest", "export"]
__getattr__ = lazy(__name__, export="run")
