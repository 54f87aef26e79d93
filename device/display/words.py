"""The screen's words: attributes as phrases, states of slide and camera as sentences. No drawing."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from device.camera.base import CameraState, CameraStatus
from device.language import N_, _, in_use
from device.slide.model import ReviewState, Slide, SlideState
from engines.detections import Float32
from engines.taxonomy import Taxonomy

NOTICE = N_("UNREVIEWED — for review, not a diagnosis")
REVIEWED_NOTICE = N_("REVIEWED — an aid to review, not a diagnosis")
CORRECTED_NOTICE = N_("CORRECTED and REVIEWED — an aid to review, not a diagnosis")
REOPENED_NOTICE = N_("UNREVIEWED CORRECTION — for review, not a diagnosis")
SIMULATOR_NOTICE = N_("SIMULATOR — rendered film, not a patient")

DOUBT_BELOW = 0.65
"""An attribute whose most probable value is less probable than this bears a question mark."""


class Phrase(NamedTuple):
    """One attribute in words; a lower rank is more telling."""

    words: str
    rank: int


def attribute_phrases(attributes: Float32, taxonomy: Taxonomy) -> tuple[Phrase, ...]:
    """The known attributes of one cell in words ("open chromatin"), in the taxonomy's order; doubtful ones end in "?".

    attributes: (A,) float32 probabilities; groups with NaN are unknown and left out.
    """
    return phrases_of_cells(attributes[None], taxonomy)[0]


def phrases_of_cells(attributes: Float32, taxonomy: Taxonomy) -> tuple[tuple[Phrase, ...], ...]:
    """The same for all cells of a picture at once: attributes (N, A), phrases of each of the N."""
    vocabulary = _vocabulary(taxonomy, in_use())
    said = np.empty((len(attributes), len(vocabulary)), np.int64)
    known = np.empty(said.shape, bool)
    for place, group in enumerate(taxonomy.groups):
        values = attributes[:, group]
        highest = values.max(axis=1)  # NaN where any is
        known[:, place] = ~np.isnan(highest)
        said[:, place] = 2 * values.argmax(axis=1) + (highest < DOUBT_BELOW)
    rows = zip(said.tolist(), known.tolist(), strict=True)
    return tuple(tuple(words[i] for words, i, here in zip(vocabulary, *row, strict=True) if here) for row in rows)


@lru_cache(maxsize=8)
def _vocabulary(taxonomy: Taxonomy, language: str) -> tuple[tuple[Phrase, ...], ...]:
    """All that can be said of each attribute in `language`, the one in use: of its first value, of it in doubt, of its second value,
    and so on."""
    out = []
    last = max((rank for attribute in taxonomy.attributes for _, rank in attribute.telling), default=0)
    for place, attribute in enumerate(taxonomy.attributes):
        noun, ranks = attribute.noun or attribute.name.lower(), dict(attribute.telling)
        phrases: list[Phrase] = []
        for word in attribute.values:
            rank = ranks.get(word, last + 1 + place)
            english = f"{'no' if word == 'absent' else word} {noun}"  # which device.language.taxonomy puts into the catalogues
            words = _(english)
            phrases += (Phrase(words, rank), Phrase(_("{words}?").format(words=words), rank))
        out.append(tuple(phrases))
    return tuple(out)


def most_telling(phrases: tuple[Phrase, ...], at_most: int) -> tuple[str, ...]:
    """The words of the `at_most` most telling phrases, in their own order."""
    kept = set(sorted(phrases, key=lambda p: p.rank)[:at_most])
    return tuple(p.words for p in phrases if p in kept)


def notice(slide: Slide | None) -> str:
    """What stands beside every result: that nobody has reviewed it yet, or that it stays an aid; also of a signed slide that is opened
    again for a correction, and of a corrected one."""
    if slide is None or slide.review_state is not ReviewState.REVIEWED:
        return _(REOPENED_NOTICE if slide is not None and slide.revision else NOTICE)
    return _(CORRECTED_NOTICE if slide.revision > 1 else REVIEWED_NOTICE)


def slide_words(state: SlideState | None) -> tuple[str, str]:
    """Level and word of the slide's state, for the chip beside its id."""
    return {
        None: ("busy", _("no slide")),
        SlideState.IDLE: ("busy", _("no slide")),
        SlideState.COUNTING: ("ok", _("counting")),
        SlideState.PAUSED: ("warn", _("paused")),
        SlideState.REVIEW: ("busy", _("to review")),
        SlideState.SIGNED: ("ok", _("signed")),
        SlideState.ABORTED: ("fail", _("aborted")),
    }[state]


def stage_words(state: SlideState | None, resting: bool, counted: bool, held: str = "") -> tuple[str, str]:
    """Level and words on what becomes of the field that is seen now."""
    if state is SlideState.PAUSED:
        return "warn", _("paused: not counted")
    if state is not SlideState.COUNTING:
        return "busy", _("no slide open")
    if counted:
        return "ok", _("field counted: move on")
    if resting and held:
        return "warn", held
    return ("busy", _("counting: hold still")) if resting else ("busy", _("counts once it rests"))


def camera_words(camera: CameraStatus, counted: bool = False) -> tuple[str, str, str, str] | None:
    """Level, title, reason and what happens next, for the banner over an old picture; None while pictures come.

    counted: whether a slide has cells to be kept.
    """
    if camera.state is CameraState.OPENING:
        return "busy", _("Opening the camera"), camera.name, camera.reason
    if camera.state is CameraState.LOST:
        again = _("Trying again now.")
        if camera.retry_in_s is not None and math.isfinite(camera.retry_in_s) and camera.retry_in_s > 0:
            again = _("Trying again in {seconds} s.").format(seconds=math.ceil(camera.retry_in_s))
        return "fail", _("Camera lost"), camera.reason or camera.name, again + (" " + _("What was counted is kept.") if counted else "")
    if camera.state is CameraState.STALLED:
        return "warn", _("The picture stands still"), camera.reason or camera.name, _("Nothing is counted until it moves again.")
    if camera.state is CameraState.ENDED:
        after = _("All pictures of the source were shown.")
        if camera.skipped:
            names = ", ".join(picture.name for picture in camera.skipped)
            after = _("{count} could not be read: {names}").format(count=len(camera.skipped), names=names)
        return "busy", _("End of the pictures"), camera.reason or camera.name, after
    return None
