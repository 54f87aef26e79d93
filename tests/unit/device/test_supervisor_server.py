"""The supervisor's server as a browser and as an attacker meet it: log-in, roles, forms, headers, addresses, second signatures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, func, select, update
from starlette.testclient import TestClient
from ward import example, new_database, stored, summary, ward

from device.errors import LeukoscopeError
from device.supervisor import accounts, queries
from device.supervisor.call import Shown
from device.supervisor.database import reading, writing
from device.supervisor.live import Hub
from device.supervisor.routes import ROUTES
from device.supervisor.security import Public, public_of, safe_next
from device.supervisor.server import application
from device.supervisor.supervise import Site
from device.supervisor.tables import Audit, LoginSession, SecondSignature, Summary

PASSWORD = "correct horse battery"
SLIDE = "/slides/clinic-1/signed-1"
SIGNED = {"revision": 1, "review_state": "reviewed"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A ward with an account of each role, and a signed slide."""
    accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # type: ignore[misc]  # guesses cost nothing here
    accounts._nobodys.cache_clear()
    engine = new_database(tmp_path_factory.mktemp("server") / "supervisor.sqlite")
    ward(engine, 20)
    review = {**example()["review"], "signed_at": "2026-11-30T10:00:00Z", "reviewer": "DR"}
    stored(engine, "leukoscope/clinic-1/summary", summary("clinic-1", "signed-1", sequence=900, review=review, **SIGNED))
    with writing(engine) as session:
        for role in accounts.ROLES:
            accounts.add_user(session, role, role, PASSWORD, datetime.now(timezone.utc))
    yield engine
    engine.dispose()
    accounts._HASHER = PasswordHasher()  # type: ignore[misc]
    accounts._nobodys.cache_clear()


@pytest.fixture
def engine(filled: Engine) -> Engine:
    """The same, with no failed log-ins and no sessions."""
    with writing(filled) as session:
        for table in ("attempts", "sessions", "signatures"):
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    return filled


@pytest.fixture
def browser(engine: Engine) -> Callable[..., TestClient]:
    def make(**shown: Any) -> TestClient:
        app = application(Shown(engine, Hub(engine), **shown))
        return TestClient(app, follow_redirects=False, client=("10.0.0.9", 4711))

    return make


def csrf(client: TestClient, path: str = "/login") -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get(path).text)
    assert found
    return found[1]


