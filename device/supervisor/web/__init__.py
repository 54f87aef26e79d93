"""What the supervisor's pages need of its server: the contract between `device.supervisor` (routes, queries, security) and this room.

The server calls `pages.render(name, reader, **context) -> str` (HTML) and serves `STATIC` (`pages.STATIC`, a folder) at `/static/`.
Everything in a context is escaped. Times are aware datetimes. Policy for a header: `pages.POLICY` (no inline script or style).

Reader (`pages.Reader`): language ("en", "fr", "ur", "sw": `languages.choose(account, cookie, accept_language)`), user ("" = nobody),
role ("viewer", "reviewer", "admin", ""), csrf (hidden field `csrf` of every form), path (path and query of this page, without prefix),
prefix (what a proxy puts before every path, "" or "/leukoscope"), fault (a line to show once, as an alert, "").

Paths (all GET unless said; `prefix` stands before each):
  /  /devices  /devices/{device}  /slides  /slides/{device}/{slide}[?revision=N]  /login  /account  /users  /audit  /events (SSE)
  /slides.csv (same filters)  /slides/{device}/{slide}.csv  /slides/{device}/{slide}.fhir.json
  POST /login (name, password, next)  POST /logout  POST /language (language, back)  POST /account/password (old, new, again)
  POST /slides/{device}/{slide}/second (initials, password, agree=yes|no, words, revision)
  POST /users (name, role, password)  POST /users/{name} (role, active=yes|no, password optional)

Events of `/events`: `event: slide` and `event: device`, data `{"device": …, "slide": …}`. The page then asks for itself again with the
header `HX-Request: true` and takes its live parts out of the answer (`hx-select`), so the server needs no fragments of its own.

Contexts (name: what it is given; the dataclasses are `device.supervisor.rows`'):
  overview  devices: [DeviceRow], waiting: [SlideRow] (unreviewed with blasts first), newest: [SlideRow], gaps: [GapRow],
            quarantined: int (of the devices), rejected: [RejectedRow], counts: Counts
  devices   devices: [DeviceRow]
  device    device: DeviceRow, health: [HealthPoint], history: [HistoryRow], slides: [SlideRow], gaps: [GapRow]
  slides    page: SlidePage, filters: Filters, devices: [str]
  slide     row: SlideRow, summary: SlideSummary, revisions: [SlideRow], history: [HistoryRow], seconds: [SecondRow],
            may_second: bool, taken: str (message ids confirmed, see HistoryRow)
  login     next: str
  account   name, role, language
  users     users: [UserRow]
  audit     entries: [AuditRow], page: int, pages: int
  error     words: str

What the templates read of them (more is harmless):
  DeviceRow    device_id, status: DeviceStatus | None (the newest), heard_at, silent: bool, silent_since: datetime | None, slides: int,
               waiting: int, gaps: int, quarantined: int
  SlideRow     device_id, slide_id, revision, received_at, started_at, finished_at, time_trusted, state, review_state, corrected,
               white_cells, blasts, blast_percent, blast_low, blast_high (None: not said), blasts_confirmed, simulated, film, doubtful,
               at_least: bool, specimen, model, seconded: int
  SlidePage    rows: [SlideRow], page (from 1), pages, total
  Filters      q, device, review ("", "unreviewed", "reviewed", "corrected"), blasts ("", "yes", "no"), since, until (YYYY-MM-DD), doubt
               ("", "yes"), simulated ("", "no", "yes")  [all str, "" = not asked]
  HistoryRow   at, kind (slide: "summary", "review", "second", "receipt", "event"; device: "online", "stopped", "lost", "silent",
               "heard", "event", "review", "gap"), who (user or device, ""), words (plain text, "")
  GapRow       device_id, stream, first, last (sequence numbers that are missing), seen_at
  HealthPoint  at, fps, temperature_c, disk_free_mb, outbox, (each None where not said)
  SecondRow    at, who, initials, agree: bool, words, revision
  UserRow      name, role, active: bool, language, created_at, last_login: datetime | None
  AuditRow     at, who, what, about, address
"""
