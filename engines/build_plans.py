"""A bundle's plans built on this device: compiled next to the old ones, checked on the golden picture, only then put in their place."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from engines.build import MIB, Built, GraphRefusedError, Phases, build_plan, kernel_for, workspace_bytes
from engines.build_check import ROI_ALIGN, behind_roi_align
from engines.bundle import Bundle
from engines.errors import BuildError, BundleError, DeviceLostError, InferenceError, RuntimeUnavailableError
from engines.files import make_folder, write_result
from engines.runtime.choice import made_from
from engines.runtime.precision import HALF
from engines.runtime.tensorrt.board import available_bytes, power_mode
from engines.runtime.tensorrt.driver import Driver
from engines.runtime.tensorrt.engine import TensorrtEngine
from engines.runtime.tensorrt.library import Library, load
from engines.runtime.tensorrt.memory import spoken_by
from engines.runtime.tensorrt.plan import (
    KERNEL,
    PlanKey,
    PlanRecord,
    file_of,
    graphs_of,
    key_of,
    read_plan,
    sidecar,
    sidecars,
)
from engines.version import version

CHECK_WORKSPACE = 1024 * MIB


@dataclass(frozen=True)
class Outcome:
    """What became of a build. built: False where the plan that was there is still the right one. removed: files of older plans."""

    record: PlanRecord
    path: Path
    built: bool
    removed: int = 0


@dataclass(frozen=True)
class Checked:
    """One graph compiled and thrown away. bytes, seconds: of its plan. left_out: the operator that could not be checked here, or "".

    weakly_typed: as in `Built`.
    """

    file: str
    bytes: int
    seconds: float
    left_out: str = ""
    weakly_typed: str = ""


def build_plans(
    bundle: Bundle, folder: Path, library: str = "tensorrt", force: bool = False, phases: Callable[[str], Phases] | None = None
) -> Outcome:
    """Plans of a bundle in `folder` for the GPU that is here; a plan that is there and answers the golden picture is left as it is.

    force: it is built again even if the plan is good. phases: gives the receiver of a graph's progress, by the graph's file name.

    The plan that is there stays until the new one has answered the golden picture. Raises RuntimeUnavailableError (no driver, GPU,
    TensorRT, pycuda, nvcc), BuildError, or BundleError (no golden picture, or the new plan answers it wrongly).
    """
    device_driver = Driver()  # first: TensorRT segfaults where there is no driver
    device, trt = device_driver.device(), load(library)
    key = key_of(bundle, trt, device)
    if bundle.golden() is None:
        raise BundleError(f"{bundle.path}: has no golden picture, so a plan could not be proved. Export the bundle again.")
    make_folder(folder)
    if not force and (kept := _still_good(bundle, folder, key)) is not None:
        return Outcome(kept, sidecar(folder, bundle.manifest.name, kept.key), built=False)
    start = perf_counter()
    workspace = workspace_bytes(available_bytes(), device_driver.free_bytes(), device.integrated)
    contents, weakly = {KERNEL: kernel_for(device.arch)}, dict[str, str]()
    timings_path = folder / f"timings-{trt.name}-{trt.version}-{device.arch}.cache"
    for role, onnx in graphs_of(bundle).items():
        timings = timings_path.read_bytes() if timings_path.is_file() else b""
        made = build_plan(trt, onnx, workspace, timings, phases(onnx.name) if phases else None)
        if made.timings:
            write_result(timings_path, made.timings)
        contents[role] = made.plan
        if made.weakly_typed:
            weakly[role] = made.weakly_typed
    key = key.weakly if weakly else key
    record = PlanRecord(
        bundle=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_digest=bundle.digest,
        precision=bundle.manifest.precision,
        key=key,
        digest=key.digest,
        files={role: file_of(bundle.manifest.name, key, role, content) for role, content in contents.items()},
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seconds=round(perf_counter() - start, 1),
        built_by=f"leukoscope {version()} on {platform.node()}, CUDA by {spoken_by()}",
        gpu=device.name,
        power_mode=power_mode(),
        workspace_bytes=workspace,
        golden=True,
        weakly_typed=weakly,
    )
    path = sidecar(folder, bundle.manifest.name, key)
    _prove(bundle, folder, trt, record, contents)
    for role, file in record.files.items():
        write_result(folder / file.name, contents[role])
    # Until this line the old sidecar, if there is one, names the old files, which are all still there.
    write_result(path, record.to_json())
    return Outcome(record, path, built=True, removed=_remove_older(folder, record))


def plans_wanted(bundle: Bundle, library: str = "tensorrt") -> list[Bundle]:
    """The bundle, and those beside it that `auto` may take in its place on this GPU: in FP16, or judged on this very runtime."""

    def may(other: Bundle) -> bool:
        gate, precision = other.manifest.gate, other.manifest.precision
        return gate is not None and (precision == HALF or gate.covers(library, precision))

    return [bundle, *filter(may, made_from(bundle))]


def check(bundle: Bundle, library: str = "tensorrt_rtx", phases: Callable[[str], Phases] | None = None) -> list[Checked]:
    """Parses and compiles all graphs and keeps nothing; with `tensorrt_rtx` also on a machine without a GPU. Raises BuildError.

    Without a driver RoiAlign cannot be parsed, because its plugin asks for the device: the attribute graph is checked from its regions
    on, and what is left out is told.
    """
    trt, there = load(library), True
    try:
        Driver()
    except RuntimeUnavailableError:
        if library == "tensorrt":  # full TensorRT does nothing without a driver
            raise
        there = False
    results = []
    for onnx in graphs_of(bundle).values():
        try:
            made: Built = build_plan(trt, onnx, CHECK_WORKSPACE, phases=phases(onnx.name) if phases else None)
        except GraphRefusedError as error:
            if there or error.operator != ROI_ALIGN:
                raise
            with tempfile.TemporaryDirectory(prefix="leukoscope-") as cut:
                rest = Path(cut) / onnx.name
                rest.write_bytes(behind_roi_align(onnx.read_bytes()))
                made = build_plan(trt, rest, CHECK_WORKSPACE, phases=phases(onnx.name) if phases else None)
            results.append(Checked(onnx.name, len(made.plan), made.seconds, ROI_ALIGN, made.weakly_typed))
        else:
            results.append(Checked(onnx.name, len(made.plan), made.seconds, weakly_typed=made.weakly_typed))
    return results


def _still_good(bundle: Bundle, folder: Path, key: PlanKey) -> PlanRecord | None:
    """The record of a plan that fits and answers the golden picture, or None where one has to be built."""
    try:
        plan = read_plan(folder, bundle, key)
        with TensorrtEngine(bundle, folder, verify=True, library=key.library):
            return plan.record
    except (RuntimeUnavailableError, BundleError, InferenceError):
        return None


def _prove(bundle: Bundle, folder: Path, library: Library, record: PlanRecord, contents: dict[str, bytes]) -> None:
    """Opens the new plan from a folder of its own and asks it the golden picture. Raises BundleError where it answers wrongly."""
    with _trial(folder) as trial:
        for role, file in record.files.items():
            (trial / file.name).write_bytes(contents[role])
        sidecar(trial, record.bundle, record.key).write_bytes(record.to_json())
        try:
            with TensorrtEngine(bundle, trial, verify=True, library=library.name):
                pass
        except (InferenceError, DeviceLostError, RuntimeUnavailableError) as error:
            raise BuildError(f"{bundle.path}: the new plan does not run, and nothing was changed: {error}") from error
        except BundleError as error:
            raise BuildError(f"{error} Nothing was changed: the plan that was there, if any, is still there.") from error


@contextmanager
def _trial(folder: Path) -> Iterator[Path]:
    try:
        trial = tempfile.TemporaryDirectory(prefix=".trial-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written ({error.strerror}). Check its owner and the disk's space.") from error
    with trial as name:
        try:
            yield Path(name)
        except OSError as error:
            raise BuildError(f"{name}: cannot be written ({error.strerror}). Check the disk's space.") from error


def _remove_older(folder: Path, record: PlanRecord) -> int:
    """Removes the bundle's plans for another graph, version or GPU, and files that no sidecar names; how many plan files.

    Those in another precision stay: `auto` compares them. A sidecar of before there were such says none, and counts as fp32; one of
    these very files goes, whatever it says.
    """
    named = set()
    for path, other in sidecars(folder):
        same = other.lineage == record.lineage or other.bundle_digest == record.bundle_digest
        if same and other.key.library == record.key.library and other.digest != record.digest:
            path.unlink(missing_ok=True)
        else:
            named |= {file.name for file in other.files.values()}
    unnamed = [path for kind in ("plan", "cubin") for path in folder.glob(f"*.{kind}") if path.name not in named]
    for path in unnamed:
        path.unlink(missing_ok=True)
    return len(unnamed)
