"""Brings the message catalogues to the words of the code: `make messages`, or `python -m device.language.messages`. Needs Babel.

Reads the words from device/**.py and **.j2 and from the shipped taxonomy, adds new ones to locale/CODE/LC_MESSAGES/leukoscope.po with
an empty translation, drops those that nobody says any longer, and compiles. What still lacks a translation is printed.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from device.language import LANGUAGES
from engines.pages import NOTICE

ROOT = Path(__file__).parents[2]
LOCALE = Path(__file__).with_name("locale")
TRANSLATED = tuple(code for code in LANGUAGES if code != "en")
_FROM = [
    ("device/**.py", "python"),
    ("device/**.j2", "jinja2.ext:babel_extract"),
    ("engines/taxonomy/*.yaml", "device.language.taxonomy:extract"),
]
_WIDTH = 136


def po_path(code: str) -> Path:
    """Where the catalogue of a language lies."""
    return LOCALE / code / "LC_MESSAGES" / "leukoscope.po"


def template(root: Path = ROOT) -> Catalog:
    """All words that the code and the taxonomy say, untranslated."""
    catalogue = Catalog()
    catalogue.add(NOTICE)
    for folder in ("device", "engines/taxonomy"):
        for name, _line, words, comments, _context in extract_from_dir(
            root / folder,
            method_map=[(pattern.removeprefix(f"{folder}/"), method) for pattern, method in _FROM if pattern.startswith(folder)],
            keywords={**DEFAULT_KEYWORDS, "N_": None},
        ):
            catalogue.add(words, auto_comments=comments if name.endswith(".yaml") else ())
    return catalogue


def catalogue_of(code: str) -> Catalog:
    """The catalogue of a language as its file has it; an empty one where there is no file."""
    path = po_path(code)
    if not path.exists():
        return Catalog(locale=code)
    with path.open("rb") as file:
        return read_po(file, locale=code)


def missing(catalogue: Catalog) -> list[str]:
    """The words without a whole translation."""
    return [_key(message) for message in catalogue if message.id and (message.fuzzy or not all(_forms(message)))]


def compiled(catalogue: Catalog) -> bytes:
    """The catalogue as gettext reads it."""
    out = BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def _key(message: Message) -> str:
    return message.id[0] if isinstance(message.id, (list, tuple)) else str(message.id)


def _forms(message: Message) -> tuple[str, ...]:
    return tuple(each or "" for each in message.string) if isinstance(message.string, (list, tuple)) else (str(message.string or ""),)


def save(code: str, catalogue: Catalog) -> None:
    """Write the catalogue's text and what is compiled from it."""
    path = po_path(code)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=_WIDTH, no_location=True, sort_output=True, ignore_obsolete=True)
    path.with_suffix(".mo").write_bytes(compiled(catalogue))


def main() -> int:
    """Update all catalogues; the exit status says whether a translation is missing."""
    words, lacking = template(), 0
    for code in TRANSLATED:
        catalogue = catalogue_of(code)
        catalogue.update(words, no_fuzzy_matching=True, update_creation_date=False)
        save(code, catalogue)
        for one in (absent := missing(catalogue)):
            sys.stdout.write(f"{code}: {one}\n")
        lacking += len(absent)
    sys.stdout.write(f"{len(words)} messages, {lacking} translations are missing\n")
    return int(lacking > 0)


if __name__ == "__main__":
    sys.exit(main())
