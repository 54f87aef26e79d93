"""To another microscope without labels of its pictures (ConfMix, DACA).

Public: `adapt`, `AdaptRequest`, `AdaptResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from engines.adapt.request import AdaptRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.adapt.run import AdaptResult, adapt

__all__ = ["AdaptRequest", "AdaptResult", "adapt"]
__getattr__ = lazy(__name__, adapt="run", AdaptResult="run")
