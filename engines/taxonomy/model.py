"""Cell classes, morphological attributes and the words for them, as frozen data. Files are read in `reading`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import yaml

from engines.yaml_lines import KeyPath

UNKNOWN = -1
"""Label value of an attribute that the source does not state, or that does not apply (class None)."""

SHIPPED = Path(__file__).with_name("leukemia_attri.yaml")
SKIP = "skip"
"""In a TXT layout: a column that is not read."""
MIXED = "mixed"
"""In phrases: what is said where the cells of a type do not agree."""


class TaxonomyError(ValueError):
    """What is wrong with a taxonomy; `path` leads to the key."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(f"{'.'.join(path)}: {message}" if path else message)
        self.path = path


@dataclass(frozen=True)
class CellType:
    """The words and looks of one class; what is empty has a fallback where it is used.

    plural: as within a sentence. code: 2 to 4 letters for the screen. colour: RRGGBB. marker: diamond, disc, square, triangle or cross.
    spellings: other names of it in label files and weights.
    """

    name: str
    plural: str = ""
    code: str = ""
    colour: str = ""
    marker: str = ""
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attribute:
    """One morphological attribute: `key` as in code and payloads, `name` for people, `values` indexed by label code.

    noun: what a value stands before on the screen. telling: (value, rank), 1 the most telling. part: where the description says it
    (see leukemia_attri.yaml). phrases: (value or "mixed", words of the description). json: its keys in label files, the first is
    written.
    """

    key: str
    name: str
    values: tuple[str, ...]
    noun: str = ""
    telling: tuple[tuple[str, int], ...] = ()
    part: str = ""
    phrases: tuple[tuple[str, str], ...] = ()
    json: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellGroup:
    """The words and looks of a cell whose group is sure and whose type is not. key: "blasts", or "others" (white cells that are none).

    short: the name where there is little room. colour, marker: as of a CellType; the marker is drawn hollow. code: 2 or 3 letters and
    a question mark.
    """

    key: str
    name: str
    short: str = ""
    plural: str = ""
    code: str = ""
    colour: str = ""
    marker: str = ""


@dataclass(frozen=True)
class PersonClass:
    """The words and looks of what only a person says, at the review; it is no cell of the differential and is counted apart.

    key: as in the record and in summaries: "nrbc", "smudge", "artefact", "not_classed", or one of a taxonomy's own. Keys as of a
    CellType.
    """

    key: str
    name: str = ""
    plural: str = ""
    code: str = ""
    colour: str = ""
    marker: str = ""


@dataclass(frozen=True)
class TxtLayout:
    """The columns of a TXT line behind "class cx cy w h": attribute keys in order; SKIP, or a key that is no attribute, is not read."""

    name: str
    keys: tuple[str, ...]

    @property
    def columns(self) -> int:
        return 5 + len(self.keys)


