"""Every page and form of the supervisor, each with the least role that may ask. Contexts are described in `web`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import select
from starlette.responses import PlainTextResponse, Response

from device.language import LANGUAGES, N_, _, speaking
from device.slide.identity import initials
from device.supervisor import accounts, queries
from device.supervisor.accounts import AccountError, TooManyError
from device.supervisor.call import Call, Handler, NotHereError
from device.supervisor.rows import Filters, OneSlide
from device.supervisor.security import safe_next
from device.supervisor.tables import SecondSignature, Slide
from device.supervisor.web import handed_on, languages

_HEALTH_FOR: Final = timedelta(days=2)
_LONGEST_WORDS: Final = 500
_WRONG: Final = N_("Name or password is wrong.")
_LANGUAGE_KEPT_S: Final = 31_536_000


# ---- looking


def overview(call: Call) -> Response:
    with call.reads() as session:
        devices = queries.devices(session)
        context: dict[str, Any] = {
            "devices": devices,
            "waiting": queries.waiting(session),
            "overdue": queries.overdue(session, call.now, call.shown.overdue_after),
            "newest": list(queries.slides(session, Filters(), per_page=10).rows),
            "gaps": queries.open_gaps(session),
            "quarantined": sum(row.quarantined for row in devices),
            "rejected": queries.rejected(session),
            "counts": queries.counts(session, call.now),
        }
    return call.page("overview", **context)


def devices(call: Call) -> Response:
    with call.reads() as session:
        return call.page("devices", devices=queries.devices(session))


def device(call: Call) -> Response:
    name = call.request.path_params["device"]
    with call.reads() as session:
        row = queries.device(session, name)
        if row is None:
            raise NotHereError
        return call.page(
            "device",
            device=row,
            health=queries.health(session, name, call.now - _HEALTH_FOR),
            history=queries.device_history(session, name),
            slides=list(queries.slides(session, Filters(device=name), per_page=20).rows),
            gaps=queries.open_gaps(session, name),
        )


def _filters(call: Call) -> Filters:
    asked = call.request.query_params
    return Filters(**{name: asked.get(name, "").strip()[:100] for name in Filters.__dataclass_fields__})


def _number(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else otherwise


def slides(call: Call) -> Response:
    filters = _filters(call)
    with call.reads() as session:
        page = queries.slides(session, filters, _number(call.request.query_params.get("page", ""), 1))
        names = queries.device_names(session)
    return call.page("slides", page=page, filters=filters, devices=names)


def _slide(call: Call) -> OneSlide:
    params, asked = call.request.path_params, call.request.query_params.get("revision", "")
    revision = _number(asked, -1) if asked else None
    with call.reads() as session:
        whole = queries.slide(session, params["device"], params["slide"], revision)
    if whole is None:
        raise NotHereError
    return whole


def _may_second(call: Call, whole: OneSlide) -> bool:
    """Whether this user may put a second signature under what is shown: signed by a first person, newest, and not by this user yet."""
    signed = whole.row.review_state == "reviewed" and whole.row.revision > 0
    mine = any(one.who == call.user.name and one.digest == whole.digest for one in whole.seconds)
    return signed and whole.newest and not mine and call.user.may("reviewer")


def slide(call: Call, fault: str = "", status: int = 200) -> Response:
    whole = _slide(call)
    if not fault and "HX-Request" not in call.request.headers:
        with call.writes() as session:
            call.audit(session, "slide shown", _about(whole))
    return call.page(
        "slide",
        code=status,
        fault=fault,
        row=whole.row,
        summary=whole.summary,
        revisions=list(whole.revisions),
        history=list(whole.history),
        seconds=list(whole.seconds),
        may_second=_may_second(call, whole),
        taken=whole.taken,
    )


def _about(whole: OneSlide) -> str:
    return f"{whole.row.device_id}/{whole.row.slide_id} revision {whole.row.revision}"


def second(call: Call) -> Response:
    """A second signature: initials and the password once more, under the very summary that was shown."""
    whole = _slide(call)
    form = call.form
    fault = ""
    with speaking(call.language):
        if form.get("revision") != str(whole.row.revision) or not _may_second(call, whole):
            fault = _("This slide cannot be signed by you now: look at its newest revision.")
        elif form.get("agree") not in ("yes", "no"):
            fault = _("Say whether you agree.")
        else:
            try:
                signed = initials(form.get("initials", ""))
            except ValueError as error:
                fault = str(error)
            else:
                first = whole.summary.review.reviewer if whole.summary.review is not None else ""
                if signed == first:
                    fault = _("A second signature is another person's.")
    if fault:
        return slide(call, fault=fault, status=400)
    who = None
    try:
        who = accounts.verify(call.shown.engine, call.user.name, form.get("password", ""), call.address, call.now)
    except TooManyError:
        return call.error(429)
    if who is None:
        with call.writes() as session:
            call.audit(session, "second signature refused", _about(whole), "wrong password")
        with speaking(call.language):
            return slide(call, fault=_("The password is wrong."), status=403)
    agree = form["agree"] == "yes"
    with call.writes() as session:
        current = session.scalars(
            select(Slide).where(Slide.device_id == whole.row.device_id, Slide.slide_id == whole.row.slide_id).with_for_update()
        ).one()
        if current.revision != whole.row.revision:  # a new one came while it was signed
            raise NotHereError(403)
        session.add(
            SecondSignature(
                summary_id=current.summary_id,
                device_id=whole.row.device_id,
                slide_id=whole.row.slide_id,
                revision=whole.row.revision,
                digest=whole.digest,
                user_id=who.user_id,
                name=who.name,
                initials=signed,
                agree=agree,
                words=" ".join(form.get("words", "").split())[:_LONGEST_WORDS],
                signed_at=call.now,
            )
        )
        call.audit(session, "second signature", _about(whole), f"{'agrees' if agree else 'does not agree'}, summary {whole.digest}")
    call.shown.hub.tell(("slide", whole.row.device_id, whole.row.slide_id))
    return call.to(f"/slides/{whole.row.device_id}/{_quoted(whole.row.slide_id)}")


def _quoted(text: str) -> str:
    return quote(text, safe="")


# ---- handing on


def _file(text: str, kind: str, name: str) -> Response:
    """A download; its name bears no specimen."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{plain}"'})


