"""The pages say what is there: commands and options as the programs' help has them, links, file names, examples that run."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import device.cli
import engines.cli
from engines.data.leukemiaattri import read_split
from engines.film.dataset import write_dataset
from engines.runtime.factory import open_engine
from systemd.package.build import FILES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "systemd/*.md", "engines/zoo/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
PROGRAMS = {"leukoscope": device.cli.main, "attridet": engines.cli.main}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"^(?:sudo -u \S+ )?(?:\S*/)?(leukoscope|attridet) ([a-z].*)$")
WORD = re.compile(r"[a-z][a-z-]+")
TREE = ("device/", "engines/", "calibration/", "tests/", "docs/", "systemd/")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code_lines(text: str) -> Iterator[str]:
    """Every line of a fenced or indented block that is no program text, continued lines joined, and every `span`."""
    for _, language, body in FENCE.findall(text):
        if language in ("", "sh"):
            yield from body.replace("\\\n", " ").splitlines()
    prose = FENCE.sub("", text)
    yield from re.findall(r"(?<=\n\n) {4}(.+(?:\n {4}.+)*)", prose)
    yield from SPAN.findall(prose)


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Program and words of every call in the text, without comments."""
    for line in "\n".join(code_lines(text)).splitlines():
        found = CALL.search(re.sub(r"\s#.*", "", line).strip())
        if found:
            yield found[1], found[2].split()


HELP: dict[tuple[str, ...], str] = {}


def help_of(words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What `words --help` prints; empty where there is no such command, whose help would be refused or be another's."""
    if words not in HELP:
        monkeypatch.setattr(sys, "argv", [*words, "--help"])
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        with pytest.raises(SystemExit):
            PROGRAMS[words[0]]()
        printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        HELP[words] = printed if re.search(rf"usage: .*{' '.join(words[1:])}\b", printed, re.I) else ""
    return HELP[words]


class Checker:
    """Compares calls with the programs' help."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._help = partial(help_of, capsys=capsys, monkeypatch=monkeypatch)

    def faults(self, text: str) -> list[str]:
        wrong = []
        for program, words in calls(text):
            known, rest = (program,), words
            while rest and WORD.fullmatch(rest[0]) and self._help((*known, rest[0])):
                known, rest = (*known, rest[0]), rest[1:]
            if rest and WORD.fullmatch(rest[0]) and re.search(r"[uU]sage: .*(COMMAND|\{[a-z-]+,)", self._help(known)):
                wrong.append(f"{' '.join(known)} {rest[0]}: no such command")
                continue
            options = {"--help"} | set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", self._help(known)))
            used = re.findall(r"(?:^|(?<=[\s\[|]))--?[a-z][a-z0-9-]*", " ".join(rest))
            wrong += [f"{' '.join(known)} {option}: no such option" for option in used if option not in options]
        return wrong


@pytest.fixture
def checker(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Checker:
    return Checker(capsys, monkeypatch)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_of_a_page_exists(page: str, checker: Checker) -> None:
    wrong = checker.faults(read(page))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Run `attridet trian --data DIR`.", "attridet trian: no such command"),
        ("```\nsudo -u leukoscope /opt/leukoscope/bin/leukoscope doctor --confg x\n```\n", "leukoscope doctor --confg: no such option"),
        ("```sh\nattridet data split DIR \\\n  --vall 0.2   # comment\n```\n", "attridet data split --vall: no such option"),
        ("Thus:\n\n    attridet data chek DIR [--all]\n", "attridet data chek: no such command"),
    ],
)
def test_a_wrong_call_is_seen(text: str, fault: str, checker: Checker) -> None:
    assert checker.faults(text) == [fault]


def headings(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_file_name_leads_somewhere(page: str) -> None:
    text, here = read(page), (ROOT / page).parent
    wrong = []
    for target in LINK.findall(FENCE.sub("", text)):
        name, _, anchor = target.partition("#")
        if "://" in name or name.startswith("mailto:"):
            continue
        path = here / name if name else ROOT / page
        if not path.exists():
            wrong.append(f"{target}: there is no {path.relative_to(ROOT)}")
        elif anchor and anchor not in headings(path):
            wrong.append(f"{target}: no such heading")
    for span in SPAN.findall(text):
        if span.startswith(TREE) and re.fullmatch(r"[\w./*-]+", span) and not list(ROOT.glob(span.rstrip("/"))):
            wrong.append(f"`{span}`: there is no such file")
    assert not wrong, "\n".join(wrong)


def test_the_units_name_pages_that_an_installation_brings() -> None:
    assert ("docs/*.md", "usr/share/doc/leukoscope") in FILES
    units = sorted(ROOT.glob("systemd/*.service"))
    assert len(units) > 2
    for unit in units:
        (named,) = re.findall(r"^Documentation=file:/usr/share/doc/leukoscope/(\S+)$", unit.read_text(encoding="utf-8"), re.M)
        assert (ROOT / "docs" / named).is_file()


def blocks() -> list[Any]:
    return [
        pytest.param(body, id=f"{page}-{number}")
        for page in PAGES
        for number, (_, language, body) in enumerate(FENCE.findall(read(page)))
        if language == "python" and page != "docs/api.md"  # one program, run by test_docs_api
    ]


def given(name: str, stack: ExitStack, folder: Path) -> Any:
    """What a page's example takes for granted, by the name it has there."""
    if name in ("engine", "reference", "candidate"):
        return stack.enter_context(open_engine("zoo:attridet-n", threads=2))
    if name == "image":
        return np.full((480, 640, 3), 200, np.uint8)
    if name == "pictures":
        root = write_dataset(folder / "film", fields_train=1, fields_val=4, objectives=(40,), cases=("AML",), workers=1)
        return read_split(root, "val").images
    if name == "message":
        return SimpleNamespace(payload=(ROOT / "docs/schema/summary-1.example.json").read_bytes())
    raise AssertionError(f"the example takes {name} for granted; define it there, or say here what it is")


@pytest.mark.parametrize("code", blocks())
def test_the_examples_in_python_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse(code)
    nodes = list(ast.walk(tree))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    made |= {alias.asname or alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    made |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        namespace = {name: given(name, stack, tmp_path) for name in dict.fromkeys(node.id for node in names) if name not in made}
        exec(compile(tree, "example", "exec"), namespace)
