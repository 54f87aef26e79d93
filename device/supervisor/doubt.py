"""What of a summary is not to be relied on, judged here in the same way for the terminal, the lists and the pages."""

from __future__ import annotations

from collections import Counter

from device.camera.quality import PictureFault
from device.mqtt.payloads import SlideSummary
from device.slide.picture_state import PictureState
from engines.intervals import exact_interval


def picture_state(summary: SlideSummary) -> PictureState:
    """As the device judged it; without any fault where an older device did not say."""
    pictures = summary.pictures
    faults = Counter() if pictures is None else Counter({fault: getattr(pictures, fault.value) for fault in PictureFault})
    judged, blank_views = (0, 0) if pictures is None else (pictures.judged, pictures.blank_views)
    skipped = Counter() if pictures is None else Counter({each.kind: each.count for each in pictures.skipped})
    at_limit, first_look = summary.fields_at_limit or 0, summary.fields_first_look or 0
    return PictureState(summary.fields_counted, judged, faults, at_limit, blank_views, skipped, first_look)


def blast_range(summary: SlideSummary) -> tuple[float, float]:
    """Exact 95 % limits in per cent; of a zero the upper one leaves out the unidentified cells, any of which may be a blast."""
    count = summary.blasts.count
    low, high = exact_interval(count, summary.white_cells if count else summary.white_cells - summary.unidentified.count)
    return 100 * low, 100 * high


def is_doubtful(summary: SlideSummary) -> bool:
    """Whether something beside the counts says that they are not to be relied on: film, pictures, doubles, clock, an early end."""
    apart = bool(summary.possible_doubles or summary.lost_rests) or not summary.time_trusted or summary.state == "aborted"
    return apart or summary.film == "foreign" or bool(picture_state(summary).sentences(only_grave=True))
