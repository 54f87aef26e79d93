"""Who may import whom, read from every module's source, imports inside functions too; and how large a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("device", "engines", "calibration")

LAYERS = {
    # what the daemon needs
    "ground": (
        "",
        "errors detections taxonomy spec files history pictures picture_header preprocess decode pages intervals second_thread version "
        "yaml_lines red_cells appliance",
    ),
    "engine": ("ground", "provenance manifest graph_file bundle naming runtime"),
    # the laboratory
    "calls": ("ground", "options progress lazy yaml_model"),
    "data": ("ground calls", "data film plot_style"),
    "families": ("ground engine data", "families"),
    "network": ("ground engine data families", "network"),
    "judging": ("ground calls engine data families network", "evaluation gate"),
    "learning": ("ground calls engine data families network judging", "training adapt"),
    "making": ("ground calls engine data families network judging", "export bench build build_check build_cubins build_plans"),
    "calibration": (
        "ground calls engine data families network judging",
        "calibration.transfer calibration.int8 calibration.site calibration.evidence",
    ),
    "board": ("ground calls engine data families network judging making", "first_board"),
    "plans": ("ground calls engine data families network judging learning making", "experiments recipe"),
    "commands": (
        "ground calls engine data families network judging learning making calibration board plans",
        "commands cli __main__",
    ),
    # the daemon
    "profile": ("ground", "calibration.profile calibration.optics"),
    "device": ("ground engine profile", "device"),
}
"""Layer: what it may use besides itself, and its rooms (of `engines` where no package is named). Every module is in one of them."""

EXCEPTIONS = {
    "device.camera.simulator": ("engines.film",),
    "device.camera.stage": ("engines.film",),
    "device.camera.hand": ("engines.film",),
    "device.service.learning": ("calibration.site", "engines.progress"),
    "calibration.site.record": ("device.errors", "device.report.keeping"),
    "device.bench": ("engines.bench.machine", "engines.bench.section", "engines.bench.spread"),
}
"""The rendered slide comes into the daemon by the simulated camera alone; the two benchmarks share how a section is written;
the box fits its own site layer as the laboratory does, and the laboratory reads a box's record by the box's own room."""

GROUND_MAY = {"numpy", "cv2", "typing_extensions", "yaml", "jinja2"}
"""Libraries of the ground; everything else it has from Python."""

ONLY_IN = {
    "torch": (
        "engines.families",
        "engines.network",
        "engines.training",
        "engines.export",
        "engines.adapt",
        "calibration.int8.finetune",
        "calibration.int8.straight_through",
    ),
    "tensorrt": ("engines.runtime.tensorrt", "engines.build"),
    "tensorrt_rtx": ("engines.runtime.tensorrt", "engines.build"),
    "pycuda": ("engines.runtime.tensorrt", "engines.build"),
    "cuda": ("engines.runtime.tensorrt", "engines.build"),
    "openvino": ("engines.runtime.openvino",),
    "onnxruntime": ("engines.runtime", "engines.export", "engines.gate", "calibration.int8.qdq"),
    "onnx": (
        "engines.export",
        "engines.families",
        "engines.build",
        "engines.build_check",
        "engines.gate.rounded",
        "calibration.int8.qdq",
        "calibration.int8.half",
        "calibration.int8.straight_through",
    ),
    "picamera2": ("device.camera.picamera",),
    "libcamera": ("device.camera.picamera",),
    "PySide6": ("device.display.window", "device.box.kiosk_window"),
    "cryptography": ("device.mqtt.certificates",),
    "amqtt": ("device.demo.broker",),
    "paho": ("device.mqtt",),
    "babel": ("device.language.messages",),
    **dict.fromkeys(("starlette", "uvicorn", "sqlalchemy", "alembic", "argon2", "itsdangerous"), ("device.supervisor",)),
    "matplotlib": (
        "engines.training",
        "engines.evaluation",
        "engines.plot_style",
        "engines.data.plots",
        "engines.bench.plot",
        "calibration.int8.frame_pictures",
        "calibration.evidence.pictures",
    ),
    "ultralytics": (),
}
"""Heavy or platform-bound libraries, and the only modules that may name them."""

HEAVY = {*ONLY_IN, "cv2", "numpy", "scipy", "pydantic", "PIL", "jinja2"}
"""What `--help` must not pay for."""

LONGEST = {"device": 400, "engines": 400, "calibration": 400, "tests": 420}


@dataclass(frozen=True)
class Import:
    """One import statement of module `by`: the module it names, in which line, and whether it runs when `by` is imported."""

    by: str
    names: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.names}"


def within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


@cache
def modules() -> dict[str, Path]:
    """Every module of the three packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(source: str, module: str, is_package: bool, known: frozenset[str]) -> Iterator[Import]:
    """All imports in `source`, also those inside functions and by importlib with a literal name."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(module, alias.name, child.lineno, inside)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    here = module.split(".")
                    parent = here[: len(here) - child.level + (1 if is_package else 0)]
                    base = ".".join([*parent, *([base] if base else [])])
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    yield Import(module, full if full in known else base, child.lineno, inside)
            elif isinstance(child, ast.Call):
                name = child.func.attr if isinstance(child.func, ast.Attribute) else getattr(child.func, "id", "")
                first = child.args[0] if child.args else None
                if name in ("import_module", "__import__") and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield Import(module, first.value, child.lineno, inside)
            yield from visit(child, inside)

    yield from visit(ast.parse(source), False)


@cache
def all_imports() -> tuple[Import, ...]:
    known = frozenset(modules())
    return tuple(
        found
        for module, path in modules().items()
        for found in imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", known)
    )


ROOMS = {
    (room if room.partition(".")[0] in PACKAGES else f"engines.{room}"): layer
    for layer, (_, rooms) in LAYERS.items()
    for room in rooms.split()
}


def layer_of(module: str) -> str:
    """The layer of a module of ours; "" for the bare packages, for what is in no layer, and for libraries."""
    return next((layer for room, layer in ROOMS.items() if within(module, (room,))), "")


def broken_rules(found: Import) -> list[str]:
    """The rules that this import breaks, in words."""
    by, names, top = found.by, found.names, found.names.partition(".")[0]
    layer, other, broken = layer_of(by), layer_of(names), []
    may = LAYERS[layer][0].split() if layer else []
    excepted = any(within(by, (room,)) and within(names, allowed) for room, allowed in EXCEPTIONS.items())
    if top in PACKAGES and other not in (layer, *may) and not excepted:
        broken.append(f"{layer} may use {', '.join(may) or 'nothing of ours'}, not {other or 'a bare package'}")
    if layer == "ground" and top not in (*sys.stdlib_module_names, *GROUND_MAY, *PACKAGES):
        broken.append(f"the ground needs {', '.join(sorted(GROUND_MAY))} only")
    if top in ONLY_IN and not within(by, ONLY_IN[top]):
        broken.append(f"{top} is imported in {', '.join(ONLY_IN[top]) or 'no module'} only")
    return broken


def test_every_module_is_in_one_layer_and_every_room_is_there() -> None:
    homeless = [module for module in modules() if module not in PACKAGES and not layer_of(module)]
    assert not homeless, f"say in LAYERS where these belong: {homeless}"
    named = {*ROOMS, *EXCEPTIONS, *(room for rooms in (*ONLY_IN.values(), *EXCEPTIONS.values()) for room in rooms)}
    assert not (gone := named - set(modules())), f"there are no such modules any more: {gone}"


def test_every_import_keeps_the_rules() -> None:
    broken = dict.fromkeys(f"{found}: {rule}" for found in all_imports() for rule in broken_rules(found))
    assert not broken, "\n".join(broken)


def test_the_architectures_table_is_this_one() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    shown = {
        layer: (may.replace(",", "").strip(), set(re.findall(r"`([\w.]+)`", re.sub(r"\([^)]*\)", "", rooms))))
        for layer, may, rooms in re.findall(r"^\| (\w+) \|([^|]*)\|(.*)\|$", page, re.M)
    }
    assert {layer: (may, set(rooms.split())) for layer, (may, rooms) in LAYERS.items()} == {
        k: v for k, v in shown.items() if k != "layer"
    }


def ordered(edges: dict[str, set[str]]) -> None:
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail("a cycle: " + " imports ".join(reversed(error.args[1])))


def test_no_module_imports_itself_by_way_of_others() -> None:
    edges: dict[str, set[str]] = {module: set() for module in modules()}
    for found in all_imports():
        if found.names in edges and found.names != found.by:
            edges[found.by].add(found.names)
    ordered(edges)


def test_no_room_imports_itself_by_way_of_others() -> None:
    """Rooms are the packages below `device`, `engines` and `calibration`, and the single modules beside them."""
    edges: dict[str, set[str]] = {}
    for found in all_imports():
        if found.names in modules():
            room, other = (".".join(name.split(".")[:2]) for name in (found.by, found.names))
            if room != other:
                edges.setdefault(room, set()).add(other)
    ordered(edges)


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("engines.taxonomy", "import device.settings.config", "ground may use nothing of ours, not device"),
        ("calibration.int8.frames", "def f():\n    from device import line", "not device"),
        ("calibration.int8.frames", "import engines.cli", "not commands"),
        ("calibration.transfer.work", "from engines.training import loop", "not learning"),
        ("device.app", "import torch", "torch is imported in"),
        ("device.app", "def f():\n    import torch", "torch is imported in"),
        ("device.app", "import importlib\nimportlib.import_module('onnxruntime')", "onnxruntime is imported in"),
        ("device.app", "from engines.training import loop", "device may use ground, engine, profile, not learning"),
        ("device.pipeline", "from engines.film import scene", "not data"),
        ("device.app", "from engines.options import option", "not calls"),
        ("device.bench.way", "from engines.bench import measure", "not making"),
        ("device.app", "import calibration.int8.qdq", "not calibration"),
        ("engines.decode", "import scipy", "the ground needs"),
        ("engines.files", "from engines.manifest import read", "ground may use nothing of ours, not engine"),
        ("engines.runtime.onnx", "from ..families import base", "not families"),
        ("engines.evaluation.page", "from engines.training import loop", "not learning"),
        ("engines.cli", "def train():\n    import torch", "torch is imported in"),
        ("engines.data.augment", "import torch", "torch is imported in"),
        ("engines.families.attridet.layers", "from calibration import profile", "not profile"),
        ("engines.gate.page", "import calibration.int8", "not calibration"),
        ("engines.families.base", "import ultralytics", "no module"),
    ],
)
def test_a_broken_rule_is_seen(module: str, source: str, rule: str) -> None:
    known = frozenset(
        {
            "device.settings.config",
            "engines.training.loop",
            "engines.film.scene",
            "engines.families.attridet.yolov5",
            "calibration.profile",
        }
    )
    broken = [words for found in imports_of(source, module, False, known) for words in broken_rules(found)]
    assert any(rule in words for words in broken), broken


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("device.camera.simulator", "from engines.film import plane"),
        ("device.camera.picamera", "def f():\n    from picamera2 import Picamera2"),
        ("engines.decode", "import cv2, numpy\nfrom engines.taxonomy import Taxonomy"),
        ("engines.runtime", "from .base import Engine"),
    ],
)
def test_what_the_rules_allow(module: str, source: str) -> None:
    known = frozenset({"engines.runtime.base", "engines.taxonomy"})
    assert [
        broken_rules(found) for found in imports_of(source, module, module == "engines.runtime", known) if broken_rules(found)
    ] == []


@pytest.mark.parametrize("folder", LONGEST)
def test_no_file_is_too_long_to_be_read_at_once(folder: str) -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    too_long = {str(path): lines for path, lines in lengths.items() if lines > LONGEST[folder]}
    assert not too_long, f"split by meaning: {too_long}"


@pytest.mark.parametrize("start", [["-m", "device"], ["-c", "from engines.cli import main; main()"]], ids=["leukoscope", "attridet"])
def test_help_loads_nothing_heavy(start: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *start, "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr[-300:]
    assert "Usage" in run.stdout
    modules = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    loaded = {name.partition(".")[0] for name in modules}
    assert loaded & {"device", "engines"}
    assert not loaded & HEAVY
    # So that it answers at once, on any machine: 281 and 309 modules, 24 and 45 of them ours, on 1 December 2026 with Python 3.11.
    assert len(modules) < 360 and sum(name.startswith(("device", "engines")) for name in modules) < 55
