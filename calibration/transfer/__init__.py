"""Labels carried to pictures of the same fields on another microscope, or refused with the reason.

Public: `transfer_labels`, `TransferRequest`, `TransferResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from calibration.transfer.request import TransferRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from calibration.transfer.run import TransferResult, transfer_labels

__all__ = ["TransferRequest", "TransferResult", "transfer_labels"]
__getattr__ = lazy(__name__, transfer_labels="run", TransferResult="run")
