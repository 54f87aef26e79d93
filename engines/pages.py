"""What the pages that people open have in common: the base template, the environment that fills it, pictures as data, the notice."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import jinja2

NOTICE: Final = "For review, not a diagnosis."
"""Stands first and last on every page with numbers about cells."""


def page_template(file: Path, **filters: Callable[..., str]) -> jinja2.Template:
    """The template in `file`, which extends base.html.j2. It escapes what it is given and refuses what it was not given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([file.parent, Path(__file__).parent]),
        autoescape=True,  # names of models, types, folders and pictures were written by others
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["notice"] = NOTICE
    environment.filters.update(filters)
    return environment.get_template(file.name)


def data_uri(content: bytes) -> str:
    """A PNG or JPEG as part of the page."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
