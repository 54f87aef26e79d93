"""Options described once: limits hold from Python and from a shell, and every field of a request is on its help page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest
from commands import attridet

from calibration.int8.qdq import METHODS
from calibration.int8.request import QuantizeRequest
from engines.adapt.request import METHODS as WAYS_TO_ADAPT
from engines.adapt.trainer import METHODS as KNOWN_WAYS
from engines.cli import app
from engines.commands import (
    bench,
    build,
    concepts,
    data,
    evidence,
    film,
    first_board,
    import_weights,
    int8,
    learn,
    learning,
    recipe,
    transfer,
)
from engines.commands.terminal import Terminal
from engines.errors import DataError
from engines.families.attridet.yolov5 import VARIANTS
from engines.families.hyper import SETS
from engines.options import Option, Request, option_name, options_of
from engines.progress import Reporter
from engines.training.request import HYPERS, SIZES

COMMANDS: dict[str, Callable[..., object]] = {
    "adapt": learning.adapt, "bench": bench.bench, "build": build.build, "concepts": concepts.concepts,
    "data check": data.check, "data export": data.export,
    "data plot": data.plot, "data split": data.split, "evaluate": learning.evaluate, "experiment": learning.experiment,
    "export": learning.export, "film": film.film, "first-board": first_board.first_board, "frames": int8.frames, "gate": int8.gate,
    "evidence": evidence.evidence, "learn": learn.learn, "second-look": learning.second_look, "working-point": evidence.working_point,
    "half": int8.half, "import-weights": import_weights.import_weights, "quantize": int8.quantize,
    "recipe": recipe.recipe, "train": learning.train, "transfer": transfer.transfer,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tea(Request):
    cups: Annotated[int, Option("How many.", low=1, high=6)] = 2
    leaves: Annotated[tuple[str, ...], Option("Kinds.", choices=("green", "black"))] = ()
    with_milk: Annotated[bool | None, Option("Whether with milk.", off="--plain")] = None
    note: str = ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cups": 0}, r"--cups 0: must be at least 1"),
        ({"cups": 7}, r"--cups 7: must be at most 6"),
        ({"leaves": ("green", "mint")}, r"--leaves mint: there are green, black"),
        ({"cups": float("nan")}, r"--cups nan: must be at least 1"),
    ],
)
def test_limits_hold_from_python(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Tea(**given)


def test_a_request_knows_what_was_given() -> None:
    assert Tea(cups=2).given == {"cups"} and Tea().given == set()
    assert Tea(cups=2) == Tea()  # what was given is no part of what is asked for
    assert replace(Tea(cups=3), note="warm").given == {"cups", "note"}
    with pytest.raises(DataError, match="at most 6"):
        replace(Tea(), cups=9)
    assert [(field.name, option_name(field.name, option)) for field, option, _ in options_of(Tea)][2] == ("with_milk", "--with-milk")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_page_has_every_option(name: str) -> None:
    printed = attridet(*name.split(), "--help", columns=300)
    request = get_type_hints(COMMANDS[name])["request"]
    found = list(options_of(request))
    assert len(found) >= 3
    for field, option, _ in found:
        shown = option_name(field.name, option)
        assert shown in printed.out, shown
        assert not option.help or option.help.split(".")[0] in printed.out, option.help
        assert not option.off or option.off in printed.out
    assert "[default: None]" not in printed.out and "[default: ()]" not in printed.out


def test_every_command_is_in_the_program() -> None:
    listed = {name for name in app if not name.startswith("-")} - {"data"}
    assert listed == {name for name in COMMANDS if " " not in name}


@pytest.mark.parametrize("words", [(), ("data",)])
def test_without_a_command_there_is_help_and_exit_code_2(words: tuple[str, ...]) -> None:
    called = attridet(*words)
    assert called.code == 2 and called.out.startswith(f"Usage: {' '.join(('attridet', *words))} COMMAND") and not called.err


def test_choices_are_what_there_is() -> None:
    assert tuple(SETS) == HYPERS and tuple(VARIANTS) == SIZES and WAYS_TO_ADAPT == KNOWN_WAYS
    ((_, method, _),) = [entry for entry in options_of(QuantizeRequest) if entry[0].name == "method"]
    assert set(method.choices) == set(METHODS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), 'Unknown command "trian". Did you mean "train"?'),
        (("train", "--out", "x", "--no-resume"), "Unknown option: --no-resume"),
        (("train", "--out", "x", "--epochs", "1", "--epochs", "2"), "--epochs specified multiple times"),
        (("train", "--out", "x", "more"), "more"),
        (("export", "a.pt"), "OUT requires an argument"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    called = attridet(*words)
    assert called.code == 2 and not called.out and called.err.startswith("attridet: ") and message in called.err
    assert called.err.endswith(" --help")


def test_the_terminal_shows_messages_as_they_are_and_a_bar_for_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal() as terminal:
        counter = terminal.counter("reading")
        counter(1, 2)
        counter(2, 2)
        terminal.message("[red]not a colour[/red] but a name")
        terminal.warning("mind [this]")
        terminal.progress("scoring", 1, None)
    printed = capsys.readouterr()
    assert printed.out == "[red]not a colour[/red] but a name\nMind: mind [this]\n"
    assert "red" not in printed.err
    Reporter().progress("nobody hears", 1, 2)
