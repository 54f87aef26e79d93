"""The one line that the technician reads below the picture: what just happened, what is wrong, what to do. Nothing is drawn here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from device.language import _, ngettext, speaking
from device.mqtt.publisher import BrokerStatus
from device.slide.ending import next_target
from device.slide.model import Field, Slide, SlideState
from device.slide.picture_state import PictureState, shown_faults
from device.slide.session import RefusedError
from device.slide.tally import Differential
from device.store.journal import JournalStatus

log = logging.getLogger(__name__)

IDENTIFY_S = 60.0
"""How long a line stands by which somebody far away finds the box."""

MESSAGE_S = 6.0
"""How long a message to the technician stands."""

Line = tuple[str, str]
"""Text and level: "ok", "busy", "warn" or "fail"."""

Words = Callable[[], str]
"""Says a sentence in the language in use: the screen's for who looks at it, English for the log and for who asked by command."""


def told(words: str, **values: object) -> Words:
    """`words` that were marked for translation (`N_`), with what is put into their places."""
    return lambda: _(words).format(**values)


@dataclass(frozen=True)
class Standing:
    """Words that stand for so many seconds, before all that happens meanwhile."""

    words: Words
    seconds: float

    def __call__(self) -> str:
        return self.words()


class Messages:
    """The newest message, and for how long it is fresh. monotonic_s: the clock by which it ages."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now = monotonic_s
        self._text, self._level, self._until_s = "", "ok", 0.0
        self._logged = ""
        self._standing: Standing | None = None
        self._standing_until_s = 0.0

    def say(self, words: Words, level: str = "ok") -> str:
        """Show for a while what `words` says, and log it in English; it therefore never holds what belongs to a patient. Gives the
        English back."""
        with speaking("en"):
            english = words()
        if english != self._logged:
            log.log({"ok": logging.INFO, "warn": logging.WARNING}.get(level, logging.ERROR), "%s", english)
        if isinstance(words, Standing):
            self._standing, self._standing_until_s = words, self._now() + words.seconds
            return english
        self._logged, self._text, self._level = english, words(), level
        self._until_s = self._now() + MESSAGE_S
        return english

    def fresh(self) -> Iterator[Line]:
        """What stands for a while, then the newest message while it is fresh."""
        if self._standing is not None and self._now() < self._standing_until_s:
            yield self._standing(), "warn"
        if self._now() < self._until_s:
            yield self._text, self._level


def identified(by: str) -> Words:
    """Somebody far away wants this box to be found."""
    if not by:
        return Standing(lambda: _("A supervisor asks for this box."), IDENTIFY_S)
    return Standing(lambda: _("A supervisor asks for this box ({name}).").format(name=by), IDENTIFY_S)


def of_journal(status: JournalStatus) -> Iterator[Line]:
    """That counted cells are not on the disk: before everything else."""
    if status.waiting:
        yield _("NOT SAVED, {n} waiting: {reason}").format(n=status.waiting, reason=status.reason), "fail"
    elif status.fails:
        yield _("The record cannot be used: {reason}").format(reason=status.reason), "fail"


def of_ground(old_ground: bool) -> Iterator[Line]:
    """That a slide was started and the glass of the one before still lies there; before all that was said of the start."""
    if old_ground:
        yield _("The slide before still lies under the objective and is not counted: change the slide."), "warn"


def of_report(folder: Path, fault: str) -> str:
    """Where the report of a signed slide lies, or why there is none."""
    if fault:
        return _("The report is not written: {reason}").format(reason=fault)
    return _("The report lies in {folder}").format(folder=folder)


def place_lost() -> str:
    """A field was counted of which nothing joins it to what was counted before."""
    return _("Position lost: cells here may have been counted. Go back to counted ground, or go on.")


def of_slide(slide: Slide | None, counted: Differential, resumed: str, put_to_review: str, damaged: str) -> Iterator[Line]:
    """What stands as long as the slide does so: it was taken up again, or waits at its target; before that the one that is damaged."""
    if damaged:
        yield (
            _("Slide {id} is damaged in the record and is not sent: count it again, and call the field team.").format(id=damaged),
            "fail",
        )
    if slide is None and put_to_review:
        yield put_to_review, "warn"
    elif slide is not None and resumed and slide.state is SlideState.PAUSED:
        yield resumed, "warn"
    elif slide is not None and reached(slide, counted):
        yield target_reached(slide, counted), "ok"
    if slide is not None and slide.is_open and slide.clock_fault:
        yield _("The clock is wrong or was set: the dates of this slide are not to be trusted."), "warn"


def target_reached(slide: Slide, counted: Differential) -> str:
    """What can be done at the target."""
    return _("Target reached: F to review, or G to go on to {n}.").format(n=next_target(slide.target_cells, counted))


def of_parts(
    failing: str, journal: JournalStatus, advice: Iterable[str], broker: BrokerStatus, recording: str, slide: Slide | None
) -> Iterator[Line]:
    """What is wrong and what to do about it, the worst first; advice: what the person at the stage can better."""
    if failing:
        yield _("The engine fails: {reason}").format(reason=failing), "fail"
    if journal.reason:
        yield journal.reason, "warn"
    yield from ((sentence, "warn") for sentence in advice)
    if broker.reason and (broker.state in ("refused", "lost") or broker.unheard):
        yield _("Messages wait here: {reason}").format(reason=broker.reason), "warn"
    if broker.late:
        sent = ngettext(
            "{n} message is sent and not confirmed by {receivers}.",
            "{n} messages are sent and not confirmed by {receivers}.",
            broker.late,
        )
        yield sent.format(n=broker.late, receivers=broker.receivers or _("a receiver")), "busy"
    if recording:
        yield _("No frames are recorded, the count goes on: {reason}").format(reason=recording), "warn"
    if slide is not None:
        yield from ((sentence, "warn") for sentence in PictureState.of(slide).sentences(only_grave=True))


def reached(slide: Slide, counted: Differential) -> bool:
    """Whether a slide waits at its target for a person to say how it goes on."""
    return slide.state is SlideState.PAUSED and 0 < slide.target_cells <= counted.white_cells


def was_open(slide: Slide) -> str:
    """The line of a slide that was taken up again; `slide` as the record has it."""
    asks = _("P goes on, F finishes, A aborts.")
    was = _("Slide {id} was left open.") if slide.state is SlideState.PAUSED else _("Slide {id} was open when the power went.")
    return f"{was.format(id=slide.slide_id)} {asks}"


def was_closed(slides: tuple[Slide, ...]) -> str:
    """That slides could not be counted on; "" where there are none."""
    if not slides:
        return ""
    ids = ", ".join(slide.slide_id for slide in slides)
    return ngettext(
        "Slide {ids} was left open and cannot be counted on: it waits for review.",
        "Slides {ids} were left open and cannot be counted on: they wait for review.",
        len(slides),
    ).format(ids=ids)


def counted_field(field: Field, again: bool = False) -> str:
    """That a field was counted, or counted again, and what is amiss with it."""
    cells = ngettext("{n} cell", "{n} cells", len(field.cells)).format(n=len(field.cells))
    if field.limit_met:
        cells = _("at least {cells}").format(cells=cells)
    if field.faults:
        cells += _("; the picture is {faults}").format(faults=shown_faults(field.faults))
    if field.naming_fault:
        cells += _("; not named anew, the second look failed: {reason}").format(reason=field.naming_fault)
    said = _("Field {n} counted again, sharper: {cells}.") if again else _("Field {n} counted: {cells}.")
    return said.format(n=field.index, cells=cells)


def level_of(field: Field) -> str:
    """The level at which that is said."""
    return "fail" if field.naming_fault else "warn" if field.faults else "ok"


def refused(error: RefusedError) -> str:
    """Why something was not done, as a sentence."""
    return f"{error.shown[:1].upper()}{error.shown[1:]}."


def finished(slide: Slide, counted: Differential) -> str:
    """The answer to F."""
    n = counted.white_cells
    cells = PictureState.of(slide).at_least + ngettext("{n} white cell", "{n} white cells", n).format(n=n)
    return _("Slide {id} finished: {cells}, for review.").format(id=slide.slide_id, cells=cells)


def aborted(slide: Slide, counted: Differential) -> str:
    """The answer to A; that something is kept only where something was counted. Without the reason, which a person typed."""
    kept = _("nothing had been counted") if not counted.white_cells else _("what was counted is kept in the record")
    return _("Slide {id} aborted: {kept}.").format(id=slide.slide_id, kept=kept)
