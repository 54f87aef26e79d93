"""What stands beside counts so that they do not reassure: a foreign film, what a zero leaves open, how far the engine is believed."""

from __future__ import annotations

from device.slide.picture_state import count_of
from device.slide.tally import Differential
from engines.intervals import exact_interval
from engines.naming import NamingInfo

FOREIGN = "This film is unlike the films that this engine knows: only groups are told, and they may be wrong; review all cells."
UNKNOWN_SENSITIVITY = "How sensitive this engine is for blasts on this kind of film is not known: see its card."


def sensitivity(naming: NamingInfo | None, foreign: bool | None = None) -> str:
    """One sentence on how far a count of blasts may be believed: the naming layer's own, or that it is not known (foreign films)."""
    return (naming.said if naming is not None and not foreign else "") or UNKNOWN_SENSITIVITY


def zero_limit(differential: Differential) -> str:
    """What a zero of blasts leaves open, in words that follow it; empty where blasts were told."""
    return "" if differential.blasts else zero_words(differential.white_cells - differential.unidentified)


def zero_words(told: int) -> str:
    """What no blast among so many cells that were told as a type or group leaves open."""
    if not told:
        return "no cell was told, so any share is possible"
    return f"of {count_of(told, 'cell')} told, up to {limit_words(100 * exact_interval(0, told)[1])} may be blasts unseen"


def limit_words(percent: float) -> str:
    """An upper limit in per cent, never rounded down: "2.7 %", "26 %"."""
    tenths = -int(-10 * percent // 1)
    return f"{-int(-percent // 1)} %" if tenths >= 100 else f"{tenths / 10:.1f} %"
