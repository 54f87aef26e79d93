"""Fills the supervisor's templates: one function for every page, in the reader's language, with everything escaped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from device.language import LANGUAGES, RIGHT_TO_LEFT, _, in_use, ngettext, number, speaking
from device.supervisor.web import charts, slide_page, words
from engines.pages import NOTICE
from engines.version import version

if TYPE_CHECKING:
    import jinja2

STATIC: Final = Path(__file__).with_name("static")
"""The folder that the server shows at /static/."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every page: nothing inline, nothing from elsewhere."""
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Reader:
    """Who reads a page, and how. csrf: what the forms hand back. path: path and query of the page, without prefix. prefix: what a proxy
    puts before every path. fault: a line to be shown once, as an alert."""

    language: str = "en"
    user: str = ""
    role: str = ""
    csrf: str = ""
    path: str = "/"
    prefix: str = ""
    fault: str = ""

    @property
    def rtl(self) -> bool:
        return self.language in RIGHT_TO_LEFT

    @property
    def may_sign(self) -> bool:
        return self.role in ("reviewer", "admin")

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def at(self, path: str) -> str:
        """The address of a path of this application."""
        return f"{self.prefix}{path}"

    @property
    def section(self) -> str:
        """The first part of the path: which entry of the menu is this one."""
        return self.path.split("?")[0].strip("/").partition("/")[0]


def render(name: str, reader: Reader, /, **context: Any) -> str:
    """The HTML of page `name` ("overview", "slide", …; contexts stand in the package's docstring). KeyError for no such page."""
    with speaking(reader.language):
        return _environment().get_template(f"{name}.html.j2").render(reader=reader, **context)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {name: getattr(words, name) for name in words.FILTERS}
    environment.filters.update(filters, number=number, attribute_words=slide_page.attribute_words)
    environment.globals.update(
        _=_, ngettext=ngettext, in_use=in_use, languages=LANGUAGES, words=words, charts=charts, of_slide=slide_page.of,
        said_notice=lambda: _(NOTICE), version=version(), asset=_asset,
    )  # fmt: skip
    return environment


@lru_cache(maxsize=16)
def _asset(name: str) -> str:
    """Path of a static file with a mark of its content, so that browsers may keep it and still see a new one."""
    import hashlib

    return f"/static/{name}?{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"
