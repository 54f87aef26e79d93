"""Who may import whom, read from every module's source, imports inside functions too; and how large a file may be."""

from __future__ import annotations

import ast
import resource
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

LAYERS = (
    (
        "engines.taxonomy",
        "engines.errors",
        "engines.detections",
        "engines.second_thread",
        "engines.files",
        "engines.picture_header",
        "engines.pages",
        "engines.pictures",
        "engines.options",
        "engines.progress",
        "engines.version",
        "engines.yaml_lines",
    ),
    ("engines.preprocess", "engines.decode", "engines.manifest", "engines.bundle"),
    ("engines.runtime",),
)
"""Rooms of `engines` that the daemon needs: each imports from its own layer and those above it in this list, and no other room."""

BOTTOM = (*LAYERS[0], "engines.preprocess", "engines.decode")
BOTTOM_MAY = {"numpy", "cv2", "typing_extensions", "yaml", "jinja2"}

DEVICE_MAY = tuple(room for layer in LAYERS for room in layer)
FILM_IN = ("device.camera.simulator", "device.camera.stage")
"""The rendered slide comes into the daemon by the simulated camera and its stage, and no other way."""
BENCH_SHARED = ("engines.bench.machine", "engines.bench.section", "engines.bench.spread")
"""What the daemon's benchmark, and nothing else of it, shares with the engines' benchmark."""

ONLY_IN = {
    "torch": ("engines.network", "engines.training", "engines.export", "engines.adapt", "engines.baselines"),
    "tensorrt": ("engines.runtime.tensorrt", "engines.build"),
    "tensorrt_rtx": ("engines.runtime.tensorrt", "engines.build"),
    "pycuda": ("engines.runtime.tensorrt", "engines.build"),
    "cuda": ("engines.runtime.tensorrt", "engines.build"),
    "openvino": ("engines.runtime.openvino",),
    "onnxruntime": ("engines.runtime", "engines.export", "engines.gate", "calibration.int8.qdq"),
    "onnx": ("engines.export", "engines.build", "calibration.int8.qdq", "calibration.int8.half"),
    "picamera2": ("device.camera.picamera",),
    "libcamera": ("device.camera.picamera",),
    "PySide6": ("device.display.window",),
    "amqtt": ("device.demo.broker",),
    "paho": ("device.mqtt",),
    "matplotlib": (
        "engines.training",
        "engines.evaluation",
        "engines.plot_style",
        "engines.data.plots",
        "engines.bench.plot",
        "calibration.int8.frame_pictures",
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


def broken_rules(found: Import) -> list[str]:
    """The rules that this import breaks, in words."""
    by, names, top = found.by, found.names, found.names.partition(".")[0]
    broken = []
    if top == "device" and not within(by, ("device",)):
        broken.append("nothing imports device but device itself")
    if within(by, ("device",)) and top == "engines" and not within(names, DEVICE_MAY):
        film = within(names, ("engines.film",)) and within(by, FILM_IN)
        bench = within(names, BENCH_SHARED) and within(by, ("device.bench",))
        if not film and not bench:
            broken.append(
                f"device may use of engines only {', '.join(DEVICE_MAY)}, engines.film in {', '.join(FILM_IN)}, "
                f"and {', '.join(BENCH_SHARED)} in device.bench"
            )
    if within(by, ("device",)) and top == "calibration" and not within(names, ("calibration.profile",)):
        broken.append("device may use of calibration only calibration.profile")
    if within(by, ("calibration",)) and within(names, ("engines.cli", "engines.commands")):
        broken.append("calibration may use of engines everything but its commands")
    if within(by, ("engines",)) and top == "calibration" and not within(by, ("engines.cli", "engines.commands")):
        broken.append("engines may use calibration only in its commands")
    for level, layer in enumerate(LAYERS):
        allowed = tuple(room for rooms in LAYERS[: level + 1] for room in rooms)
        if within(by, layer) and top == "engines" and not within(names, allowed):
            broken.append(f"{' and '.join(layer)} may use of engines only {', '.join(allowed)}")
    if within(by, BOTTOM) and top not in (*sys.stdlib_module_names, *BOTTOM_MAY, "engines"):
        broken.append(f"the bottom rooms of engines need {', '.join(sorted(BOTTOM_MAY))} only")
    if top in ONLY_IN and not within(by, ONLY_IN[top]):
        broken.append(f"{top} is imported in {', '.join(ONLY_IN[top]) or 'no module'} only")
    return broken


def test_every_import_keeps_the_rules() -> None:
    broken = dict.fromkeys(f"{found}: {rule}" for found in all_imports() for rule in broken_rules(found))
    assert not broken, "\n".join(broken)


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
        ("engines.taxonomy", "import device.settings.config", "nothing imports device"),
        ("calibration.optics", "def f():\n    from device import config", "nothing imports device"),
        ("device.app", "import torch", "torch is imported in"),
        ("device.app", "def f():\n    import torch", "torch is imported in"),
        ("device.app", "import importlib\nimportlib.import_module('onnxruntime')", "onnxruntime is imported in"),
        ("device.app", "from engines.training import loop", "device may use of engines only"),
        ("device.pipeline", "from engines.film import scene", "device may use of engines only"),
        ("device.app", "from calibration.int8.qdq import x", "only calibration.profile"),
        ("engines.decode", "import scipy", "the bottom rooms"),
        ("engines.taxonomy", "from engines.decode import nms", "may use of engines only"),
        ("engines.runtime.onnx", "from ..network import yolov5", "may use of engines only"),
        ("engines.cli", "def train():\n    import torch", "torch is imported in"),
        ("engines.data.augment", "import torch", "torch is imported in"),
        ("engines.network.layers", "from calibration import profile", "only in its commands"),
        ("calibration.int8.frames", "from engines.commands import train", "everything but its commands"),
        ("engines.network.yolov5", "import ultralytics", "no module"),
    ],
)
def test_a_broken_rule_is_seen(module: str, source: str, rule: str) -> None:
    known = frozenset(
        {"device.settings.config", "engines.training.loop", "engines.film.scene", "engines.network.yolov5", "calibration.profile"}
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
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert loaded & {"device", "engines"}
    assert not loaded & HEAVY


def test_help_answers_at_once() -> None:
    """Processor time of the quickest of five, so that a busy machine does not count."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "device", "--help"], cwd=ROOT, capture_output=True, timeout=60, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(spent) < 0.3
