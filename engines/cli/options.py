"""From a dataclass of options to a command of cyclopts: names, help, panels and defaults are read from its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from typing import Annotated, Any, get_origin, get_type_hints

from cyclopts import App, Group, Parameter

from engines.options import Option, Request, option_name, options_of


def add_command(app: App, run: Callable[[Any], int | None]) -> None:
    """Adds `run` as a command: its docstring is the help, the fields of its parameter `request` are the options.

    What `run` returns is the exit code, None counting as 0.
    """
    kind: type[Request] = get_type_hints(run)["request"]

    def command(*_by_place: Any, **given: Any) -> int:  # names that no option bears: cyclopts would take that one for this
        arguments = [field.name for field, option, _ in options_of(kind) if option.argument]
        return run(kind(**dict(zip(arguments, _by_place)), **given)) or 0  # noqa: B905

    panels: dict[str, Group] = {}
    parameters = []
    for field, option, annotation in options_of(kind):
        group = panels.setdefault(option.panel, Group(option.panel or "Options", sort_key=len(panels)))
        how = inspect.Parameter.POSITIONAL_ONLY if option.argument else inspect.Parameter.KEYWORD_ONLY
        parameters.append(
            inspect.Parameter(
                field.name,
                how,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=Annotated[annotation, _parameter(field.name, option, annotation, group, field.default)],
            )
        )
    command.__signature__ = inspect.Signature(sorted(parameters, key=lambda p: p.kind))  # type: ignore[attr-defined]
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    app.command(command, name=run.__name__.replace("_", "-"))


def _parameter(name: str, option: Option, annotation: Any, group: Group, default: object) -> Parameter:
    several = get_origin(annotation) is tuple
    limits = [f"{word} {limit:g}" for word, limit in (("at least", option.low), ("at most", option.high)) if limit is not None]
    words = " ".join(filter(None, (option.help, f"[{', '.join(limits)}]" if limits else "")))
    shown = not several and "bool" not in str(annotation) and default is not None
    panel: dict[str, Any] = {} if option.argument else {"group": group, "name": option_name(name, option)}
    if option.metavar and "metavar" in inspect.signature(Parameter).parameters:  # cyclopts 5, which needs Python 3.11
        panel["metavar"] = option.metavar
    return Parameter(
        help=words,
        negative=option.off or (),
        show_default=shown,
        required=default is MISSING,
        consume_multiple=False if several and not option.argument else None,
        **panel,
    )