def slides_csv(call: Call) -> Response:
    with call.writes() as session:
        call.audit(session, "export", "slides.csv", call.request.url.query)
    with call.reads() as session:
        text = handed_on.slides_csv(queries.every_slide(session, _filters(call)))
    return _file(text, "text/csv; charset=utf-8", f"slides-{call.now:%Y%m%d-%H%M}.csv")


def _exported(call: Call, what: str) -> OneSlide:
    whole = _slide(call)
    with call.writes() as session:
        call.audit(session, "export", _about(whole), what)
    return whole


def slide_csv(call: Call) -> Response:
    whole = _exported(call, "csv")
    text = handed_on.slide_csv(whole.summary, whole.seconds)
    return _file(text, "text/csv; charset=utf-8", f"{whole.row.device_id}-{whole.row.slide_id}-{whole.row.revision}.csv")


def slide_fhir(call: Call) -> Response:
    whole = _exported(call, "fhir")
    text = handed_on.fhir(whole.summary, whole.seconds, call.now)
    return _file(text, "application/fhir+json", f"{whole.row.device_id}-{whole.row.slide_id}-{whole.row.revision}.fhir.json")


# ---- log-in and accounts


def login(call: Call, fault: str = "", status: int = 200) -> Response:
    wanted = safe_next(call.form.get("next", "") or call.request.query_params.get("next", "/"))
    if call.who is not None and not fault:
        return call.to(wanted)
    return call.page("login", code=status, fault=fault, next=wanted)


def log_in(call: Call) -> Response:
    """A session of its own for each log-in; words that fit any failure."""
    name = call.form.get("name", "").strip()
    try:
        who = accounts.verify(call.shown.engine, name, call.form.get("password", ""), call.address, call.now)
    except TooManyError as error:
        with speaking(call.language):
            response = login(call, fault=_("Too many attempts. Wait a while, then try again."), status=429)
        response.headers["Retry-After"] = str(error.seconds)
        return response
    if who is None:
        with call.writes() as session:  # not the name: what is typed there by mistake is now and then a password
            call.audit(session, "log-in failed", who="")
        with speaking(call.language):
            return login(call, fault=_(_WRONG), status=403)
    with call.writes() as session:
        accounts.end_session(session, call.token)
        token = accounts.begin_session(session, who, call.address, call.now)
        call.audit(session, "log-in", who=who.name)
    response = call.to(safe_next(call.form.get("next", "/")))
    call.shown.public.set_cookie(response, call.shown.public.cookie, token)
    return response


def log_out(call: Call) -> Response:
    with call.writes() as session:
        accounts.end_session(session, call.token)
        if call.who is not None:
            call.audit(session, "log-out")
    response = call.to("/login")
    call.shown.public.set_cookie(response, call.shown.public.cookie, accounts.new_token())
    return response


