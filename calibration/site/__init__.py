"""Naming layers fitted: to one microscope from its own labelled cells (a site layer), or to open data alone (the one that ships).

Public: `learn`, `LearnRequest`, `LearnResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from calibration.site.request import LearnRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from calibration.site.run import LearnResult, learn

__all__ = ["LearnRequest", "LearnResult", "learn"]
__getattr__ = lazy(__name__, learn="run", LearnResult="run")
