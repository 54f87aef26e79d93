"""The day with a board: everything that only it can show, measured by one call, into one archive that holds no patient's data.

    verdict = first_board(FirstBoardRequest(out=Path("orin")), reporter)      orin.tar.gz is what to send

Each part is kept as soon as it is known, and one that fails does not end the others. Each engine is opened in a process of its own: its
memory is its own, and a fault of the GPU takes nothing else along.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engines.bench.machine import Machine, in_own_process
from engines.bundle import ZOO, Bundle, resolve
from engines.errors import DataError, EnginesError, RuntimeUnavailableError
from engines.files import check_folder, make_folder, write_result
from engines.first_board.measure import Wish, measured
from engines.first_board.request import FirstBoardRequest
from engines.gate.request import folder_and_split
from engines.progress import SILENT, Reporter
from engines.runtime.tensorrt.board import l4t_release, power_mode
from engines.runtime.tensorrt.library import installed
from engines.version import version

DONE, FAILED, NOT_DONE = "done", "failed", "not done"
SENT = ("*.json", "*.txt", "*.xml")
"""What the archive holds of the folder; plans and rendered film stay behind."""
FILM_SEED = 16


@dataclass
class Part:
    """One part of the day: what became of it, in words, and its numbers."""

    name: str
    state: str
    words: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Day:
    """All parts, and the archive."""

    archive: Path
    parts: list[Part] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(part.state == FAILED for part in self.parts)


class _NotDoneError(Exception):
    """This part cannot be done here, which is no failure."""


def first_board(request: FirstBoardRequest, reporter: Reporter = SILENT) -> Day:
    """Runs the day. Raises DataError (folder) or RuntimeUnavailableError (no GPU or TensorRT; not `without_gpu`) before it begins."""
    out, archive = request.out, request.out.with_name(f"{request.out.name}.tar.gz")
    check_folder(out)
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out}: is not empty. Name a new folder, so that nothing else is sent with it.")
    bundles = [Bundle.open(resolve(name)) for name in request.bundle or shipped()]
    if not request.without_gpu:
        _check_gpu(request.runtime)
    make_folder(out)
    day = Day(archive)

    def part(name: str, does: Callable[[], tuple[str, dict[str, Any]]]) -> bool:
        reporter.message(f"{name} ...")
        try:
            words, numbers = does()
            done = Part(name, DONE, words, numbers)
        except _NotDoneError as error:
            done = Part(name, NOT_DONE, str(error))
        except EnginesError as error:
            done = Part(name, FAILED, str(error))
        except Exception as error:  # a driver may raise, or end the part's process with, anything: the day goes on
            done = Part(name, FAILED, f"{type(error).__name__}: {error}")
        day.parts.append(_without_names(done, request))
        reporter.message(f"{name}: {done.state}{f': {done.words}' if done.words else ''}")
        _keep(day, out)
        return done.state == DONE

    try:
        part("machine", _machine)
        part("doctor", lambda: _doctor(request))
        film = out / "film"
        if request.data is None:
            part("film", lambda: _film(film, request.fields, reporter))
        for bundle in bundles:
            label = _label(bundle)
            built = part(f"build {label}", lambda bundle=bundle: _build(request, bundle))  # type: ignore[misc]
            if request.without_gpu or built:
                part(f"measure {label}", lambda bundle=bundle: _measure(request, bundle, film))  # type: ignore[misc]
            else:
                part(f"measure {label}", _no_plan)
        part("tests", lambda: _tests(request))
    finally:
        _pack(out, archive)
    return day


def shipped() -> list[str]:
    """All bundles that came with the package: float, and FP16 and INT8 where there are such."""
    return [f"zoo:{manifest.parent.name}" for manifest in sorted(ZOO.glob("*/manifest.json"))]


def _label(bundle: Bundle) -> str:
    """Name and precision: the shipped bundles bear one name."""
    return f"{bundle.manifest.name}-{bundle.manifest.precision}"


def _plans(request: FirstBoardRequest, bundle: Bundle) -> Path:
    """A folder each, so that what is measured of one does not depend on what lies beside it."""
    return request.out / "plans" / _label(bundle)


# ---- parts


def _check_gpu(runtime: str) -> None:
    from engines.runtime.tensorrt.driver import Driver
    from engines.runtime.tensorrt.library import load

    try:
        Driver()
        load(runtime)
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(f"{error} What can be done without a GPU: --without-gpu.") from error


def _machine() -> tuple[str, dict[str, Any]]:
    machine = Machine.this()
    names = ("tensorrt", "tensorrt_rtx", "cuda", "pycuda", "onnxruntime", "openvino")
    numbers = asdict(machine) | {
        "leukoscope": version(),
        "l4t": l4t_release(),
        "nvpmodel": power_mode(),
        "nvidia_smi": _output("nvidia-smi", "--query-gpu=name,driver_version,power.limit,temperature.gpu", "--format=csv"),
        "cuda": _output("nvcc", "--version").rpartition("\n")[2],
        "installed": [name for name in names if installed(name)],
    }
    return f"{machine.processor}, {numbers['nvpmodel'] or 'no power mode (nvpmodel -q says nothing)'}", numbers


def _doctor(request: FirstBoardRequest) -> tuple[str, dict[str, Any]]:
    program = shutil.which("leukoscope", path=str(Path(sys.executable).parent)) or shutil.which("leukoscope")
    if program is None:
        raise _NotDoneError("there is no `leukoscope` here")
    if not request.config.is_file():
        raise _NotDoneError(f"there is no configuration {request.config}; name one with --config")
    run = subprocess.run([program, "doctor", "--config", str(request.config)], capture_output=True, text=True, timeout=300, check=False)
    write_result(request.out / "doctor.txt", run.stdout + run.stderr)
    return f"exit code {run.returncode}, see doctor.txt", {"exit_code": run.returncode}


def _film(folder: Path, fields: int, reporter: Reporter) -> tuple[str, dict[str, Any]]:
    from engines.film import write_dataset

    write_dataset(
        folder,
        fields_train=0,
        fields_val=fields,
        seed=FILM_SEED,
        domains=("L_C2",),
        objectives=(100,),
        progress=reporter.counter("rendering"),
    )
    return f"{fields} rendered fields: figures on them say nothing about patients", {"fields": fields}


def _build(request: FirstBoardRequest, bundle: Bundle) -> tuple[str, dict[str, Any]]:
    if request.without_gpu:
        if not installed("tensorrt_rtx"):
            raise _NotDoneError("a plan needs a GPU, and without tensorrt_rtx not even the parser can be asked")
        checked = in_own_process(_checked, str(bundle.path))
        words = "; ".join(f"{one['file']}: accepted{' but for ' * bool(one['left_out'])}{one['left_out']}" for one in checked)
        return f"parsed and compiled only, no plan ({words})", {"graphs": checked}
    numbers = in_own_process(_built, str(bundle.path), str(_plans(request, bundle)), request.runtime)
    write_result(request.out / f"plan-{_label(bundle)}.json", json.dumps(numbers, indent=1) + "\n")
    weakly = f", weakly typed: {', '.join(numbers['weakly_typed'])}" if numbers.get("weakly_typed") else ""
    return f"built in {numbers['seconds']:.0f} s, answers its golden picture{weakly}", numbers


def _checked(bundle: str) -> list[dict[str, Any]]:
    from engines.build_plans import check

    return [asdict(one) for one in check(Bundle.open(bundle), "tensorrt_rtx")]


def _built(bundle: str, plans: str, runtime: str) -> dict[str, Any]:
    from engines.build_plans import build_plans
    from engines.runtime.tensorrt.memory import spoken_by

    record = build_plans(Bundle.open(bundle), Path(plans), runtime, force=True).record
    built_by = f"leukoscope {version()}, CUDA by {spoken_by()}"  # no name of a host
    return record.model_copy(update={"built_by": built_by}).model_dump(mode="json")


def _no_plan() -> tuple[str, dict[str, Any]]:
    raise _NotDoneError("it has no plan")


def _measure(request: FirstBoardRequest, bundle: Bundle, film: Path) -> tuple[str, dict[str, Any]]:
    folder, split = (film, "val") if request.data is None else folder_and_split(request.data)
    wish = Wish(
        bundle=str(bundle.path),
        reference=str(resolve(request.reference)),
        runtime="auto" if request.without_gpu else request.runtime,
        plans=str(_plans(request, bundle)),
        data=str(folder),
        split=split,
        fields=request.fields,
        frames=request.frames,
        threads=request.threads,
    )
    numbers = in_own_process(measured, wish)
    time_ms, gate = numbers["frame_ms"], numbers["gate"]
    verdict = gate.get("not_done") or ("gate passed" if gate["passed"] else f"gate NOT passed: {gate['fault']}")
    words = (
        f"{numbers['runtime']}: a frame {time_ms['p50']:.1f} ms (99 %: {time_ms['p99']:.1f}) over {numbers['frames']} frames; {verdict}"
    )
    if numbers["golden_fault"]:
        words += f"; the golden picture is NOT answered: {numbers['golden_fault']}"
    return words, numbers


def _tests(request: FirstBoardRequest) -> tuple[str, dict[str, Any]]:
    if request.without_gpu:
        raise _NotDoneError("the tests of the GPU need one")
    if not request.tests.is_dir() or not installed("pytest"):
        raise _NotDoneError(f"needs {request.tests} of the source tree and pytest: run it there, or name the folder with --tests")
    junit = request.out / "gpu.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", str(request.tests), f"--junitxml={junit}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if junit.is_file():
        write_result(junit, re.sub(r' hostname="[^"]*"', "", junit.read_text(encoding="utf-8")))
    last = (run.stdout.strip().splitlines() or ["it said nothing"])[-1]
    if run.returncode:
        raise DataError(f"pytest: {last}")
    return last, {}


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


# ---- what is kept and sent


def _without_names(part: Part, request: FirstBoardRequest) -> Part:
    """A part as it may be sent. Names of a person's own pictures may be patients': what was said of them stays on the terminal."""
    if request.data is None or not part.name.startswith("measure"):
        return part
    gate = part.numbers.get("gate", {})
    numbers = part.numbers | {
        "gate": {name: value for name, value in gate.items() if name not in ("fault", "not_done", "data", "split")}
    }
    return Part(part.name, part.state, "words are left out: they may name own pictures" if part.words else "", numbers)


def _keep(day: Day, out: Path) -> None:
    write_result(out / "report.json", json.dumps({"parts": [asdict(part) for part in day.parts]}, indent=1, default=str) + "\n")
    head = f"first-board, leukoscope {version()}, {datetime.now(timezone.utc).isoformat(timespec='seconds')}. Not a diagnosis.\n"
    lines = [f"{part.name}: {part.state}{f': {part.words}' if part.words else ''}\n" for part in day.parts]
    write_result(out / "report.txt", head + "".join(lines))


def _pack(out: Path, archive: Path) -> None:
    """Only what is named in `SENT`, of the folder itself, without owners."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted({path for kind in SENT for path in out.glob(kind)}):
            tar.add(path, arcname=f"{out.name}/{path.name}", filter=plain)
