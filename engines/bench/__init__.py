"""What an engine costs on this machine, beside the bare runtime and others' programs. Speed only.

Public: `bench`, `BenchRequest`, `BenchResult` (docs/api.md).
"""

from typing import TYPE_CHECKING

from engines.bench.request import BenchRequest
from engines.lazy import lazy

if TYPE_CHECKING:
    from engines.bench.run import BenchResult, bench

__all__ = ["BenchRequest", "BenchResult", "bench"]
__getattr__ = lazy(__name__, bench="run", BenchResult="run")
