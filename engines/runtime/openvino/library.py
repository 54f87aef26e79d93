"""OpenVINO as a library: whether it is there, whether it suits this processor, how it is imported and configured."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from engines.errors import RuntimeUnavailableError
from engines.runtime.precision import BFLOAT16, FLOAT16, FLOAT32, lacking

INSTALL = "pip install 'leukoscope[openvino]'"


_HINTS = {FLOAT32: "f32", BFLOAT16: "bf16", FLOAT16: "f16"}
_CAPABILITIES = {BFLOAT16: "BF16", FLOAT16: "FP16"}


def options(threads: int, precision: str = FLOAT32) -> dict[str, str]:
    """How a graph is compiled on a processor that also serves a camera and a screen. precision: of what is not in 8 bits."""
    return {
        # Left alone it computes in bfloat16 where the processor can: what is computed is chosen and told, never left to a library.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
    }


def suits_int8() -> bool:
    """Whether OpenVINO is installed and this processor computes INT8 rightly in it: on x86 without VNNI the sums of products overflow.

    The golden picture shows that (13 cells for 7), so that such an engine is refused; this only spares the attempt.
    """
    try:
        version()
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except RuntimeUnavailableError:
        return False
    except OSError:
        return True
    return "vnni" in flags or not re.search(r"^flags\s*:", flags, re.MULTILINE)  # only x86 calls them flags


def precisions() -> tuple[str, ...]:
    """The precisions that this processor has instructions for, float32 first. Raises RuntimeUnavailableError."""
    capabilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (FLOAT32, *(word for word, capability in _CAPABILITIES.items() if capability in capabilities))


def check_precision(precision: str) -> None:
    """Raises RuntimeUnavailableError, naming what it lacks, where this processor has no instructions for a precision.

    Asked to all the same, OpenVINO would emulate it, slowly, or compute in float32 and not say so.
    """
    if precision not in precisions():
        raise lacking(precision)


def version() -> str:
    """The installed version, without importing the runtime. Raises RuntimeUnavailableError."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeUnavailableError(f"OpenVINO is not installed. Run: {INSTALL}") from None


def import_openvino() -> Any:
    """The module, without its reports to its maker. Raises RuntimeUnavailableError."""
    # A clinic's box reports nothing to anybody: merely importing OpenVINO sends an event to its maker and leaves a device id in the
    # home folder, and no switch turns it off but a file there. Without the package that sends, OpenVINO takes its own stand-in for it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is Python's word for "must not be imported"
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailableError(f"OpenVINO cannot be imported ({error}). Run: {INSTALL}") from error
    return openvino


@lru_cache(1)
def core() -> Any:
    """The one `openvino.Core` of this process, never let go of. Raises RuntimeUnavailableError.

    The processor plugin of each core gives the thread a stack for signals. Of two cores that went in the order in which they came, it
    left one registered that was freed: the next signal, such as the end of a training's worker, ended the whole process.
    """
    return import_openvino().Core()


def words(error: Exception) -> str:
    """What went wrong, in the runtime's own words: the last line; those before say where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
