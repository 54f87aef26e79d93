"""The options of a call, described once: the command line makes its help from them, and a call from Python is held to the same limits.

@dataclass(frozen=True, kw_only=True)
class FilmRequest(Request):
    fields: Annotated[int, Option("Fields to render.", low=1)] = 24
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

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


TAXONOMY = Option("Types and attributes: a YAML file (docs/taxonomy.md); LeukemiaAttri's without it.", metavar="FILE")
"""Of every command that begins from data."""

PIXEL_ASPECT = Option(
    "Pixel aspect of the pictures, which is undone: how wide a round cell is over how high. Without it what pictures.yaml in the "
    "folder states, or what its red cells leave no doubt of. DIR=X for one of several folders; repeat for several.",
    metavar="[DIR=]X",
)
"""Of every command that reads labelled pictures."""