@dataclass(frozen=True)
class Taxonomy:
    """What a network tells apart: cell classes (index = label code) and attributes (order = order of the logits).

    types: words and looks of each class, in the classes' order. class_groups: groups besides the blasts, (key, members). Words, looks,
    layouts, groups and person's classes that are not given are those of the shipped file, by the class's name and the attribute's or
    group's key. Raises ValueError for what contradicts itself.
    """

    classes: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    artefact: str = "None"
    blasts: tuple[str, ...] = ()
    class_groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    types: tuple[CellType, ...] = ()
    txt_layouts: tuple[TxtLayout, ...] = ()
    attribute_cnn: tuple[str, ...] = ()
    told_groups: tuple[CellGroup, ...] = ()
    person_classes: tuple[PersonClass, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes):
            raise TaxonomyError(("classes",), "class names must be unique")
        if any(len(a.values) < 2 for a in self.attributes):
            raise TaxonomyError(("attributes",), "an attribute needs at least two values")
        unknown = [b for b in self.blasts if b not in self.classes]
        if unknown:
            raise TaxonomyError(("groups", "blasts"), f"blasts name no class: {', '.join(unknown)}")
        shipped = _shipped()
        own, known = ({t.name: t for t in types} for types in (self.types, shipped["types"]))
        known[self.artefact] = known.pop(shipped["artefact"])
        types = tuple(_filled(own.get(name, CellType(name)), known.get(name)) for name in self.classes)
        words = {a.key: a for a in shipped["attributes"]}
        attributes = tuple(_filled(a, words.get(a.key)) for a in self.attributes)
        keys = {a.key for a in attributes}
        layouts = tuple(one for one in self.txt_layouts or shipped["txt_layouts"] if not one.keys or keys & set(one.keys))
        for number, layout in enumerate(layouts):
            twins = [other.name for other in layouts[:number] if other.columns == layout.columns]
            if twins:
                why = f"{layout.columns} columns as in {twins[0]}; a line could be read in two ways, remove one of them"
                raise TaxonomyError(("txt_layouts", layout.name), why)
        given: dict[str, Any] = {"types": types, "attributes": attributes, "txt_layouts": layouts}
        given["told_groups"] = _told_groups(self.told_groups, shipped["told_groups"])
        given["person_classes"] = _person_classes(self.person_classes, shipped["person_classes"], self.classes)
        named = dict(self.class_groups)
        ours = ((key, tuple(name for name in names if name in self.classes)) for key, names in shipped["class_groups"])
        given["class_groups"] = (*self.class_groups, *((key, names) for key, names in ours if names and key not in named))
        for name, value in {**given, "attribute_cnn": self.attribute_cnn or shipped["attribute_cnn"]}.items():
            object.__setattr__(self, name, value)

    @property
    def n_logits(self) -> int:
        """Length of the attribute vector: 15 for LeukemiaAttri (3 + 6 x 2)."""
        return sum(len(a.values) for a in self.attributes)

    @property
    def groups(self) -> tuple[slice, ...]:
        """One slice of the attribute vector for each attribute, in order."""
        ends = list(accumulate(len(a.values) for a in self.attributes))
        return tuple(map(slice, [0, *ends], ends))

    @property
    def blast_codes(self) -> tuple[int, ...]:
        """Label codes of the blasts and their equivalents."""
        return tuple(i for i in range(len(self.classes)) if self.is_blast(i))

    @property
    def artefact_codes(self) -> tuple[int, ...]:
        """Label codes of the artefact: one, or none in a taxonomy without it."""
        return tuple(i for i in range(len(self.classes)) if self.is_artefact(i))

    @property
    def meaning(self) -> tuple[object, ...]:
        """What the answers of a network mean, without the words for them: networks are compared where this is equal."""
        return self.classes, self.artefact, self.blasts, tuple((a.key, a.values) for a in self.attributes)

    def is_artefact(self, index: int) -> bool:
        return self.classes[index] == self.artefact

    def is_blast(self, index: int) -> bool:
        return self.classes[index] in self.blasts

    def group_of(self, index: int) -> str:
        """Key of the group in `told_groups` that a class belongs to: "blasts" or "others"; "" for the artefact."""
        return "" if self.is_artefact(index) else "blasts" if self.is_blast(index) else "others"

    def group(self, key: str) -> CellGroup:
        """The words of a group; KeyError if there is none of that key."""
        return {group.key: group for group in self.told_groups}[key]

    def person_class(self, key: str) -> PersonClass | None:
        """The person's class of that key, if there is one."""
        return next((one for one in self.person_classes if one.key == key), None)

    def members(self, group: str) -> tuple[str, ...]:
        """The classes of a group of the file, such as "equivalents" or "abnormal"; none where there is no such group."""
        return self.blasts if group == "blasts" else dict(self.class_groups).get(group, ())

    def layout(self, columns: int) -> TxtLayout | None:
        """The TXT layout of lines of so many columns, if there is one."""
        return next((one for one in self.txt_layouts if one.columns == columns), None)

    @property
    def widest_layout(self) -> TxtLayout:
        """The TXT layout that holds the most of these attributes."""
        keys = {a.key for a in self.attributes}
        return max(self.txt_layouts, key=lambda one: (len(keys & set(one.keys)), -one.columns), default=TxtLayout("boxes-5", ()))

    def to_dict(self) -> dict[str, Any]:
        """Plain form for a manifest, which older programs read too: they know classes, artefact, blasts and key, name and values."""
        return {
            "classes": list(self.classes),
            "artefact": self.artefact,
            "blasts": list(self.blasts),
            "attributes": [_plain(a) for a in self.attributes],
            "types": [_plain(t) for t in self.types],
            **({"groups": {key: list(members) for key, members in self.class_groups}} if self.class_groups else {}),
            "txt_layouts": {one.name: list(one.keys) for one in self.txt_layouts},
            "attribute_cnn": list(self.attribute_cnn),
            "told_groups": [_plain(group) for group in self.told_groups],
            "person_classes": [_plain(one) for one in self.person_classes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Taxonomy:
        """A taxonomy from its plain form, a file's or a manifest's, with words or without. Raises TaxonomyError naming the key."""
        return cls(**_parts(data))


Words = TypeVar("Words", CellType, Attribute, CellGroup, PersonClass)


@lru_cache(maxsize=4096)
def plain(word: str) -> str:
    """Letters and digits of a name, in lower case: what is left when spelling habits are taken away."""
    return "".join(c for c in word.casefold() if c.isalnum())


def _filled(own: Words, known: Words | None) -> Words:
    """`own`, with what is empty in it taken from `known`, but nothing on values that `own` has not."""
    if known is None or known is own:
        return own
    given = {f.name: getattr(known, f.name) for f in fields(own) if not getattr(own, f.name)}
    if isinstance(own, Attribute):
        said = (*own.values, MIXED)
        given |= {key: tuple(pair for pair in given[key] if pair[0] in said) for key in ("telling", "phrases") if key in given}
    return replace(own, **given)


def _told_groups(own: tuple[CellGroup, ...], shipped: tuple[CellGroup, ...]) -> tuple[CellGroup, ...]:
    """`own` with words and looks of the shipped ones where it says none, then those that it leaves out: always one of each key."""
    known, left = {group.key: group for group in shipped}, {group.key: group for group in shipped}
    for number, group in enumerate(own):
        if left.pop(group.key, None) is None:
            fault = f"'{group.key}' is none of {', '.join(known)}, or stands there twice"
            raise TaxonomyError(("told_groups", str(number), "key"), fault)
    return (*(_filled(group, known[group.key]) for group in own), *left.values())


def _person_classes(
    own: tuple[PersonClass, ...], shipped: tuple[PersonClass, ...], classes: tuple[str, ...]
) -> tuple[PersonClass, ...]:
    """`own` with words and looks of the shipped ones where it says none, then those that it leaves out."""
    known = {one.key: one for one in shipped}
    filled = tuple(_filled(one, known.get(one.key)) for one in own)
    taken = {*classes, "blasts", "others"}
    for number, one in enumerate(filled):
        if one.key in taken:
            raise TaxonomyError(("person_classes", str(number), "key"), f"'{one.key}' is a class, a group, or stands there twice")
        if not one.name:
            raise TaxonomyError(("person_classes", str(number)), "lacks 'name'")
        taken.add(one.key)
    return (*filled, *(one for one in shipped if one.key not in taken))


def _plain(words: CellType | Attribute | CellGroup | PersonClass) -> dict[str, Any]:
    data = {key: value for key, value in asdict(words).items() if value}
    for key, value in data.items():
        if isinstance(value, tuple):
            data[key] = dict(value) if key in ("telling", "phrases") else list(value)
    return data


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Any]:
    return _parts(yaml.load(SHIPPED.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _parts(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Taxonomy from a plain form."""
    data = section(data, ())
    groups = {key: texts(members, ("groups", key)) for key, members in section(data.get("groups") or {}, ("groups",)).items()}
    where = "types" if "types" in data else "classes"
    types = tuple(_built(CellType, {"name": one} if isinstance(one, str) else one, path) for path, one in _entries(data, where))
    return {
        "classes": tuple(t.name for t in types) if where == "classes" else texts(data.get("classes"), ("classes",)),
        "attributes": tuple(_built(Attribute, one, path) for path, one in _entries(data, "attributes")),
        "artefact": data.get("artefact", "None") and text(data.get("artefact", "None"), ("artefact",)),
        "blasts": groups.pop("blasts", None) or texts(data.get("blasts", ()), ("blasts",)),
        "class_groups": tuple(groups.items()),
        "types": types,
        "txt_layouts": tuple(TxtLayout(*one) for one in pairs(data.get("txt_layouts") or {}, ("txt_layouts",), texts)),
        "attribute_cnn": texts(data.get("attribute_cnn", ()), ("attribute_cnn",)),
        "told_groups": tuple(_built(CellGroup, one, path) for path, one in _entries(data, "told_groups"))
        if "told_groups" in data
        else (),
        "person_classes": tuple(_built(PersonClass, one, path) for path, one in _entries(data, "person_classes"))
        if "person_classes" in data
        else (),
    }


def _entries(data: Mapping[str, Any], key: str) -> Iterator[tuple[KeyPath, Any]]:
    if not isinstance(data.get(key), list | tuple) or not data[key]:
        raise TaxonomyError((key,) if key in data else (), f"the taxonomy lacks '{key}', a list")
    yield from (((key, str(number)), one) for number, one in enumerate(data[key]))


def _built(kind: type[Words], entry: object, path: KeyPath) -> Words:
    """One class or attribute of a file; keys that are not its fields are left alone."""
    data, given = section(entry, path), {}
    for one in fields(kind):
        if one.name in data:
            given[one.name] = _READERS[str(one.type)](data[one.name], (*path, one.name))
        elif one.default is MISSING:
            raise TaxonomyError(path, f"lacks '{one.name}'")
    return kind(**given)


def text(value: object, path: KeyPath) -> str:
    """`value`, if it is text; TaxonomyError if it is a number, a truth value or empty."""
    if not isinstance(value, str) or not value.strip():
        raise TaxonomyError(path, f"{value!r} is no text; put it in quotes" if value != "" else "is empty")
    return value


def texts(value: object, path: KeyPath) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TaxonomyError(path, "a list is expected, as in [one, two]")
    return tuple(text(one, path) for one in value)


def section(value: object, path: KeyPath) -> Mapping[str, Any]:
    """`value`, if it is a mapping with names for keys; TaxonomyError otherwise."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TaxonomyError(path, "'key: value' pairs are expected, the keys in quotes where they are no plain words")
    return value


def _rank(value: object, path: KeyPath) -> int:
    if type(value) is not int:
        raise TaxonomyError(path, f"{value!r} is no rank; write a whole number, 1 the most telling")
    return value


def pairs(value: object, path: KeyPath, read: Callable[[object, KeyPath], Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((key, read(one, (*path, key))) for key, one in section(value, path).items())


_READERS: dict[str, Callable[[object, KeyPath], Any]] = {
    "str": text,
    "tuple[str, ...]": texts,
    "tuple[tuple[str, int], ...]": partial(pairs, read=_rank),
    "tuple[tuple[str, str], ...]": partial(pairs, read=text),
}
"""How a field is read, by its type."""

LEUKEMIA_ATTRI = Taxonomy(**_shipped())
"""13 types of white blood cell and artefact ("None"), seven attributes; the default where no file and no manifest says otherwise."""
