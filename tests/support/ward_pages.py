"""What the pages are given of a ward (tests/support/ward.py), as the server gives it: the context of every page by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from device.mqtt.payloads import SlideSummary
from device.supervisor import queries
from device.supervisor.rows import AuditRow, Filters, HealthPoint, HistoryRow, SecondRow, SlideRow, UserRow
from device.supervisor.web.pages import Reader, render
from tests.support.ward import NOW

PATHS = {
    "overview": "/", "devices": "/devices", "device": "/devices/clinic-1", "slides": "/slides?doubt=yes", "slide": "/slides/a/b",
    "login": "/login", "account": "/account", "users": "/users", "audit": "/audit", "error": "/nothing",
}  # fmt: skip


def contexts(session: Session, now: Any = NOW) -> dict[str, dict[str, Any]]:
    """Of every page, from a database that `ward` filled."""
    found = queries.slides(session, Filters())
    device = queries.device(session, "clinic-4")
    assert device is not None
    points = [HealthPoint(now - timedelta(minutes=10 * n), 8.0 + n % 3, 50.0 + n % 7, 20000.0 - n, n % 4) for n in range(60)]
    people = [UserRow("amina", "reviewer", True, "sw", now, now), UserRow("<b>root</b>", "admin", False, "", now, None)]
    return {
        "overview": {
            "devices": queries.devices(session), "waiting": queries.waiting(session, 5), "newest": found.rows[:5],
            "gaps": queries.open_gaps(session), "quarantined": 2, "overdue": queries.waiting(session, 2),
            "rejected": queries.rejected(session), "counts": queries.counts(session, now),
        },
        "devices": {"devices": queries.devices(session)},
        "device": {
            "device": device, "health": points, "history": queries.device_history(session, "clinic-4"), "slides": found.rows[:3],
            "gaps": queries.open_gaps(session, "clinic-4"),
        },
        "slides": {"page": found, "filters": Filters(q='"><script>', review="unreviewed"), "devices": ["clinic-1", "clinic-2"]},
        "slide": of_slide(session, found.rows[0]),
        "login": {"next": "/"},
        "account": {"name": "amina", "role": "reviewer", "language": "sw"},
        "users": {"users": people},
        "audit": {"entries": [AuditRow(now, "amina", "login", "<i>x</i>", "127.0.0.1", "")], "page": 1, "pages": 2},
        "error": {"words": "There is no such slide."},
    }  # fmt: skip


def of_slide(session: Session, row: SlideRow, **changes: Any) -> dict[str, Any]:
    """The context of a slide's page."""
    one = queries.slide(session, row.device_id, row.slide_id)
    assert one is not None
    return {
        "row": one.row, "summary": one.summary, "revisions": one.revisions, "history": one.history, "seconds": one.seconds,
        "may_second": True, "taken": one.taken, **changes,
    }  # fmt: skip


def of_summary(summary: SlideSummary, row: SlideRow, **changes: Any) -> dict[str, Any]:
    """The same of a summary that no database holds."""
    history = (HistoryRow(NOW, "summary", summary.device_id, "revision 0"), HistoryRow(NOW, "second", "amina", "<u>seen</u>"))
    seconds = (SecondRow(NOW, "amina", "AK", True, "<u>seen</u>", 1, ""),)
    given: dict[str, Any] = {"row": row, "summary": summary, "revisions": (row,), "history": history, "seconds": seconds}
    return given | {"may_second": True, "taken": "", **changes}


def drawn(name: str, context: dict[str, Any], language: str = "en", **reader: Any) -> str:
    """The HTML of a page for an admin, of the log-in for nobody."""
    user = "" if name == "login" else "amina"
    given = {"user": user, "role": "admin" if user else "", "csrf": "token", "path": PATHS[name], **reader}
    return render(name, Reader(language=language, **given), **context)
