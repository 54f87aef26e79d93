"""The supervisor's pages as HTML: in four languages, everything escaped, nothing inline, the notice everywhere, doubt beside counts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from device.language import LANGUAGES, speaking
from device.mqtt.payloads import SlideSummary, read_summary
from device.supervisor import queries
from device.supervisor.rows import Filters, HealthPoint, SlideRow
from device.supervisor.web import charts, languages, pages, slide_page, words
from tests.support.ward import MESSAGES, NOW, example, new_database, ward, without_blasts
from tests.support.ward_pages import PATHS, contexts, drawn, of_slide, of_summary

VOID = {"meta", "link", "input", "img", "br"}
FOREIGN_WORDS = "This film is unlike the films that this engine knows"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    engine = new_database(tmp_path_factory.mktemp("ward") / "ward.sqlite")
    ward(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


@pytest.fixture(scope="module")
def given(session: Session) -> dict[str, dict[str, Any]]:
    return contexts(session)


@pytest.fixture(scope="module")
def row(session: Session) -> SlideRow:
    return queries.slides(session, Filters()).rows[0]


class Page(HTMLParser):
    """Collects what the tests ask of a page, and holds that its tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def read(document: dict[str, Any]) -> SlideSummary:
    return read_summary(json.dumps(document).encode()).payload


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PATHS)
def test_every_page_is_sound_in_every_language(name: str, language: str, given: dict[str, dict[str, Any]]) -> None:
    html = drawn(name, given[name], language)
    page = Page(html)
    with speaking(language):
        notice = words.told("For review, not a diagnosis.")
    assert text_of(html).count(notice) == 2
    [root] = page.all("html")
    assert (root["lang"], root["dir"]) == (language, "rtl" if language == "ur" else "ltr")
    ids = [attributes["id"] for _tag, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids)), "an id stands twice"
    labels = {attributes.get("for") for attributes in page.all("label")}
    for tag in ("input", "select"):
        for one in page.all(tag):
            named = one.get("type") in ("hidden", "radio") or one.get("aria-label") or one.get("id") in labels
            assert named, one
    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert all(attributes.get("role") == "table" for attributes in page.all("table"))
    assert html.count("<caption") == len(page.all("table"))


@pytest.mark.parametrize("name", PATHS)
def test_nothing_is_inline_and_what_others_wrote_is_only_text(name: str, given: dict[str, dict[str, Any]]) -> None:
    page = Page(drawn(name, given[name], fault="<img src=x onerror=alert(1)>"))
    assert not page.all("style")
    assert all(script.get("src") for script in page.all("script"))
    assert "i" not in {tag for tag, _ in page.tags}
    assert all((image.get("src") or "").startswith("data:image/jpeg;base64,") for image in page.all("img"))
    for _tag, attributes in page.tags:
        assert "style" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
    for form in page.all("form"):
        assert form["method"] in ("get", "post")
    html = drawn(name, given[name])
    for form in re.findall(r'<form[^>]*method="post".*?</form>', html, re.S):
        assert '<input type="hidden" name="csrf" value="token">' in form


@pytest.mark.parametrize("language", LANGUAGES)
def test_before_anything_was_heard_no_page_reassures(language: str, tmp_path: Path) -> None:
    engine = new_database(tmp_path / "empty.sqlite")
    with Session(engine) as session:
        nothing: dict[str, dict[str, Any]] = {
            "overview": {
                "devices": [], "waiting": [], "overdue": [], "newest": [], "gaps": [], "quarantined": 0, "rejected": [],
                "counts": queries.counts(session, NOW),
            },
            "devices": {"devices": []},
            "slides": {"page": queries.slides(session, Filters()), "filters": Filters(), "devices": []},
            "audit": {"entries": [], "page": 1, "pages": 1},
        }  # fmt: skip
        for name, context in nothing.items():
            Page(drawn(name, context, language))
        text = text_of(drawn("overview", nothing["overview"]))
    engine.dispose()
    assert "That says nothing about films that were not counted, or not sent." in text


def test_a_blast_on_a_slide_that_is_open_now_is_told_at_once(given: dict[str, dict[str, Any]]) -> None:
    seen = [row for row in given["overview"]["devices"] if row.status and row.status.slide and row.status.slide.blast_seen]
    heard = [replace(row, heard_at=datetime.now(timezone.utc), silent=False) for row in seen]
    text = text_of(drawn("overview", given["overview"] | {"devices": heard}))
    assert heard and "Now under the microscope" in text and "a blast or equivalent was seen, unreviewed" in text
    late = [replace(row, heard_at=NOW - timedelta(days=9)) for row in heard]
    assert "Now under the microscope" not in text_of(drawn("overview", given["overview"] | {"devices": late}))


