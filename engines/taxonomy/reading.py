"""A taxonomy file, checked so that no label can be taken for another: unknown keys, names that collide, layouts of one width."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from engines.errors import DataError
from engines.taxonomy.model import (
    LEUKEMIA_ATTRI,
    MIXED,
    SHIPPED,
    SKIP,
    Attribute,
    CellGroup,
    CellType,
    PersonClass,
    Taxonomy,
    TaxonomyError,
    plain,
)
from engines.yaml_lines import KeyPath, read_document

MARKERS = ("diamond", "disc", "square", "triangle", "cross")
OPEN_MARKERS = MARKERS[:-1]
"""Those that can be drawn hollow, for groups."""
_CODES = {
    "classes": ("[A-Z0-9]{2,4}", "2 to 4 capital letters or digits"),
    "told_groups": ("[A-Z0-9]{2,3}[?]", "2 or 3 capital letters or digits and a question mark"),
}
PARTS = ("cells", "feature", "cytoplasm", "cytoplasm-end")
_KEYS = (
    "classes",
    "artefact",
    "groups",
    "attributes",
    "txt_layouts",
    "attribute_cnn",
    "blasts",
    "types",
    "told_groups",
    "person_classes",
)
_LARGEST_BYTES = 1 << 20


def read_taxonomy(path: Path | None = None) -> Taxonomy:
    """The taxonomy of a YAML or JSON file (docs/taxonomy.md), LEUKEMIA_ATTRI for None.

    Raises DataError whose message has lines `file:line: key: what is wrong and what to write instead`.
    """
    if path is None:
        return LEUKEMIA_ATTRI
    advice = f"Copy {SHIPPED} and change it (docs/taxonomy.md)."
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
        if len(raw) > _LARGEST_BYTES:
            raise DataError(f"{path}: larger than 1 MiB, so no taxonomy file. {advice}")
        document = read_document(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}; save the file as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). {advice}") from error
    if document.faults:
        raise DataError("\n".join(f"{path}:{fault.line}: {fault}" for fault in sorted(document.faults)))
    data = document.data
    if not isinstance(data, Mapping):
        raise DataError(f"{path}:1: no taxonomy: keys such as 'classes:' are expected. {advice}")
    try:
        _known_keys(data)
        taxonomy = Taxonomy.from_dict(data)
        _check(taxonomy, data)
    except TaxonomyError as fault:
        raise DataError(f"{path}:{document.line(fault.path)}: {fault}") from fault
    return taxonomy


def _known_keys(data: Mapping[str, Any]) -> None:
    _among(data, _KEYS, (), "key")
    kinds = {"classes": CellType, "types": CellType, "attributes": Attribute, "told_groups": CellGroup, "person_classes": PersonClass}
    for where, kind in kinds.items():
        entries = data.get(where)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping):
                _among(entry, [f.name for f in fields(kind)], (where, str(number)), "key")


def _among(words: Iterable[str], allowed: Iterable[str], path: KeyPath, what: str) -> None:
    """TaxonomyError for the first of `words` that is not allowed, with the nearest name that is."""
    allowed = list(allowed)
    for word in words:
        if word not in allowed:
            near = difflib.get_close_matches(word, allowed, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(allowed)}"
            raise TaxonomyError((*path, word) if what == "key" else path, f"no {what} '{word}'; {advice}")


def _check(taxonomy: Taxonomy, data: Mapping[str, Any]) -> None:
    """What a taxonomy made in code need not keep, but a file must."""
    if taxonomy.artefact:
        _among([taxonomy.artefact], taxonomy.classes, ("artefact",), "class")
    for group, members in (("blasts", taxonomy.blasts), *taxonomy.class_groups):
        _among(members, taxonomy.classes, ("groups", group), "class")
    _check_looks(taxonomy)
    for number, person in enumerate(taxonomy.person_classes):
        if not re.fullmatch("[a-z][a-z0-9_]*", person.key):
            why = f"'{person.key}' is no key; write small letters, digits and underscores"
            raise TaxonomyError(("person_classes", str(number), "key"), why)
    keys = [a.key for a in taxonomy.attributes]
    for number, attribute in enumerate(taxonomy.attributes):
        path = ("attributes", str(number))
        if not re.fullmatch("[a-z][a-z0-9_]*", attribute.key) or attribute.key == SKIP:
            raise TaxonomyError((*path, "key"), f"'{attribute.key}' is no key; write small letters, digits and underscores")
        if len({plain(v) for v in attribute.values}) < len(attribute.values):
            raise TaxonomyError((*path, "values"), "two values are spelled alike")
        if MIXED in attribute.values:
            raise TaxonomyError((*path, "values"), f"'{MIXED}' is said of types whose cells do not agree; choose another word")
        _among([attribute.part] if attribute.part else [], PARTS, (*path, "part"), "part")
        _among([value for value, _ in attribute.telling], attribute.values, (*path, "telling"), "value")
        _among([value for value, _ in attribute.phrases], (*attribute.values, MIXED), (*path, "phrases"), "value")
    for name, columns in (data.get("txt_layouts") or {}).items():
        _among(columns, (*keys, SKIP), ("txt_layouts", name), "attribute")
    _among(data.get("attribute_cnn") or (), keys, ("attribute_cnn",), "attribute")
    _distinct("classes", "name", [(t.name, (t.name, t.plural, *t.spellings)) for t in taxonomy.types])
    _distinct("classes", "code", [(t.name, (t.code,)) for t in taxonomy.types])
    _distinct("attributes", "key", [(a.key, (a.key, a.name, *a.json)) for a in taxonomy.attributes])


def _check_looks(taxonomy: Taxonomy) -> None:
    """Codes, colours and markers of classes, told groups and person's classes."""
    looked: list[tuple[str, int, CellType | CellGroup | PersonClass]] = []
    looked += [("classes", number, one) for number, one in enumerate(taxonomy.types)]
    looked += [("told_groups", number, group) for number, group in enumerate(taxonomy.told_groups)]
    looked += [("person_classes", number, person) for number, person in enumerate(taxonomy.person_classes)]
    for where, number, one in looked:
        code, wanted = _CODES.get(where, _CODES["classes"])
        path = (where, str(number))
        if one.colour and not re.fullmatch("[0-9A-Fa-f]{6}", one.colour):
            raise TaxonomyError((*path, "colour"), f"'{one.colour}' is no colour; write six hexadecimal digits RRGGBB in quotes")
        if one.code and not re.fullmatch(code, one.code):
            raise TaxonomyError((*path, "code"), f"'{one.code}' is no code; write {wanted}")
        if one.marker:
            _among([one.marker], OPEN_MARKERS if where == "told_groups" else MARKERS, (*path, "marker"), "marker")


def _distinct(where: str, key: str, entries: list[tuple[str, tuple[str, ...]]]) -> None:
    """TaxonomyError where two entries share a name, case, spaces and hyphens not counted."""
    taken: dict[str, str] = {}
    for number, (name, words) in enumerate(entries):
        for word in filter(None, map(plain, words)):
            if taken.setdefault(word, name) != name:
                raise TaxonomyError((where, str(number), key), f"'{word}' stands for {taken[word]} already; choose another")
