"""How good a detector is: three rules of average precision, attributes, and a bundle on a folder. No drawing.

Public: `evaluate`, `EvaluateRequest`, `EvaluateResult` (docs/api.md); torch comes only for a file of weights.
"""

from typing import TYPE_CHECKING

from engines.evaluation.request import EvaluateRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.evaluation.run import EvaluateResult, evaluate

__all__ = ["EvaluateRequest", "EvaluateResult", "evaluate"]
__getattr__ = lazy(__name__, evaluate="run", EvaluateResult="run")
