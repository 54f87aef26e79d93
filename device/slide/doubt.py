"""What stands beside counts so that they do not reassure: a foreign film, what a zero leaves open, how far the engine is believed."""

from __future__ import annotations

from device.slide.picture_state import count_of
from device.slide.tally import Differential
from engines.naming import NamingInfo

FOREIGN = "This film is unlike the films that this engine knows: only groups are told, and they may be wrong; review all cells."
UNKNOWN_SENSITIVITY = "How sensitive this engine is for blasts on this kind of film is not known: see its card."


def sensitivity(naming: NamingInfo | None) -> str:
    """One sentence on how far a count of blasts may be believed: the naming layer's own, or that nothing is known."""
    return (naming.said if naming is not None else "") or UNKNOWN_SENSITIVITY


def zero_limit(differential: Differential) -> str:
    """What a zero of blasts leaves open, in words that follow it; empty where blasts were told."""
    if differential.blasts:
        return ""
    told = differential.white_cells - differential.unidentified
    if not told:
        return "no cell was told, so any share is possible"
    return f"of {count_of(told, 'cell')} told, up to {limit_words(differential.blast_range[1])} may be blasts unseen"


def limit_words(percent: float) -> str:
    """An upper limit in per cent, never rounded down: "2.7 %", "26 %"."""
    tenths = -int(-10 * percent // 1)
    return f"{-int(-percent // 1)} %" if tenths >= 100 else f"{tenths / 10:.1f} %"
