"""The options of a call, described once: the command line makes its help from them, and a call from Python is held to the same limits.

@dataclass(frozen=True, kw_only=True)
class FilmRequest(Request):
    fields: Annotated[int, Option("Fields to render.", low=1)] = 24
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from typing_extensions import Self

from engines.errors import DataError


@dataclass(frozen=True)
class Option:
    """What the command line and its help page say of one field of a `Request`.

    help: one sentence. panel: its group on the help page. metavar: what its value is called. name: the option, where it is not the
    field's name. off: the option that sets a switch to False. argument: given by its place, not by a name. low, high, choices: limits.
    """

    help: str = ""
    panel: str = ""
    metavar: str = ""
    name: str = ""
    off: str = ""
    argument: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def fault(self, value: Any) -> str | None:
        """Why `value` is not allowed, None where it is."""
        if self.choices and value not in self.choices:
            return f"there are {', '.join(self.choices)}"
        if self.low is not None and not value >= self.low:
            return f"must be at least {self.low:g}"
        if self.high is not None and not value <= self.high:
            return f"must be at most {self.high:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class Request:
    """Base of every frozen dataclass of options. Raises DataError naming the option whose value is out of its limits.

    given: names of the fields that the caller set, which a resumed run compares with what it was begun with; after
    `dataclasses.replace`, which sets all of them, those that differ from their defaults.
    """

    given: frozenset[str] = field(init=False, repr=False, compare=False)

    def __new__(cls, **given: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "given", frozenset(given))
        return self

    def __post_init__(self) -> None:
        settable = [each for each in fields(self) if each.init]
        if len(self.given) == len(settable):
            changed = frozenset(each.name for each in settable if getattr(self, each.name) != each.default)
            object.__setattr__(self, "given", changed)
        for each, option, _ in options_of(type(self)):
            values = getattr(self, each.name)
            for value in values if isinstance(values, tuple) else (values,):
                fault = None if value is None else option.fault(value)
                if fault is not None:
                    shown = f"{value:g}" if isinstance(value, float) else value
                    raise DataError(f"{option_name(each.name, option)} {shown}: {fault}")


def option_name(name: str, option: Option) -> str:
    """What a field is called on the command line."""
    return name.upper() if option.argument else option.name or "--" + name.replace("_", "-")


def options_of(request: type[Request]) -> Iterator[tuple[Field[Any], Option, Any]]:
    """Field, option and type of each thing that the command line takes, in order."""
    hints = get_type_hints(request, include_extras=True)
    for each in fields(request):
        hint = hints[each.name]
        if get_origin(hint) is Annotated:
            kind, option = get_args(hint)[:2]
            yield each, option, kind


_R = TypeVar("_R", bound=Request)


def request_from(kind: type[_R], words: Sequence[str]) -> _R:
    """What a command line asks for: `words` after the command's name, as the program itself reads them (`engines.cli`).

    Raises DataError naming the word that means nothing, with the nearest option, or the option that lacks its value or must be given.
    """
    named: dict[str, tuple[str, Any, bool]] = {}
    arguments: list[tuple[str, Any]] = []
    for each, option, hint in options_of(kind):
        if option.argument:
            arguments.append((each.name, hint))
            continue
        named[option_name(each.name, option)] = each.name, hint, True
        if option.off:
            named[option.off] = each.name, hint, False
    given: dict[str, Any] = {}
    left = list(words)
    while left:
        word, _, value = left.pop(0).partition("=")
        if not word.startswith("--"):
            if not arguments:
                raise DataError(f"{word}: one word too many")
            name, hint = arguments[0]
            _take(given, name, hint, name.upper(), f"{word}={value}" if value else word)
            if get_origin(hint) is not tuple:
                arguments.pop(0)
            continue
        if word not in named:
            near = difflib.get_close_matches(word, named, 1, 0.6)
            raise DataError(f"{word}: no such option;{f' did you mean {near[0]}?' if near else ''} there are {', '.join(named)}")
        name, hint, on = named[word]
        if "bool" in str(hint):
            given[name] = on
        elif value or (left and not left[0].startswith("--")):
            _take(given, name, hint, word, value or left.pop(0))
        else:
            raise DataError(f"{word}: needs a value")
    lacking = [option_name(f.name, option) for f, option, _ in options_of(kind) if f.name not in given and f.default is MISSING]
    if lacking:
        raise DataError(f"{lacking[0]}: must be given")
    return kind(**given)


def _take(given: dict[str, Any], name: str, hint: Any, word: str, text: str) -> None:
    """Put `text` into `given` as the type `hint` has it; one more of several for a tuple."""
    inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
    made = next(one for one in (Path, float, int, str) if one is inner or one in get_args(inner))
    try:
        value = made(text)
    except ValueError as error:
        raise DataError(f"{word} {text}: not {'a number' if made is float else 'a whole number'}") from error
    given[name] = (*given.get(name, ()), value) if get_origin(hint) is tuple else value


TAXONOMY = Option("Types and attributes: a YAML file (docs/taxonomy.md); LeukemiaAttri's without it.", metavar="FILE")
"""Of every command that begins from data."""

PIXEL_ASPECT = Option(
    "Pixel aspect of the pictures, which is undone: how wide a round cell is over how high. Without it what pictures.yaml in the "
    "folder states, or what its red cells leave no doubt of. DIR=X for one of several folders; repeat for several.",
    metavar="[DIR=]X",
)
"""Of every command that reads labelled pictures."""
