"""From torch to a bundle: the ONNX graphs, and the proof that they say what torch says.

Public: `export`, `ExportRequest`, `add_second_look`, `SecondLookRequest` (docs/api.md). Importing this package loads nothing heavy; its
modules import torch and onnx.
"""

from typing import TYPE_CHECKING

from engines.export.request import ExportRequest, SecondLookRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.export.add_look import add_second_look
    from engines.export.run import export

__all__ = ["ExportRequest", "SecondLookRequest", "add_second_look", "export"]
__getattr__ = lazy(__name__, export="run", add_second_look="add_look")
