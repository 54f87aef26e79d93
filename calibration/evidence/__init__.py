"""The evidence: what an engine finds, names and misses on a plan of data sets, and what a site's own cells bring, written as one page.

Public: `evidence`, `EvidenceRequest`, `EvidenceResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from calibration.evidence.request import EvidenceRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from calibration.evidence.run import EvidenceResult, evidence

__all__ = ["EvidenceRequest", "EvidenceResult", "evidence"]
__getattr__ = lazy(__name__, evidence="run", EvidenceResult="run")
