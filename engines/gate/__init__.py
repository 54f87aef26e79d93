"""An engine against its float reference: what it loses, whether that is allowed, and a page that shows it.

Public: `gate`, `GateRequest`, `GateVerdict` (docs/api.md).
"""

from typing import TYPE_CHECKING

from engines.gate.request import GateRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.gate.run import GateVerdict, gate

__all__ = ["GateRequest", "GateVerdict", "gate"]
__getattr__ = lazy(__name__, gate="run", GateVerdict="run")
