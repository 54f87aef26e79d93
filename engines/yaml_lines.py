"""A YAML file as plain data that remembers its lines, with every fault of the writing. What the keys mean lives with its readers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

KeyPath = tuple[str, ...]

_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")}

# PyYAML's words for what people do wrong most often, and ours.
_PLAIN_WORDS = (
    ("found character '\\t'", "a tab stands here; YAML is indented with spaces only"),
    ("found character '@'", "text that begins with '@' must stand in quotes"),
    ("found character '`'", "text that begins with '`' must stand in quotes"),
    ("found character '%'", "text that begins with '%' must stand in quotes"),
    ("mapping values are not allowed here", "a ':' stands where none may be; check the indentation, and put text with ': ' in quotes"),
    ("could not find expected ':'", "a key without ':'; write 'key: value', with a space after the colon"),
    ("expected ',' or", "inside { } and [ ] entries are parted by ', '; put text with ': ' in quotes"),
    ("but found '<block ", "the indentation does not fit the lines above"),
    ("but found '<scalar>'", "text that fits nothing; put the whole value in quotes"),
    ("but found another document", "a second document ('---'); one file holds one document"),
    ("found unexpected end of stream", "a quotation mark is opened and never closed"),
    ("found unknown escape character", "inside double quotes '\\' begins an escape; use single quotes for such text"),
    ("found undefined alias", "text that begins with '*' must stand in quotes"),
)


@dataclass(frozen=True, order=True)
class Fault:
    """One thing to mend. `key` is dotted, empty where the fault is no key's; `line` counts from 1, 0 where there is none."""

    line: int
    key: str
    text: str

    def __str__(self) -> str:
        words = f"{self.key}: {self.text}" if self.key else self.text
        return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in words)  # one line, whatever was written


@dataclass(frozen=True)
class Place:
    """Where a key stands and how its value is written. `raw` is None for sections and lists; `plain`: without quotes."""

    line: int
    raw: str | None = None
    plain: bool = False


@dataclass
class Document:
    """What the file holds. Values that already have a fault are in `data` all the same, so that the others can be checked."""

    data: object = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """Line of the key, or of the nearest section around it that is in the file; 1 if none is."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path].line if path else 1


def read_document(text: str) -> Document:
    """Read one YAML document. Never raises for what is written in it: what cannot be read is a Fault with its line."""
    document = Document()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            document.data = _value(root, (), document, set())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.faults.append(Fault(line, "", f"a character that no text file holds (U+{ord(text[error.position]):04X})"))
    except yaml.MarkedYAMLError as error:
        document.faults.append(_syntax_fault(error))
    except RecursionError:
        document.faults.append(Fault(1, "", "nested too deeply"))
    return document


def _syntax_fault(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    problem = error.problem or "not YAML"
    words = next((ours for theirs, ours in _PLAIN_WORDS if theirs in problem), f"not YAML: {problem}")
    if "end of stream" in problem and error.context_mark:
        line = error.context_mark.line + 1  # where the quotation begins, not where the file ends
    return Fault(line, "", words)


def _value(node: yaml.Node, path: KeyPath, document: Document, seen: set[int]) -> object:
    if id(node) in seen:
        document.faults.append(Fault(document.line(path), ".".join(path), "'&name' and '*name' are not used here; write the value out"))
        return None
    seen.add(id(node))
    if node.tag not in _TAGS:
        written = node.tag.replace(_TAG, "!!")
        document.faults.append(Fault(node.start_mark.line + 1, ".".join(path), f"tags are not used here; remove '{written}'"))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document, seen)
    if isinstance(node, yaml.SequenceNode):
        items = [((*path, str(i)), item) for i, item in enumerate(node.value)]
        document.places |= {here: Place(item.start_mark.line + 1) for here, item in items}
        return [_value(item, here, document, seen) for here, item in items]
    return _scalar(node, path, document)


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document, seen: set[int]) -> dict[str, object]:
    data: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.faults.append(Fault(line, ".".join(path), "a key must be plain text"))
            continue
        key = str(key_node.value)  # as written: `on` and `no` are keys like others
        here = (*path, key)
        if key in data:
            document.faults.append(Fault(line, ".".join(here), f"given twice, first on line {document.places[here].line}; keep one"))
            continue
        scalar = isinstance(value_node, yaml.ScalarNode)
        document.places[here] = Place(line, str(value_node.value) if scalar else None, scalar and value_node.style is None)
        data[key] = _value(value_node, here, document, seen)
    return data


def _scalar(node: yaml.Node, path: KeyPath, document: Document) -> object:
    """The scalar's value by YAML 1.1's rules, except that dates stay text and numbers with a second meaning are faults."""
    raw, kind = str(node.value), node.tag[len(_TAG) :]
    try:
        if kind in ("int", "float") and ":" in raw:
            text = f"YAML reads {raw} as a number to the base of sixty; put it in quotes if it is text: '{raw}'"
        elif kind == "int" and _OCTAL.fullmatch(raw):
            octal = int(raw.replace("_", ""), 8)
            text = f"YAML reads {raw} as octal, that is {octal}; write a number without a 0 before it, text in quotes"
        else:
            return yaml.SafeLoader("").construct_object(node) if kind in ("null", "bool", "int", "float") else raw
    except (ValueError, KeyError, IndexError):  # a tag such as !!int before what is none
        text = f"{raw[:40]!r} cannot be read as {'a number' if kind in ('int', 'float') else kind}"
    document.faults.append(Fault(node.start_mark.line + 1, ".".join(path), text))
    return None