def language(call: Call) -> Response:
    wanted = call.form.get("language", "")
    response = call.to(safe_next(call.form.get("back", "/")) if not call.form.get("back", "").startswith("/login") else "/login")
    if wanted in LANGUAGES:
        call.shown.public.set_cookie(response, languages.COOKIE, wanted, _LANGUAGE_KEPT_S)
        if call.who is not None:
            with call.writes() as session:
                accounts.set_language(session, call.who.user_id, wanted)
    return response


def account(call: Call, fault: str = "", status: int = 200) -> Response:
    who = call.user
    return call.page("account", code=status, fault=fault, name=who.name, role=who.role, language=call.language)


def password(call: Call) -> Response:
    """The user's own; all sessions end but this browser's, which gets a new one."""
    form, who = call.form, call.user
    if form.get("new", "") != form.get("again", ""):
        with speaking(call.language):
            return account(call, fault=_("The two new passwords are not the same."), status=400)
    try:
        right = accounts.verify(call.shown.engine, who.name, form.get("old", ""), call.address, call.now) is not None
    except TooManyError:
        return call.error(429)
    if not right:
        with speaking(call.language):
            return account(call, fault=_("The password is wrong."), status=403)
    try:
        with call.writes() as session:
            accounts.change_user(session, who.name, call.now, password=form.get("new", ""))
            token = accounts.begin_session(session, who, call.address, call.now)
            call.audit(session, "password changed", who.name)
    except AccountError as error:
        return account(call, fault=str(error), status=400)
    response = call.to("/account")
    call.shown.public.set_cookie(response, call.shown.public.cookie, token)
    return response


def users(call: Call, fault: str = "", status: int = 200) -> Response:
    with call.reads() as session:
        return call.page("users", code=status, fault=fault, users=queries.users(session))


def new_user(call: Call) -> Response:
    form = call.form
    name, role = form.get("name", "").strip(), form.get("role", "")
    try:
        with call.writes() as session:
            accounts.add_user(session, name, role, form.get("password", ""), call.now)
            call.audit(session, "user added", name, role)
    except AccountError as error:
        return users(call, fault=str(error), status=400)
    return call.to("/users")


def change_user(call: Call) -> Response:
    form, name = call.form, call.request.path_params["name"]
    active = {"yes": True, "no": False}.get(form.get("active", ""))
    try:
        with call.writes() as session:
            new = form.get("password", "")
            accounts.change_user(session, name, call.now, role=form.get("role") or None, active=active, password=new)
            words = f"role {form.get('role', 'as it was')}, active {form.get('active', 'as it was')}{', new password' if new else ''}"
            call.audit(session, "user changed", name, words)
    except AccountError as error:
        return users(call, fault=str(error), status=400)
    return call.to("/users")


def audit(call: Call) -> Response:
    with call.reads() as session:
        entries, page, pages = queries.audit(session, _number(call.request.query_params.get("page", ""), 1))
    return call.page("audit", entries=entries, page=page, pages=pages)


def healthz(call: Call) -> Response:
    """For a proxy or a monitor: whether database and broker are there. It tells nothing else, and nobody has to log in."""
    trouble = call.shown.trouble()
    return PlainTextResponse("trouble\n" if trouble else "well\n", 503 if trouble else 200)


ROUTES: Final[tuple[tuple[str, str, Handler, str], ...]] = (
    ("GET", "/", overview, "viewer"),
    ("GET", "/devices", devices, "viewer"),
    ("GET", "/devices/{device}", device, "viewer"),
    ("GET", "/slides", slides, "viewer"),
    ("GET", "/slides.csv", slides_csv, "viewer"),
    ("GET", "/slides/{device}/{slide}.csv", slide_csv, "viewer"),
    ("GET", "/slides/{device}/{slide}.fhir.json", slide_fhir, "viewer"),
    ("GET", "/slides/{device}/{slide}", slide, "viewer"),
    ("POST", "/slides/{device}/{slide}/second", second, "reviewer"),
    ("GET", "/login", login, ""),
    ("POST", "/login", log_in, ""),
    ("POST", "/logout", log_out, ""),
    ("POST", "/language", language, ""),
    ("GET", "/account", account, "viewer"),
    ("POST", "/account/password", password, "viewer"),
    ("GET", "/users", users, "admin"),
    ("POST", "/users", new_user, "admin"),
    ("POST", "/users/{name}", change_user, "admin"),
    ("GET", "/audit", audit, "admin"),
    ("GET", "/healthz", healthz, ""),
)
