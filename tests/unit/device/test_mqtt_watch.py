"""The supervisor's terminal: what is shown of good and bad messages."""

from __future__ import annotations

import io
import json
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from device.demo.broker import free_port
from device.errors import BrokerError
from device.mqtt.client import Incoming
from device.mqtt.device_status import DeviceStatus, read_status
from device.mqtt.payloads import SlideSummary, read_summary
from device.mqtt.topics import Topics
from device.settings.broker import BrokerSection
from device.slide.doubt import FOREIGN, UNKNOWN_SENSITIVITY
from device.supervisor.inbox import Inbox
from device.supervisor.printing import render_status, render_summary
from device.supervisor.watch import watch


@pytest.fixture
def summary(repository: Path) -> SlideSummary:
    return read_summary((repository / "docs/schema/summary-1.example.json").read_bytes()).payload


@pytest.fixture
def status(repository: Path) -> DeviceStatus:
    return read_status((repository / "docs/schema/status-1.example.json").read_bytes()).payload


@pytest.fixture
def paper() -> Console:
    return Console(file=io.StringIO(), width=110, color_system=None)


def text(paper: Console) -> str:
    assert isinstance(paper.file, io.StringIO)
    return " ".join(paper.file.getvalue().split())  # as words: columns and line breaks are rich's business


@pytest.fixture
def inbox(paper: Console) -> Inbox:
    return Inbox(Topics("+"), paper)


def test_a_summary_shows_what_a_supervisor_must_see(summary: SlideSummary, paper: Console) -> None:
    paper.print(render_summary(summary))
    shown = text(paper)
    for needed in (
        "UNREVIEWED",
        "For review, not a diagnosis.",
        "SIMULATED FILM",
        "◆ Myeloblast 48 25.3",
        "unidentified 22 11.6",
        "artefacts (not counted) 12",
        "◆ Monoblast 16 8.4",
        "◆ Blast or equivalent, kind uncertain 6 3.2",
        "Other white cell, kind uncertain 5 2.6",
        "Blasts: 70 (36.8 %, 95 % range 30 to 44 %). Preliminary: a person must confirm every blast.",
        "naming layer attridet-n-open 1 9c9c9c9c (of open data)",
        "24 fields (1 undone)",
        "190 of 200 white cells",
        "Myeloblasts are mostly large",
        "cell size large (94%)",
        "attridet-n 1.0.0 fp32",
        "zzcat-5mp 1 100x, 0.0800 µm/px (nominal",
        str(summary.message_id),
    ):
        assert needed in shown
    assert shown.index("Myeloblast 48") < shown.index("Lymphocyte 36") < shown.index("Eosinophil 3")  # most frequent first
    assert "Basophil" not in shown  # not seen


def test_bars_are_as_long_as_the_share(summary: SlideSummary, paper: Console) -> None:
    paper.print(render_summary(summary))
    assert isinstance(paper.file, io.StringIO)
    bars = {line.split()[2]: line.count("█") for line in paper.file.getvalue().splitlines() if "◆ M" in line}
    assert bars == {"Myeloblast": 8, "Monoblast": 2}  # 25.3 % and 8.4 % of 32 columns, whole blocks


def test_doubts_are_shown(summary: SlideSummary, paper: Console) -> None:
    doubtful = summary.model_copy(
        update={"time_trusted": False, "skipped_pictures": 2, "state": "aborted", "abort_reason": "power", "description": ()}
    )
    paper.print(render_summary(doubtful))
    for needed in ("clock was not set", "2 pictures could not be read", "ABORTED: power"):
        assert needed in text(paper)


def test_a_zero_never_reassures(summary: SlideSummary, paper: Console) -> None:
    paper.width = 400  # no line breaks within sentences
    none = summary.blasts.model_copy(update={"count": 0, "percent": 0.0})
    zero = summary.model_copy(update={"blasts": none, "description": ()})
    paper.print(render_summary(zero))  # 190 white cells, 22 of them unidentified: 1 - .05 ** (1 / 168)
    assert "Blasts: 0. That does not exclude them: of 168 cells told, up to 1.8 % may be blasts unseen." in text(paper)
    assert str(none.sensitivity) in text(paper)
    older = none.model_copy(update={"sensitivity": None, "high_percent": None})
    paper.print(render_summary(zero.model_copy(update={"blasts": older})))
    assert text(paper).count("up to 1.8 %") == 2 and UNKNOWN_SENSITIVITY in text(paper)


