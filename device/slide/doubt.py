"""What stands beside counts so that they do not reassure: a foreign film, what a zero leaves open, how far the engine is believed."""

from __future__ import annotations

from device.language import N_, _, number
from device.slide.picture_state import count_of
from device.slide.tally import Differential
from engines.intervals import exact_interval
from engines.naming import NamingInfo

FOREIGN = N_("This film is unlike the films that this engine knows: only groups are told, and they may be wrong; review all cells.")
UNKNOWN_SENSITIVITY = N_("How sensitive this engine is for blasts on this kind of film is not known: see its card.")


def sensitivity(naming: NamingInfo | None, foreign: bool | None = None) -> str:
    """One sentence on how far a count of blasts may be believed: the naming layer's own, or that it is not known (foreign films)."""
    return (naming.said if naming is not None and not foreign else "") or _(UNKNOWN_SENSITIVITY)


def zero_limit(differential: Differential) -> str:
    """What a zero of blasts leaves open, in words that follow it; empty where blasts were told."""
    return "" if differential.blasts else zero_words(differential.white_cells - differential.unidentified)


def zero_words(told: int) -> str:
    """What no blast among so many cells that were told as a type or group leaves open."""
    if not told:
        return _("no cell was told, so any share is possible")
    limit = limit_words(100 * exact_interval(0, told)[1])
    return _("of {cells} told, up to {limit} may be blasts unseen").format(cells=count_of(told, "cell"), limit=limit)


def limit_words(percent: float) -> str:
    """An upper limit in per cent, never rounded down: "2.7 %", "26 %"."""
    tenths = -int(-10 * percent // 1)
    return f"{-int(-percent // 1)} %" if tenths >= 100 else f"{number(tenths / 10, 1)} %"
