"""Follows the frames and says what the person at the stage can better, why a frame must not be counted, and what must be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from calibration.profile import CalibrationProfile
from device.camera.base import Frame
from device.camera.focus import NOT_SHARP, Focus, FocusMeter
from device.camera.quality import Exposure, exposure, sharpness
from device.display.inputs import Input, Kind
from device.display.pages import AskPage, Choice, CountPage, Page
from device.guidance.area import Area, Thickness, area_of
from device.guidance.drift import Drift
from device.guidance.watches import ObjectiveDoubt, ObjectiveWatch, SlideWatch
from device.language import N_, _
from device.slide.commands import Command, Wish
from device.slide.counting import Observation

_LEAST_WIDTH_PX = 640
"""Smaller frames show red cells too coarsely for their size or stain to stop a count."""


@dataclass(frozen=True)
class Answer:
    """What a person said to a question. asked: "objective" or "slide"; said: one word; found: what made us ask, in numbers.

    words: what becomes of it, to be translated where it is shown. doubtful: fields may have been counted that were not of
    this scale or slide. finish: the open slide ends.
    (A place on the film needs no word: at another scale nothing fits, so that the registration is lost and begins a new chart.)
    """

    asked: str
    said: str
    words: str
    found: dict[str, float | int | str | None]
    doubtful: bool = False
    finish: bool = False

    @property
    def kept(self) -> dict[str, float | int | str | None]:
        """What the record keeps of it."""
        return {"check": self.asked, "said": self.said, **self.found}


class Guide:
    """The guidance of one run. Used by the pipeline's thread only.

    stored: the pictures are files, whose focus nobody can turn. asks: False where nobody can change objective or slide: a doubt is said
    then, and nothing waits for an answer. known_slide_due: whether the slide of the day has still to be counted.
    """

    def __init__(
        self,
        profile: CalibrationProfile,
        objective: int,
        stored: bool = False,
        known_slide_due: Callable[[], bool] = bool,
        *,
        asks: bool = True,
    ) -> None:
        self._known_slide_due = known_slide_due
        self._profile, self._objective = profile, objective
        self._asks = asks
        self._meter = FocusMeter(can_turn=not stored)
        self._objective_watch = ObjectiveWatch(profile, objective)
        self._slide_watch = SlideWatch()
        self.focus = Focus(0.0, "", sharp=False)
        self.sharpness = 0.0
        self.area: Area | None = None
        self._judged = False  # the area of this rest
        self._light: Exposure | None = None
        self._drift = Drift.of(profile, objective)

    def look(self, frame: Frame, at_s: float, before: Observation) -> str:
        """Take in the next frame, at a monotonic time in seconds; why nothing of it may be counted, in words, or "".

        before: what was made of the frame before.
        """
        resting = before.resting
        if before.blank:  # a lost place alone is every-day: each move by more than a field loses it
            self._slide_watch.left()  # what comes next may be another slide
        self.sharpness = sharpness(frame.image)
        self.focus = self._meter.observe(self.sharpness, at_s, resting)
        self._light = exposure(frame.image)
        if resting:
            self._drift.observe(self._light)
        if not resting or before.blank:
            self._judged, self.area = False, None
        elif self.focus.sharp and not self._judged:
            self._judge(frame)
        if self.question is not None:
            return _("not counted: see the question")
        return "" if self.focus.sharp else _(NOT_SHARP)

    def _judge(self, frame: Frame) -> None:
        """Thick or thin, objective, slide: once a rest."""
        width = frame.size_px[0]
        self._judged = True
        self.area = area_of(frame.image, self._profile.um_per_px(self._objective, width))
        if self.area is not None and width >= _LEAST_WIDTH_PX:
            self._objective_watch.observe(self.area, width)
            self._slide_watch.observe(self.area)

    def new_slide(self) -> None:
        """Forget what belongs to the slide before."""
        self._meter.reset()
        self._slide_watch.reset()
        self._judged = False

    # ---- what must be asked

    @property
    def question(self) -> AskPage | None:
        """What a person has to say before counting goes on; None while nothing is to be asked."""
        doubt = self._objective_watch.doubt
        if not self._asks:
            return None
        if doubt is not None:
            return self._ask_objective(doubt)
        if self._slide_watch.doubt:
            return AskPage(
                _("Is this another slide?"),
                _("After the film was out of sight its stain and its red cells are different. Counting waits for your answer."),
                choices=(Choice("1", _("the same slide: go on")), Choice("2", _("another slide: finish the one before"))),
            )
        return None

    def _ask_objective(self, doubt: ObjectiveDoubt) -> AskPage:
        title = _("Which objective is in? The profile says {here}x.").format(here=self._objective)
        if doubt.likely is not None:
            title = _("Is the {other}x in? The profile says {here}x.").format(other=doubt.likely, here=self._objective)
        words = _("Red cells measure {um:.1f} µm by this profile; they should have 6.2 to 8.5 µm. Counting waits for your answer.")
        return AskPage(
            title,
            words.format(um=doubt.red_cell_um),
            choices=(
                Choice("1", _("the {here}x is in: go on").format(here=self._objective)),
                Choice("2", _("I have put the {here}x back: look again").format(here=self._objective)),
            ),
        )

    def page(self, shown: Page) -> Page:
        """What is shown: the question, while nothing else is asked and the count is in sight; otherwise `shown`."""
        return (self.question or shown) if isinstance(shown, CountPage) else shown

    def take(self, inputs: Sequence[Input], shown: Page) -> tuple[list[Input], list[Wish]]:
        """The inputs that are no answer to the question that is open, and the answers as wishes. shown: as for `page`."""
        question = self.question if isinstance(shown, CountPage) else None
        keys = () if question is None else tuple(choice.key for choice in question.choices)
        left: list[Input] = []
        wishes: list[Wish] = []
        for given in inputs:
            if given.kind in (Kind.KEY, Kind.PRESS) and given.word in keys:
                wishes.append(Wish(Command.ANSWER, reason=given.word))
            else:
                left.append(given)
        return left, wishes

    def answer(self, key: str) -> Answer | None:
        """Answer the question that is open by the key of a choice; None if none is open or the key is no choice."""
        doubt = self._objective_watch.doubt
        if key not in ("1", "2") or self.question is None:
            return None
        first = key == "1"
        if doubt is not None:
            found = {"red_cell_um": round(doubt.red_cell_um, 2), "objective": self._objective, "likely": doubt.likely}
            if first:
                self._objective_watch.accept()
            else:
                self._objective_watch.look_again()
            self._judged = False
            words = (
                N_("The objective is confirmed: counting goes on.")
                if first
                else N_("Measured again. Fields counted with another objective: take them back with U.")
            )
            return Answer("objective", "confirmed" if first else "changed back", words, dict(found), doubtful=not first)
        self._slide_watch.accept()
        return Answer("slide", "same" if first else "another", N_("The same slide: counting goes on."), {}, not first, not first)

    # ---- what is said

    def advice(self) -> Iterator[str]:
        """Sentences for the technician, the most urgent first; none while all is well."""
        light = self._light
        if light is not None and not light.good:
            yield _sentence(light.text)

    def late_advice(self) -> Iterator[str]:
        """The same, of what may wait until everything else was said."""
        doubt = self._objective_watch.doubt
        if doubt is not None and not self._asks:
            words = _("Red cells measure {um:.1f} µm by this profile; they should have 6.2 to 8.5 µm: the pictures' scale is another.")
            yield words.format(um=doubt.red_cell_um)
        if self._slide_watch.other_stain and not self._slide_watch.doubt:
            yield _("The stain differs from before the film was out of sight: is it the same slide?")
        if self.area is not None and self.area.thickness is not Thickness.GOOD:
            yield f"{self.area.words[:1].upper()}{self.area.words[1:]}."
        if self._known_slide_due():
            yield _("The known slide was not passed today: count it first (leukoscope qc).")
        if self._drift.words:
            yield self._drift.words
        elif self._light is not None and self._light.cast:
            yield _sentence(self._light.cast)


def _sentence(advice: str) -> str:
    """An advice of the camera's room in the language in use, as a sentence."""
    said = _("{words}.").format(words=_(advice))
    return f"{said[:1].upper()}{said[1:]}"