def test_a_foreign_film_and_a_second_look_that_failed_are_said_first(summary: SlideSummary, paper: Console) -> None:
    paper.width = 400  # no line breaks within sentences
    paper.print(render_summary(summary.model_copy(update={"film": "foreign", "fields_first_look": 2, "description": (FOREIGN,)})))
    assert text(paper).count("only groups are told") == 1 and "! This film is unlike" in text(paper)
    assert "! In 2 fields the second look failed" in text(paper)


def test_text_from_the_network_cannot_steer_the_terminal(summary: SlideSummary, paper: Console) -> None:
    evil = summary.model_copy(update={"description": ("\x1b[2J[bold]x[/bold]\u202e",), "slide_id": "\x07s"})
    paper.print(render_summary(evil))
    assert "\x1b" not in text(paper)
    assert "\u202e" not in text(paper)
    assert "\x07" not in text(paper)
    assert "[bold]x[/bold]" in text(paper)  # shown, not obeyed


def test_status_lines(status: DeviceStatus) -> None:
    line = render_status(status, retained=True).plain
    assert line.startswith("clinic-7  ONLINE")
    for needed in ("camera ok: simulator", "slide 20250603-091402 counting, 74 of 200 white cells", "SIMULATED", "(last known)"):
        assert needed in line
    assert "OFFLINE (connection lost)" in render_status(status.last_will(status.sent_at)).plain
    stopped = render_status(status.stopped(status.sent_at).model_copy(update={"outbox_pending": 2})).plain
    assert "OFFLINE (switched off) since 2025-06-03 09:14:02" in stopped
    assert "2 waiting in the outbox" in stopped


def test_doubles_are_dropped_by_id(inbox: Inbox, summary: SlideSummary, paper: Console) -> None:
    topic = "leukoscope/clinic-7/summary"
    other = summary.model_copy(update={"message_id": UUID(int=1)})
    for each in (summary, summary, other, summary):
        inbox.take(Incoming(topic, each.to_bytes()))
    assert inbox.summaries == [summary, other]
    assert text(paper).count("came once more; dropped") == 2


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        ("leukoscope/clinic-7/summary", b"{", "not JSON"),
        ("leukoscope/clinic-7/summary", b"\x1b[2J", "not JSON"),
        ("leukoscope/clinic-7/summary", b"{}", "Field required"),
        ("leukoscope/clinic-7/status", b'{"schema": "leukoscope.status/9"}', "schema: Input should be 'leukoscope.status/1'"),
        ("leukoscope/clinic-7/summary", b" " * (2 << 20), "2097152 bytes"),
    ],
)
def test_a_bad_message_is_shown_as_such(inbox: Inbox, paper: Console, topic: str, payload: bytes, said: str) -> None:
    inbox.take(Incoming(topic, payload))
    assert inbox.summaries == []
    assert f"message on {topic} not understood" in text(paper)
    assert said in text(paper)
    assert "\x1b" not in text(paper)


def test_a_summary_on_the_wrong_topic_is_not_believed(inbox: Inbox, summary: SlideSummary, paper: Console) -> None:
    inbox.take(Incoming("leukoscope/clinic-8/summary", summary.to_bytes()))
    assert inbox.summaries == []
    assert "device_id is clinic-7, but the topic belongs to clinic-8" in text(paper)


def test_unknown_fields_are_told_and_the_rest_is_shown(inbox: Inbox, summary: SlideSummary, paper: Console) -> None:
    newer = {**json.loads(summary.to_bytes()), "haemoglobin_g_per_l": 131}
    inbox.take(Incoming("leukoscope/clinic-7/summary", json.dumps(newer).encode()))
    assert inbox.summaries == [summary]
    assert "does not know" in text(paper)
    assert "haemoglobin_g_per_l" in text(paper)


def test_a_status_that_was_removed(inbox: Inbox, paper: Console) -> None:
    inbox.take(Incoming("leukoscope/clinic-7/status", b""))
    assert "clinic-7: its status was removed" in text(paper)


def test_a_device_that_cannot_be_one_is_told() -> None:
    with pytest.raises(BrokerError, match="device id 'Jane Doe'"):
        watch(BrokerSection(), device="Jane Doe")


def test_a_broker_that_is_away_is_waited_for_and_told_once(paper: Console) -> None:
    port = free_port()
    assert watch(BrokerSection(host="127.0.0.1", port=port), timeout_s=1.2, console=paper) == []
    assert text(paper) == f"no broker listens on 127.0.0.1:{port}; start it, or mend broker.host and broker.port; trying again"