def log_in(client: TestClient, name: str = "viewer", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/login", data={"csrf": csrf(client), "name": name, "password": password, **more})


def actions(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return list(session.scalars(select(Audit.action).order_by(Audit.id)))


def test_nobody_sees_anything_without_log_in(browser: Callable[..., TestClient]) -> None:
    client = browser()
    for method, route, _handler, role in ROUTES:
        path = route.replace("{device}", "clinic-1").replace("{slide}", "signed-1").replace("{name}", "viewer")
        answer = client.request(method, path)
        if method == "POST":
            assert answer.status_code in (403, 415), path
        elif role:
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/login?next=")
    assert client.get("/events").status_code == 401
    assert client.get("/slides", headers={"HX-Request": "true"}).headers["HX-Redirect"] == "/login"
    assert "clinic-1" not in client.get("/healthz").text


@pytest.mark.parametrize("role", accounts.ROLES)
def test_each_role_sees_what_it_may(browser: Callable[..., TestClient], role: str) -> None:
    client = browser()
    assert log_in(client, role).headers["location"] == "/"
    for method, route, _handler, least in ROUTES:
        if method == "POST" or not least:
            continue
        path = route.replace("{device}", "clinic-1").replace("{slide}", "signed-1")
        allowed = accounts.ROLES.index(role) >= accounts.ROLES.index(least)
        assert client.get(path).status_code == (200 if allowed else 403), path


def test_every_form_wants_its_sessions_own_token_and_its_own_site(browser: Callable[..., TestClient], engine: Engine) -> None:
    client, other = browser(), browser()
    log_in(client, "admin")
    log_in(other, "admin")
    data = {"name": "mallory", "role": "admin", "password": PASSWORD}
    for token in ("", "x", "0" * 64, csrf(other, "/account"), csrf(browser())):
        assert client.post("/users", data={**data, "csrf": token}).status_code == 403
    good = {**data, "csrf": csrf(client, "/account")}
    assert client.post("/users", data=good, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/users", json=good).status_code == 415
    assert client.post("/users", data={**good, "more": "x" * 20_000}).status_code == 413
    assert client.post("/users", data={**good, **{f"f{n}": "" for n in range(50)}}).status_code == 400
    assert client.get("/users").text.count("mallory") == 0
    assert client.post("/logout", data={"csrf": "x"}).status_code == 403
    assert client.get("/account").status_code == 200, "still logged in"


def test_a_cookie_that_was_there_before_the_log_in_is_worth_nothing(browser: Callable[..., TestClient], engine: Engine) -> None:
    client = browser()
    csrf(client)
    planted = client.cookies["leukoscope"]
    answer = log_in(client)
    assert client.cookies["leukoscope"] != planted
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=lax" in answer.headers["set-cookie"]
    victim = browser()
    victim.cookies.set("leukoscope", planted)
    assert victim.get("/").status_code == 303
    held = client.cookies["leukoscope"]
    with reading(engine) as session:
        assert held not in set(session.scalars(select(LoginSession.token_hash))), "the table is worth nothing to a thief"
    client.post("/logout", data={"csrf": csrf(client, "/account")})
    victim.cookies.set("leukoscope", held)
    assert victim.get("/").status_code == 303, "a log-out ends the session, not only the cookie"


def test_guessing_is_slowed_by_name_and_by_address_and_told_in_the_same_words(
    browser: Callable[..., TestClient], engine: Engine
) -> None:
    client = browser()
    wrong, nobody = log_in(client, "viewer", "wrong"), log_in(client, "nobody at all", "wrong")
    assert (wrong.status_code, nobody.status_code) == (403, 403)
    strip = re.compile(r'value="[0-9a-f]{64}"')
    assert strip.sub("", wrong.text) == strip.sub("", nobody.text)
    for _ in range(2):
        log_in(client, "viewer", "wrong")
    blocked = log_in(client, "viewer", PASSWORD)
    assert blocked.status_code == 429, "the right password too: else the delay tells"
    assert int(blocked.headers["Retry-After"]) >= 1
    assert log_in(client, "reviewer").status_code == 303, "others are not locked out"
    for number in range(20):
        log_in(browser(), f"name-{number}", "wrong")
    assert log_in(browser(), "admin").status_code == 429, "one address guesses many names"
    said = actions(engine)
    assert "log-in failed" in said
    with reading(engine) as session:
        assert "nobody at all" not in {row.who for row in queries.audit(session)[0]}, "a password is now and then typed as the name"


def test_a_user_switched_off_or_changed_is_out_at_once_and_the_last_admin_stays(
    browser: Callable[..., TestClient], engine: Engine
) -> None:
    admin, client = browser(), browser()
    log_in(admin, "admin")
    log_in(client, "viewer")

    def change(name: str, **fields: str) -> Any:
        return admin.post(f"/users/{name}", data={"csrf": csrf(admin, "/account"), **fields})

    assert change("viewer", role="viewer", active="no").status_code == 303
    assert client.get("/").status_code == 303
    assert log_in(browser(), "viewer").status_code == 403
    assert change("viewer", role="viewer", active="yes").status_code == 303
    assert change("admin", role="viewer", active="yes").status_code == 400
    assert change("admin", role="admin", active="no").status_code == 400
    assert change("nobody", role="admin").status_code == 400
    assert change("viewer", role="god").status_code == 400
    assert change("viewer", password="short").status_code == 400
    assert actions(engine).count("user changed") == 2, "and no word of what was refused"


def test_headers_of_every_answer(browser: Callable[..., TestClient]) -> None:
    client = browser()
    for path in ("/login", "/", "/static/supervisor.css", "/nowhere", "/static/../tables.py", "/static/%2e%2e/tables.py", "/events"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "server" not in headers
    assert client.get("/login").headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in client.get("/login").headers


@pytest.mark.parametrize(
    "path",
    ["/static/../../tables.py", "/static/%2e%2e/%2e%2e/tables.py", "/static//etc/passwd", "/slides/clinic-1/..%2f..%2fetc%2fpasswd",
     "/slides/clinic-1/nothing", "/devices/nobody", "/devices/%00", "/slides/clinic-1/%00.csv", "/slides/x/%3Cscript%3E"],
)  # fmt: skip
def test_paths_that_lead_nowhere(browser: Callable[..., TestClient], path: str) -> None:
    client = browser()
    log_in(client)
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<script>" not in answer.text
    assert "root:" not in answer.text


def test_what_devices_wrote_is_shown_as_text(browser: Callable[..., TestClient], engine: Engine) -> None:
    wild = "<img src=x onerror=alert(1)>"
    stored(engine, "leukoscope/clinic-1/summary", summary("clinic-1", "wild'\"<b>", sequence=901, description=[wild], specimen=wild))
    client = browser()
    log_in(client)
    for path in (
        "/",
        "/slides",
        "/slides?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/slides/clinic-1/wild'%22%3Cb%3E",
        "/devices/clinic-1",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "<img" not in answer.text
        assert "<script>alert" not in answer.text
        assert "wild'\"<b>" not in answer.text


def test_a_second_signature_wants_a_reviewer_the_password_and_the_very_revision(
    browser: Callable[..., TestClient], engine: Engine
) -> None:
    viewer, client = browser(), browser()
    log_in(viewer, "viewer")
    log_in(client, "reviewer")
    form = {"initials": "ab", "password": PASSWORD, "agree": "yes", "words": "seen", "revision": "1"}

    def sign(who: TestClient, **changes: str) -> int:
        return int(who.post(f"{SLIDE}/second", data={"csrf": csrf(who, "/account"), **form, **changes}).status_code)

    assert sign(viewer) == 403
    assert sign(client, password="wrong") == 403
    assert sign(client, initials="x1") == sign(client, agree="") == sign(client, revision="0") == 400
    assert sign(client, initials="DR") == 400, "the first signature's own person"
    assert sign(client) == 303
    assert sign(client) == 400, "once"
    with reading(engine) as session:
        whole = queries.slide(session, "clinic-1", "signed-1")
        assert whole is not None
        assert [(one.initials, one.agree, one.revision, one.digest) for one in whole.seconds] == [("AB", True, 1, whole.digest)]
        assert session.scalar(select(func.count()).select_from(SecondSignature)) == 1
    assert "AB" in client.get(SLIDE).text
    assert '"AB"' in client.get(f"{SLIDE}.fhir.json").text
    assert {"second signature", "second signature refused", "slide shown", "export"} <= set(actions(engine))


def test_an_unreviewed_slide_takes_no_second_signature(browser: Callable[..., TestClient], engine: Engine) -> None:
    stored(engine, "leukoscope/clinic-1/summary", summary("clinic-1", "open-1", sequence=902))
    client = browser()
    log_in(client, "reviewer")
    form = {"initials": "ab", "password": PASSWORD, "agree": "yes", "revision": "0", "csrf": csrf(client, "/account")}
    assert client.post("/slides/clinic-1/open-1/second", data=form).status_code == 400


def test_a_session_ends_by_itself(browser: Callable[..., TestClient], engine: Engine) -> None:
    client = browser()
    log_in(client)
    with writing(engine) as session:
        session.execute(update(LoginSession).values(seen_at=datetime.now(timezone.utc) - accounts.IDLE))
    assert client.get("/").status_code == 303
    log_in(client)
    with writing(engine) as session:
        session.execute(update(LoginSession).values(expires_at=datetime.now(timezone.utc)))
    assert client.get("/").status_code == 303


def test_behind_a_proxy_every_address_bears_the_prefix_and_cookies_go_over_tls_only(browser: Callable[..., TestClient]) -> None:
    public = public_of("https://lab.example/leukoscope/")
    assert public == Public("/leukoscope", secure=True)
    for base in ("", "/leukoscope"):  # a proxy that takes the prefix off, and one that does not
        client = browser(public=public)
        answer = client.get(f"{base}/slides")
        assert answer.headers["location"] == "/leukoscope/login?next=/slides"
        assert "Secure" in answer.headers["set-cookie"]
        assert "Path=/leukoscope/" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["Strict-Transport-Security"]
        page = client.get(f"{base}/login").text
        assert 'action="/leukoscope/login"' in page
        assert not re.search(r'(href|src|action)="/(?!leukoscope)', page)
        assert client.get(f"{base}/static/supervisor.css").status_code == 200
    assert public_of("https://lab.example").cookie == "__Host-leukoscope"


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "", "javascript:alert(1)", "/login"]
)
def test_a_log_in_leads_nowhere_else(browser: Callable[..., TestClient], path: str) -> None:
    assert safe_next(path) == "/"
    assert log_in(browser(), next=path).headers["location"] == "/"


@pytest.mark.parametrize(
    "site",
    [Site(host="0.0.0.0"), Site(host="192.168.1.5"), Site(behind_proxy="http://lab.example"), Site(behind_proxy="lab.example"),
     Site(behind_proxy="https://lab.example/a b"), Site(certificate=Path("/nowhere"))],
    ids=["all", "network", "proxy in clear", "no address", "bad path", "no key"],
)  # fmt: skip
def test_pages_go_beyond_this_machine_only_with_tls_or_told_so(site: Site) -> None:
    with pytest.raises(LeukoscopeError, match="--"):
        _ = site.public


def test_downloads_are_written_down_and_named_without_the_specimen(browser: Callable[..., TestClient], engine: Engine) -> None:
    client = browser()
    log_in(client)
    answer = client.get("/slides.csv?device=clinic-1")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    with reading(engine) as session:
        slides = session.scalar(select(func.count(func.distinct(Summary.slide_id))).where(Summary.device_id == "clinic-1"))
    assert len(answer.text.strip().splitlines()) == 1 + (slides or 0)
    assert client.get(f"{SLIDE}.csv").status_code == 200
    assert actions(engine)[-2:] == ["export", "export"]
