"""In which numbers a runtime computes what its graphs leave in float: the words, what a processor needs for each, how they are shown.

What a bundle stores (float or 8 bits) is its own; this is the choice beside it. Names of cells at the second look are always float32.
"""

from __future__ import annotations

import difflib
import platform
import re
from pathlib import Path

from engines.errors import RuntimeUnavailableError
from engines.manifest import GoldenTolerance, Manifest

AUTO = "auto"
"""The quickest that passes on this device where the choice is kept (see `engines.runtime.choice`); otherwise float32."""
FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"
PRECISIONS = (FLOAT32, BFLOAT16, FLOAT16)
HALF = "fp16"
"""The precision of a bundle whose graphs hold FP16, for a GPU; one in INT8 with FP16 for the rest ends so."""
_SHORT = {FLOAT32: "fp32", BFLOAT16: "bf16", FLOAT16: HALF}
_NEEDS = {
    BFLOAT16: "AMX or AVX-512 with bfloat16 (flags amx_bf16, avx512_bf16), or an ARM with bf16",
    FLOAT16: "AVX-512 or AMX with float16 (flags avx512_fp16, amx_fp16), or an ARM with fphp and asimdhp",
}
_FLAGS = re.compile(r"^(?:flags|Features)\s*:\s*(.*)$", re.MULTILINE)
_MODEL = re.compile(r"^(?:model name|Model|Hardware)\s*:\s*(.*)$", re.MULTILINE)


def shown(stored: str, computed: str) -> str:
    """The precision as `EngineInfo` has it. stored: of the manifest ("fp32", "int8"). computed: one of `PRECISIONS`."""
    if computed == FLOAT32:
        return stored
    return _SHORT[computed] if stored == "fp32" else f"{stored}-{_SHORT[computed]}"


def tolerance_of(manifest: Manifest, computed: str) -> GoldenTolerance:
    """How far an answer to the golden picture may be in this precision: the wider of the bundle's own and the precision's."""
    own, more = manifest.golden_tolerance, manifest.precision_tolerances.get(computed)
    if more is None:
        return own
    return GoldenTolerance(corner_px=max(own.corner_px, more.corner_px), probability=max(own.probability, more.probability))


def processor() -> tuple[str, str]:
    """Model and flags of this machine's processor, as the system tells them; flags are empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    model, flags = _MODEL.search(text), _FLAGS.search(text)
    return (model[1].strip() if model else platform.processor() or platform.machine()), (flags[1] if flags else "")


def check_word(precision: str) -> None:
    """Raises RuntimeUnavailableError, with the nearest, for a word that is neither `AUTO` nor one of `PRECISIONS`."""
    words = [AUTO, *PRECISIONS]
    if precision not in words:
        near = difflib.get_close_matches(precision, words, 1, 0.4)
        advice = f" Did you mean {near[0]!r}?" if near else ""
        raise RuntimeUnavailableError(f"there is no precision {precision!r}.{advice} Available: {', '.join(words)}.")


def lacking(computed: str) -> RuntimeUnavailableError:
    """The refusal of a precision that this processor has no instructions for."""
    return RuntimeUnavailableError(
        f"{computed} needs {_NEEDS[computed]}; this processor ({processor()[0]}) has none of them. "
        "Set engine.precision to auto or float32."
    )
