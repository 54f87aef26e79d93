"""How the count is looked at: from the bench or from afar, with boxes or bare, and which cell is told in words. No slide is changed."""

from __future__ import annotations

from dataclasses import replace

from device.display.inputs import Input, Kind
from device.display.pages import CountPage

BARE, FAR = "B", "Z"


def looked(page: CountPage, given: Input) -> CountPage | None:
    """The page after `given`; None where it says nothing about how the count is looked at."""
    if given.kind is Kind.PRESS and given.word == "picture":
        return replace(page, pointed=given.at)
    if given.word == BARE:
        return replace(page, bare=not page.bare)
    if given.word == FAR:
        return replace(page, far=not page.far)
    return None


def forgotten(page: CountPage) -> CountPage:
    """The page once another field is seen: what was pressed on is no longer there."""
    return page if page.pointed is None else replace(page, pointed=None)
