"""The supervisor's pages in a real headless Chromium, served by the real server behind a real mosquitto."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, BrowserContext, expect

from device.language import LANGUAGES, speaking
from device.supervisor.web import words
from tests.support.ward import MESSAGES, summary
from tests.support.ward_site import PASSWORD, Complaints, Ward, chromium, log_in, running

pytestmark = pytest.mark.integration
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
SIGNED = json.loads(next(MESSAGES.glob("1.3/*-summary-signed.json")).read_bytes())
FIRST = f"{SIGNED['device_id']}/{SIGNED['slide_id']}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with running(tmp_path_factory.mktemp("site")) as at:
        at.publish("summary", SIGNED)
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def context(browser: Browser, site: Ward) -> Iterator[BrowserContext]:
    """A browser of somebody who is not logged in; nothing that it complains of goes unseen."""
    made, heard = browser.new_context(viewport=DESK, locale="en-GB", accept_downloads=True), Complaints()
    made.set_default_timeout(30_000)
    made.on("page", heard.hears)
    yield made
    made.close()
    assert heard == []


def test_log_in_roles_and_log_out(context: BrowserContext, site: Ward) -> None:
    page = context.new_page()
    page.goto(f"{site.address}/slides?review=unreviewed")
    expect(page).to_have_url(re.compile(r"/login\?next=/slides"))
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.get_by_label("Name").fill("vera")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.address}/slides?review=unreviewed")
    expect(page.get_by_role("link", name="Users")).to_have_count(0)
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Slides")).to_have_attribute("aria-current", "page")
    page.goto(f"{site.address}/slides/{FIRST}")
    expect(page.get_by_role("button", name="Sign as second")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_slide_arrives_without_reload_and_takes_no_focus(context: BrowserContext, site: Ward) -> None:
    page = log_in(context, site, "vera")
    page.goto(f"{site.address}/slides")
    page.evaluate("window.untouched = true")
    search = page.get_by_label("Slide or specimen")
    search.click()
    page.keyboard.type("half a wo")
    now = datetime.now(timezone.utc).isoformat()
    slide = f"arrived-{uuid.uuid4().hex[:6]}"
    site.publish("summary", summary("clinic-9", slide, started_at=now, finished_at=now))
    row = page.locator("tr.arrived")
    expect(row).to_contain_text(slide)
    expect(row).to_contain_text("preliminary")
    expect(page.get_by_role("status").filter(has_text="New: 1")).to_have_count(1)
    page.keyboard.type("rd")
    expect(search).to_be_focused()
    assert search.input_value() == "half a word"
    assert page.evaluate("window.untouched") is True
    with page.expect_request(lambda request: "hx-request" in request.headers):  # what was missed while the connection was lost
        page.evaluate(
            "for (const name of ['htmx:sseError', 'htmx:sseOpen']) document.body.dispatchEvent(new Event(name, {bubbles: true}))"
        )
    page.goto(f"{site.address}/")
    expect(page.locator("main")).to_contain_text(slide)


def test_slides_are_found_by_filters_and_pages(context: BrowserContext, site: Ward) -> None:
    page = log_in(context, site, "vera")
    page.goto(f"{site.address}/slides")
    rows = page.locator("tbody tr[data-row]")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("page 2 of 3")).to_be_visible()
    page.get_by_label("Review").select_option("unreviewed")
    page.get_by_label("Blasts and equivalents").select_option("no")
    page.get_by_role("button", name="Find").click()
    assert rows.count() > 3
    for text in rows.all_inner_texts():
        assert "Unreviewed" in text or "unreviewed" in text
        assert "possible" in text or "does not exclude them" in text
    page.get_by_label("Slide or specimen").fill(SIGNED["slide_id"])
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("No slide here.")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Slide or specimen").fill(SIGNED["slide_id"])
    page.get_by_role("button", name="Find").click()
    expect(rows).to_have_count(1)
    with page.expect_download() as waited:
        page.get_by_role("link", name="Table (CSV)").click()
    found = list(csv.DictReader(io.StringIO(Path(waited.value.path()).read_text(encoding="utf-8"))))
    assert [row["slide"] for row in found] == [SIGNED["slide_id"]]


def test_one_slide_is_handed_on_as_csv_and_fhir(context: BrowserContext, site: Ward) -> None:
    page = log_in(context, site, "vera")
    page.goto(f"{site.address}/slides/{FIRST}")
    with page.expect_download() as waited:
        page.get_by_role("link", name="Table (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(waited.value.path()).read_text(encoding="utf-8"))))
    assert {row["review_state"] for row in rows} == {"reviewed"}
    with page.expect_download() as waited:
        page.get_by_role("link", name="FHIR").click()
    bundle = json.loads(Path(waited.value.path()).read_bytes())
    Bundle.model_validate(bundle)
    assert bundle["entry"][0]["resource"]["status"] == "final"


def test_a_second_person_signs_and_an_open_page_of_the_slide_says_that_there_is_news(context: BrowserContext, site: Ward) -> None:
    page = log_in(context, site, "amina")
    other = context.new_page()
    other.goto(f"{site.address}/slides/{FIRST}")
    expect(other.locator("#newer")).to_be_hidden()
    page.goto(f"{site.address}/slides/{FIRST}")
    page.get_by_label("I agree with what was signed").check()
    page.get_by_label("Your initials").fill("AK")
    page.get_by_label("Remark").fill("seen <b>all</b>")
    page.get_by_label("Your password, once more").fill(PASSWORD)
    page.get_by_role("button", name="Sign as second").click()
    expect(page.get_by_text("AK agrees")).to_be_visible()
    expect(page.locator(".second")).to_contain_text("seen <b>all</b>")
    expect(page.get_by_role("button", name="Sign as second")).to_have_count(0)
    expect(other.locator("#newer")).to_be_visible()


def test_a_chosen_language_stays_and_urdu_runs_from_right_to_left(context: BrowserContext, site: Ward) -> None:
    page = log_in(context, site, "vera")
    page.get_by_role("button", name="اردو").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    brand, tongues = page.locator(".brand").bounding_box(), page.locator(".tongues").bounding_box()
    assert brand is not None and tongues is not None
    assert brand["x"] > tongues["x"]
    widths = page.evaluate(
        """() => {
          const draw = document.createElement('canvas').getContext('2d');
          draw.font = '40px ' + getComputedStyle(document.body).fontFamily;
          const word = document.querySelector('h1').textContent.trim();
          const apart = Array.from(word).reduce((sum, letter) => sum + draw.measureText(letter).width, 0);
          return [draw.measureText(word).width, apart];
        }"""
    )
    assert widths[0] < 0.9 * widths[1], "letters are not joined"
    page.goto(f"{site.address}/devices")
    expect(page.locator("html")).to_have_attribute("lang", "ur")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


PATHS = ("/", "/devices", "/devices/clinic-4", "/slides", f"/slides/{FIRST}", "/slides?q=none", "/account", "/users", "/audit", "/none")


MEASURE = """() => {
  const small = [];
  for (const one of document.querySelectorAll('button, .button, nav a, select, input:not([type=hidden]), .cards th > a')) {
    const box = one.getBoundingClientRect();
    const side = one.closest('label') ? one.closest('label').getBoundingClientRect().height : box.height;
    if (box.width && side < 43.5) small.push(one.outerHTML.slice(0, 80));
  }
  return {over: document.documentElement.scrollWidth - window.innerWidth, small,
          unnamed: [...document.querySelectorAll('a, button')].filter(e => !e.textContent.trim() && !e.ariaLabel).length};
}"""


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_scrolls_sideways_and_a_thumb_finds_every_button(language: str, context: BrowserContext, site: Ward) -> None:
    page = log_in(context, site, "root")
    context.add_cookies([{"name": "language", "value": language, "url": site.address}])
    with speaking(language):
        notice = words.told("For review, not a diagnosis.")
    faults = []
    for path in PATHS:
        page.set_viewport_size(PHONE)
        page.goto(f"{site.address}{path}", wait_until="load")
        assert page.locator("html").get_attribute("lang") == language
        assert page.get_by_text(notice).first.is_visible()
        on_phone = page.evaluate(MEASURE)
        page.set_viewport_size(DESK)
        on_desk = page.evaluate(MEASURE)
        faults += [f"{path} at 360: {on_phone}"] if on_phone["over"] > 0 or on_phone["small"] or on_phone["unnamed"] else []
        faults += [f"{path} at 1280: {on_desk}"] if on_desk["over"] > 0 else []
    assert faults == []


def test_a_printed_slide_bears_notice_state_and_model_on_every_page(context: BrowserContext, site: Ward, tmp_path: Path) -> None:
    page = log_in(context, site, "amina")
    page.goto(f"{site.address}/slides/{FIRST}")
    paper = tmp_path / "slide.pdf"
    page.pdf(path=str(paper), prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert pages in (1, 2)
    page.emulate_media(media="print")
    expect(page.locator(".notice")).to_be_visible()
    expect(page.locator(".notice")).to_have_css("display", "table-footer-group")
    for line in ("For review, not a diagnosis.", "Reviewed", SIGNED["slide_id"], "attridet-n 2.0.0", "SIMULATED"):
        expect(page.locator(".notice")).to_contain_text(line)
    for hidden in ("nav", ".tongues", ".act"):
        expect(page.locator(hidden).first).to_be_hidden()
    if (reader := shutil.which("pdftotext")) is not None:
        for number in range(1, pages + 1):
            cut = ["-f", str(number), "-l", str(number)]
            text = subprocess.run([reader, *cut, str(paper), "-"], check=True, capture_output=True, text=True).stdout
            assert "For review, not a diagnosis." in text and "attridet-n 2.0.0" in text


def test_without_a_script_everything_but_news_is_there(browser: Browser, site: Ward) -> None:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    page = log_in(context, site, "amina")
    page.goto(f"{site.address}/slides")
    page.locator("tbody th a").first.click()
    assert page.locator("h1").inner_text().startswith("Slide")
    page.get_by_role("button", name="FR").click()
    assert page.locator("html").get_attribute("lang") == "fr"
    context.close()


def test_behind_a_proxy_every_link_form_and_arrival_bears_its_path(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path, "/lab/blood") as at:
        context, heard = browser.new_context(), Complaints()
        context.on("page", heard.hears)
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = log_in(context, at, "amina")
        page.get_by_role("link", name="Slides", exact=True).click()
        page.get_by_role("button", name="SW").click()
        expect(page.locator("html")).to_have_attribute("lang", "sw")
        now = datetime.now(timezone.utc).isoformat()
        at.publish("summary", summary("clinic-9", "arrived", started_at=now, finished_at=now))
        expect(page.locator("tr.arrived")).to_contain_text("arrived")
        page.locator("tr.arrived th a").click()
        expect(page.locator("h1")).to_contain_text("arrived")
        assert asked and all(url.startswith(f"{at.address}/") for url in asked)
        context.close()
        assert heard == []