def test_addresses_bear_the_proxy_s_prefix(given: dict[str, dict[str, Any]]) -> None:
    for name in PATHS:
        page = Page(drawn(name, given[name], prefix="/blood"))
        addresses = [
            attributes.get(key) for _tag, attributes in page.tags for key in ("href", "action", "src", "hx-get", "sse-connect")
        ]
        assert all(at is None or at.startswith(("/blood/", "#", "data:")) for at in addresses)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_of_every_form_has_its_page(language: str, row: SlideRow) -> None:
    for path in sorted(MESSAGES.glob("*/*-summary-*.json")):
        summary = read_summary(path.read_bytes()).payload
        html = drawn("slide", of_summary(summary, row), language)
        Page(html)
        assert summary.model.version in html
        assert ("repeating" in html) is False
        assert ('class="box sim"' in html) is summary.source.simulated


def test_a_zero_stands_with_what_it_leaves_open(row: SlideRow) -> None:
    summary = read(without_blasts(example()))
    text = text_of(drawn("slide", of_summary(summary, row)))
    told = summary.white_cells - summary.unidentified.count
    assert f"That does not exclude them: of {told} cells told, up to 1.8 % may be blasts unseen." in text
    assert summary.blasts.sensitivity is not None and summary.blasts.sensitivity in text
    in_a_list = replace(row, blasts=0, blast_percent=0.0, blast_low=0.0, blast_high=1.77, at_least=False)
    listed = text_of(drawn("slides", {"page": Rows((in_a_list,)), "filters": Filters(), "devices": []}))
    assert "up to 1.8 % possible" in listed
    unsaid = text_of(drawn("slides", {"page": Rows((replace(in_a_list, blast_high=None),)), "filters": Filters(), "devices": []}))
    assert "does not exclude them" in unsaid


class Rows:
    """One page of a list."""

    def __init__(self, rows: tuple[SlideRow, ...], page: int = 1, pages: int = 1) -> None:
        self.rows, self.page, self.pages, self.total = rows, page, pages, len(rows)


def test_doubt_stands_before_the_counts_and_blasts_are_preliminary_until_a_person_confirmed_them(row: SlideRow) -> None:
    grave = example() | {
        "film": "foreign",
        "possible_doubles": 7,
        "charts": 2,
        "fields_at_limit": 3,
        "time_trusted": False,
        "lost_rests": 1,
    }
    text = text_of(drawn("slide", of_summary(read(grave), row)))
    for said in (
        FOREIGN_WORDS,
        "2 pieces of film were never joined: 7 cells at most",
        "In 3 fields more cells were found",
        "clock was not set",
    ):
        assert said in text
        assert text.index(said) < text.index("Differential")
    assert f"at least {grave['blasts']['count']}" in text
    assert f"at least {grave['white_cells']}" in text
    assert "Preliminary: a person must confirm every blast." in text
    assert "Confirmed" not in text
    signed = read(json.loads(next(MESSAGES.glob("1.3/*-summary-signed.json")).read_bytes()))
    of_person = text_of(drawn("slide", of_summary(signed, replace(row, review_state="reviewed"))))
    assert "Confirmed: a person opened every blast by itself and signed." in of_person
    assert "Preliminary" not in of_person
    assert "Before and after the review" in of_person


def test_before_and_after_are_marked_where_they_differ() -> None:
    signed = read(json.loads(next(MESSAGES.glob("1.3/*-summary-signed.json")).read_bytes()))
    view = slide_page.of(signed)
    differing = {change.name: (change.before, change.after) for change in view.changes if change.before != change.after}
    assert differing == {"Basophil": (0, 1), "Blast or equivalent, kind uncertain": (4, 3)}
    assert [line.name for line in view.lines][:1] == ["Blast or equivalent, kind uncertain"]
    low, high = next((line.low, line.high) for line in view.lines if line.name == "Lymphoblast")
    assert (round(low, 1), round(high, 1)) == (0.5, 71.6)  # 1 of 5 by Clopper and Pearson


def test_pictures_of_blasts_stand_with_what_they_are_told_as_and_those_left_out_are_counted(row: SlideRow) -> None:
    picture = {"cell_id": 7, "name": "Myeloblast", "equivalent": False, "certainty": 0.61, "jpeg": "/9j/AAAA"}
    document = example() | {"crops": [picture, picture | {"cell_id": 9, "name": "<b>x</b>"}], "crops_left_out": 3}
    html = drawn("slide", of_summary(read(document), row), "fr")
    images = Page(html).all("img")
    assert [image["alt"] for image in images] == ["Myéloblaste", "<b>x</b>"]
    assert {image["src"] for image in images} == {"data:image/jpeg;base64,/9j/AAAA"}
    assert "cellule 7" in html and "3 étaient trop grandes" in html
    assert not Page(drawn("slide", of_summary(read(document | {"crops": [], "crops_left_out": 0}), row))).all("img")