def signed(summary: SlideSummary, revision: int = 1) -> SlideSummary:
    """The summary as a person signed it, with two nucleated red cells."""
    assert summary.review is not None
    assert summary.apart is not None
    when = summary.finished_at
    named = {"reviewer": "AB", "signed_at": when, "reason": "thin film", "changed_cells": 3, "added_cells": 1}
    review = summary.review.model_copy(update={**named, "corrected": revision > 1})
    apart = tuple(row.model_copy(update={"count": 2, "per_100": 1.05}) if row.key == "nrbc" else row for row in summary.apart)
    blasts = summary.blasts.model_copy(update={"confirmed": True})
    doubles = {"charts": 2, "possible_doubles": 7}
    changed = {"review_state": "reviewed", "revision": revision, "review": review, "apart": apart, "blasts": blasts, **doubles}
    return summary.model_copy(update=changed)


def test_a_signed_summary_says_its_revision_who_signed_and_what_changed(summary: SlideSummary, paper: Console) -> None:
    paper.print(render_summary(signed(summary)))
    shown = text(paper)
    assert "revision 1, reviewed" in shown
    assert "Blasts: 70 (36.8 %, 95 % range 30 to 44 %). A person opened each of them and signed." in shown
    assert "Not in the differential: Nucleated red cell 2 (1.1 per 100)." in shown
    assert "by AB: 3 cells changed, 1 added; thin film." in shown
    assert "2 pieces of film were never joined: 7 cells at most may be counted twice." in shown
    assert "UNREVIEWED" not in shown
    assert "Preliminary" not in shown


def test_a_corrected_summary_says_that_it_takes_the_place_of_another(summary: SlideSummary, paper: Console) -> None:
    paper.print(render_summary(signed(summary, revision=2)))
    assert "revision 2, reviewed, CORRECTED: it takes the place of the one before" in text(paper)


def test_both_revisions_of_a_slide_are_shown(inbox: Inbox, summary: SlideSummary, paper: Console) -> None:
    later = signed(summary).model_copy(update={"message_id": UUID(int=1)})
    for one in (summary, later, later):
        inbox.take(Incoming(f"leukoscope/{one.device_id}/summary", one.to_bytes()))
    assert text(paper).count("revision 1, reviewed") == 2  # above and below, once
    assert text(paper).count("UNREVIEWED") == 2


def test_the_first_blast_is_a_line_of_its_own_at_once(inbox: Inbox, status: DeviceStatus, paper: Console) -> None:
    assert status.slide is not None
    before = status.model_copy(update={"slide": status.slide.model_copy(update={"blast_seen": False, "white_cells": 73})})
    for one in (before, status, status):
        inbox.take(Incoming(f"leukoscope/{one.device_id}/status", one.to_bytes()))
    assert text(paper).count("A BLAST OR EQUIVALENT WAS SEEN") == 1


def test_a_first_blast_is_loud_and_once_and_signatures_have_a_line_each(repository: Path) -> None:
    file = io.StringIO()
    terminal = Console(file=file, width=400, force_terminal=True, color_system="standard", highlight=False)
    inbox = Inbox(Topics("+"), terminal, receiver="ward")
    event = (repository / "docs/schema/event-1.example.json").read_bytes()
    review = json.loads((repository / "docs/schema/review-1.example.json").read_bytes())
    device, slide = json.loads(event)["device_id"], json.loads(event)["slide_id"]
    for _ in range(2):
        inbox.take(Incoming(f"leukoscope/{device}/event", event))
    shown = file.getvalue()
    assert shown.count("First cell told as a blast or equivalent") == 1 and shown.count("\a") == 1
    assert "\x1b[1;31m" in shown and f"slide {slide}" in shown  # bold and red
    assert "UNREVIEWED" in shown and "For review, not a diagnosis." in shown
    assert f"event of slide {slide} came once more; dropped" in shown
    for number, act in enumerate(("signed", "seconded", "reopened")):
        said = review | {"act": act, "message_id": str(UUID(int=number)), "second": "CD" if act == "seconded" else ""}
        inbox.take(Incoming(f"leukoscope/{review['device_id']}/review", json.dumps(said).encode()))
    shown = file.getvalue()
    for words in ("was signed, revision", "was signed by a second person, revision", "was opened again for a correction, revision"):
        assert shown.count(words) == 1
    assert shown.count("\a") == 1
    (topic, receipt), *rest = inbox.confirmations()
    assert topic == f"leukoscope/{device}/receipt" and len(json.loads(receipt)["message_ids"]) >= 4 and rest == []
    inbox.take(Incoming("leukoscope/another/event", event))
    assert "but the topic belongs to another" in file.getvalue() and inbox.confirmations() == []
