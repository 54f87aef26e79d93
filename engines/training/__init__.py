"""How the networks learn. Public: `train`, `TrainRequest`, `TrainResult` (docs/api.md).

Importing this package loads no torch; it comes when `train` is first used.
"""

from typing import TYPE_CHECKING

from engines.lazy import lazy
from engines.training.request import TrainRequest

if TYPE_CHECKING:
    from engines.training.run import TrainResult, train

__all__ = ["TrainRequest", "TrainResult", "train"]
__getattr__ = lazy(__name__, train="run", TrainResult="run")