def test_second_signature_is_asked_of_reviewers_alone(session: Session, row: SlideRow) -> None:
    context = of_slide(session, row)
    assert "/second" in drawn("slide", context, role="reviewer")
    assert "/second" not in drawn("slide", context, role="viewer")
    assert "/second" not in drawn("slide", context | {"may_second": False}, role="admin")


def test_a_device_that_is_silent_lost_or_not_heard_lately_is_never_called_online(given: dict[str, dict[str, Any]]) -> None:
    rows = {row.device_id: row for row in given["devices"]["devices"]}
    assert {name: words.device_lamp(row, NOW).kind for name, row in rows.items()} == {
        "clinic-1": "ok", "clinic-2": "fail", "clinic-3": "off", "clinic-4": "silent",
    }  # fmt: skip
    before_the_alarm = replace(rows["clinic-4"], silent=False, silent_since=None)
    assert words.device_lamp(before_the_alarm, NOW).kind == "unknown"
    assert words.device_lamp(rows["clinic-1"], NOW + timedelta(minutes=4)).kind == "unknown"


def test_a_pause_in_what_was_heard_is_a_gap_in_the_line() -> None:
    points = [HealthPoint(NOW + timedelta(minutes=m), float(m), None, None, None) for m in (0, 1, 2, 3, 50, 51)]
    drawn_line = charts.line(points, "fps")
    assert drawn_line is not None and len(drawn_line.paths) == 2
    assert charts.line(points, "temperature_c") is None
    assert charts.scale(9.0) == 10.0 and charts.scale(26.0) == 50.0 and charts.scale(100.0) == 100.0


@pytest.mark.parametrize(
    ("account", "cookie", "header", "code"),
    [
        ("sw", "fr", "ur", "sw"), ("", "fr", "ur", "fr"), ("", "xx", "ur-PK, en;q=0.4", "ur"), ("", "", "de, fr;q=0.7, sw;q=0.8", "sw"),
        ("", "", "", "en"), ("", "", "fr;q=0, sw;q=x, *", "en"), ("de", "", ",;,;q=", "en"), ("", "", "a" * 100_000 + ",fr", "en"),
    ],
)  # fmt: skip
def test_language_is_the_account_s_the_cookie_s_then_the_browser_s(account: str, cookie: str, header: str, code: str) -> None:
    assert languages.choose(account, cookie, header) == code


def test_times_are_utc_and_say_when_the_clock_was_not_set() -> None:
    assert words.moment(NOW) == "2026-11-30 12:00 UTC"
    assert words.moment(NOW, trusted=False) == "2026-11-30 12:00 UTC ?"
    assert [words.ago(NOW - timedelta(seconds=s), NOW) for s in (-5, 59, 61, 7200, 86400 * 3)] == [
        "just now", "just now", "1 min ago", "2 h ago", "3 days ago",
    ]  # fmt: skip
    with speaking("ur"):
        assert words.share(36.84) == "\u206636.8\u00a0%\u2069"


def test_foreign_files_are_those_that_the_notice_names() -> None:
    notice = (pages.STATIC / "NOTICE.txt").read_text(encoding="utf-8")
    for name in ("htmx.min.js", "htmx-sse.min.js"):
        assert hashlib.sha256((pages.STATIC / name).read_bytes()).hexdigest() in notice
    assert "Zero-Clause BSD" in notice
    ours = {path.name for path in pages.STATIC.iterdir()}
    assert ours == {"NOTICE.txt", "htmx.min.js", "htmx-sse.min.js", "supervisor.css", "supervisor.js", "mark.svg"}


# ---- contrast of every pair of colours that stands on one another


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{3,6})", block))


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


STYLE = (Path(pages.STATIC) / "supervisor.css").read_text(encoding="utf-8")
ROOTS = re.findall(r":root \{(.*?)\}", STYLE, re.S)
ON_GROUNDS = ("page", "panel", "wash", "fresh")
TEXT = [(name, ground) for name in ("ink", "soft", "link", "red") for ground in ON_GROUNDS]
TEXT += [(name, f"{name}-wash") for name in ("amber", "red", "green", "violet")]
TEXT += [("violet", "panel"), ("on", "main"), ("soft", "red-wash"), ("ink", "red-wash")]
SHAPES = [(name, ground) for name in ("cell", "none", "green", "lamp-warn", "violet") for ground in ("panel", "page")]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_words_have_a_contrast_of_four_and_a_half_and_shapes_of_three(mode: str) -> None:
    light = colours(ROOTS[0])
    used = light if mode == "light" else {**light, **colours(ROOTS[1])}
    weak = {pair: round(contrast(used[pair[0]], used[pair[1]]), 2) for pair in TEXT if contrast(used[pair[0]], used[pair[1]]) < 4.5}
    faint = {pair: round(contrast(used[pair[0]], used[pair[1]]), 2) for pair in SHAPES if contrast(used[pair[0]], used[pair[1]]) < 3}
    assert weak == {} and faint == {}
