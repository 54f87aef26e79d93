"""The row of keys of each page of a review: what stands on them, and which can be used now. What they do is the desk's business."""

from __future__ import annotations

from device.display.pages_review import Button
from device.language import _


def gallery_buttons(*, signed: bool, current: bool, accepts: bool, charts: int, own: bool) -> tuple[Button, ...]:
    """Of a group. current: a cell is chosen; accepts: the page may be accepted at once; charts: not yet acknowledged; own: counting
    can go on."""
    out = [
        _space(current),
        Button("ACCEPT", _("Shift+Space"), _("accept page"), accepts and not signed),
        Button("PAGEUP", _("PgUp"), _("group before")),
        Button("PAGEDOWN", _("PgDn"), _("next group")),
        Button("RETURN", _("Enter"), _("see field"), current),
        Button("V", "V", _("compare two"), current),
        _add(signed),
        _undo(signed),
    ]
    if charts:
        out.append(Button("K", "K", _("accept unjoined film"), not signed))
    out.append(Button("G", "G", _("signature") if signed else _("sign")))
    if signed or own:
        out.append(Button("C", "C", _("correct") if signed else _("count on")))
    out.append(Button("Q", "Q", _("leave")))
    return tuple(out)


def field_buttons(*, signed: bool, current: bool, adding: bool) -> tuple[Button, ...]:
    """Of a field. adding: a cell is being added."""
    return (
        _space(current and not adding),
        Button("B", "B", _("bare picture")),
        _add(signed),
        _undo(signed),
        Button("PAGEUP", _("PgUp"), _("field before")),
        Button("PAGEDOWN", _("PgDn"), _("next field")),
        Button("RETURN", _("Enter"), _("add nothing") if adding else _("back to the cells")),
    )


def compare_buttons(*, signed: bool) -> tuple[Button, ...]:
    """Of two cells side by side."""
    return (
        _space(True),
        Button("LEFT", _("Left"), _("left cell")),
        Button("RIGHT", _("Right"), _("right cell")),
        _undo(signed),
        Button("V", "V", _("back to the cells")),
    )


def sign_buttons(*, ready: bool) -> tuple[Button, ...]:
    """Of the signature; ready: nothing is in its way."""
    return Button("RETURN", _("Enter"), _("sign"), ready), Button("ESCAPE", _("Esc"), _("back to the cells"))


def slides_buttons(*, some: bool) -> tuple[Button, ...]:
    """Of the list of slides; some: there are any."""
    return (
        Button("UP", _("Up"), _("newer"), some),
        Button("DOWN", _("Down"), _("older"), some),
        Button("RETURN", _("Enter"), _("open for review"), some),
        Button("ESCAPE", _("Esc"), _("leave")),
    )


def _space(usable: bool) -> Button:
    return Button("SPACE", _("Space"), _("as told, next"), usable)


def _undo(signed: bool) -> Button:
    return Button("U", "U", _("undo"), not signed)


def _add(signed: bool) -> Button:
    return Button("I", "I", _("add a missed cell"), not signed)
