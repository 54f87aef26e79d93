"""The start page of a box that stays on: what Q leaves on the screen, and what can be done from there."""

from __future__ import annotations

from device.desk.service_page import KEY as SERVICE_KEY
from device.display.pages import AskPage, Choice
from device.language import _
from device.slide.model import Slide


def ready_page(slide: Slide | None) -> AskPage:
    """The page; `slide` is the one in hand."""
    if slide is not None and slide.is_open:  # no review beside it
        words = _("Slide {id} stays open, paused. The box stays on.").format(id=slide.slide_id)
        return AskPage(_("Ready"), words, choices=(Choice("P", _("Go on with the slide")),))
    choices = (
        Choice("S", _("Start a slide")),
        Choice("R", _("Review slides")),
        Choice(SERVICE_KEY, _("This box: version, update, support bundle")),
    )
    return AskPage(_("Ready"), _("No slide is open. The box stays on."), choices=choices)
