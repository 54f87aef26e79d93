"""What is compiled for the GPU that is here: one ONNX graph into one TensorRT plan, and by nvcc the letterbox kernel.

`engines.build_plans` makes a bundle's plans of it and proves them. Nothing of it runs in the daemon.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from engines.errors import BuildError, RuntimeUnavailableError
from engines.runtime.tensorrt.cubins import index, prebuilt
from engines.runtime.tensorrt.library import Library, Words
from engines.runtime.tensorrt.plan import KERNEL_SOURCE

log = logging.getLogger(__name__)

MIB = 1 << 20
LEAST_WORKSPACE, MOST_WORKSPACE = 256 * MIB, 4096 * MIB
MOST_REASON = 500
_NOT_FOR_SM = re.compile(r"\bSM ?(\d+) is not supported", re.IGNORECASE)
NVCC = Path("/usr/local/cuda/bin/nvcc")
"""Where JetPack and CUDA's installers put it, which no service has in its PATH."""


class Phases(Protocol):
    """Where a build has got to, as TensorRT tells it: phases within phases, each with its number of steps. All three answer at once."""

    def start(self, name: str, parent: str | None, steps: int) -> None: ...

    def step(self, name: str, done: int) -> None: ...

    def finish(self, name: str) -> None: ...


@dataclass(frozen=True, eq=False)
class Built:
    """A plan, and its tactics' timings for the next build (empty where this TensorRT keeps none). seconds: parsing and compiling.

    weakly_typed: why TensorRT refused the graph strongly typed, in one line; "" where it did not.
    """

    plan: bytes
    timings: bytes
    seconds: float
    weakly_typed: str = ""


class RefusedError(BuildError):
    """A graph that TensorRT does not compile."""

    def with_second(self, second: BuildError) -> RefusedError:
        """This refusal with that of a second attempt, weakly typed."""
        return RefusedError(_both(self, second))


class GraphRefusedError(RefusedError):
    """TensorRT's parser does not accept a graph. operator: of the node that it stopped at."""

    def __init__(self, message: str, operator: str) -> None:
        super().__init__(message)
        self.operator = operator

    def with_second(self, second: BuildError) -> GraphRefusedError:
        """As in `RefusedError`."""
        return GraphRefusedError(_both(self, second), self.operator)


def workspace_bytes(available: int | None, gpu_free: int | None, integrated: bool) -> int:
    """Memory that TensorRT may try tactics in: half of what is free, in whole MiB, at most 4 GiB.

    available: of the machine; gpu_free: of the GPU; None where it is not known. Half, because the compiler itself, its copy of the
    weights and the network's own activations want the rest. An integrated GPU shares the machine's memory, and there `available` alone
    counts: what CUDA calls free is MemFree, without the page cache, which a freshly flashed board has used up. A card has memory of its
    own. Raises BuildError below 512 MiB: the system would rather end a program than refuse it memory.
    """
    free = (available if available is not None else gpu_free) if integrated else (gpu_free if gpu_free is not None else available)
    if free is None:
        return LEAST_WORKSPACE
    half = free // 2 // MIB * MIB
    if half < LEAST_WORKSPACE:
        raise BuildError(
            f"only {free // MIB} MiB of memory are available, and building needs {2 * LEAST_WORKSPACE // MIB}. "
            "Stop other programs (systemctl stop leukoscope, the desktop), then build again."
        )
    return min(half, MOST_WORKSPACE)


def build_plan(library: Library, onnx: Path, workspace: int, timings: bytes = b"", phases: Phases | None = None) -> Built:
    """Compiles an ONNX file, with the types that stand in it: explicit Q/DQ is INT8, a Cast to float16 is FP16, the rest float32.

    workspace: bytes, see `workspace_bytes`. timings: what an earlier build gave.

    A graph that is refused so is tried once more weakly typed, where this TensorRT knows that (10, not 11 nor TensorRT for RTX): the
    same file, INT8 by its Q/DQ pairs and FP16 by its casts allowed by the builder's flags, what is float32 in it held to float32.

    `tensorrt` must not be called where there is no driver (ask `Driver` first); `tensorrt_rtx` compiles without one. Raises BuildError,
    with TensorRT's last lines, when it cannot, and KeyboardInterrupt after Ctrl-C, which ends the build at its next step.
    """
    start = perf_counter()
    try:
        return _compiled(library, onnx, workspace, timings, phases, weakly=False)
    except RefusedError as refused:
        if not _knows_weak_typing(library.module):
            raise
        reason = " ".join(str(refused).removeprefix(f"{onnx}: ").split())[:MOST_REASON]
        log.warning("%s: tried once more, weakly typed, because %s", onnx.name, reason)
        try:
            made = _compiled(library, onnx, workspace, timings, phases, weakly=True)
        except BuildError as error:
            raise refused.with_second(error) from error
        return replace(made, weakly_typed=reason, seconds=perf_counter() - start)


def _compiled(library: Library, onnx: Path, workspace: int, timings: bytes, phases: Phases | None, weakly: bool) -> Built:
    """One attempt of `build_plan`."""
    trt, words, start = library.module, Words(library), perf_counter()
    try:
        builder = trt.Builder(words.logger)
    except TypeError as error:  # what its binding makes of a null pointer
        raise BuildError(f"{library.title} gives no builder.{_way_out(words)}{words.last()}") from error
    network = builder.create_network(0 if weakly else _strongly_typed(trt))
    parser = trt.OnnxParser(network, words.logger)
    if not parser.parse_from_file(str(onnx)):
        raise _refused(library, onnx, parser, words)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.clear_flag(trt.BuilderFlag.TF32)  # its 10 bits of mantissa move boxes by more than a runtime may
    if weakly:
        _allow_the_files_types(trt, network, config)
    cache = None if library.name == "tensorrt_rtx" else config.create_timing_cache(timings)  # TensorRT for RTX times nothing
    if cache is not None and not config.set_timing_cache(cache, False):  # another GPU's or version's: refused, and a fresh one taken
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    monitor = _monitor(trt, phases)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.interrupted is not None:
        raise monitor.interrupted
    if plan is None:
        raise RefusedError(f"{onnx}: {library.title} cannot compile it.{_way_out(words)}{words.last()}")
    kept = bytes(config.get_timing_cache().serialize()) if cache is not None else b""
    return Built(bytes(plan), kept, perf_counter() - start)


def _strongly_typed(trt: Any) -> int:
    """The flag of `create_network`. A TensorRT without it knows no other kind of network."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _knows_weak_typing(trt: Any) -> bool:
    """Whether types may be left to the builder's flags, which TensorRT 11 and TensorRT for RTX have no more."""
    flags = trt.BuilderFlag
    return all(hasattr(flags, name) for name in ("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS")) and _strongly_typed(trt) != 0


def file_types(trt: Any, network: Any) -> tuple[bool, bool]:
    """Whether a parsed network holds INT8 by Q/DQ pairs, and FP16 by casts."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    outputs = [layer.get_output(i) for layer in layers for i in range(layer.num_outputs)]
    in_int8 = any(layer.type == trt.LayerType.QUANTIZE for layer in layers)
    return in_int8, any(output is not None and output.dtype == trt.DataType.HALF for output in outputs)


def _allow_the_files_types(trt: Any, network: Any, config: Any) -> None:
    """Sets the flags for what stands in the file. Where FP16 is allowed, what is float32 there is held to it: pixels up to 640 are."""
    in_int8, in_half = file_types(trt, network)
    if in_int8:
        config.set_flag(trt.BuilderFlag.INT8)
    if not in_half:
        return
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    types = trt.LayerType
    free = (types.CONSTANT, types.CAST, types.QUANTIZE, types.DEQUANTIZE, types.SHAPE, types.PLUGIN_V2)
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        if layer.type not in free and outputs and all(out is not None and out.dtype == trt.DataType.FLOAT for out in outputs):
            layer.precision = trt.DataType.FLOAT
            for i in range(layer.num_outputs):
                layer.set_output_type(i, trt.DataType.FLOAT)


def _both(first: BuildError, second: BuildError) -> str:
    return f"{first}\n  Weakly typed, tried after it: {second}"


def _way_out(words: Words) -> str:
    """The next step where TensorRT says that it was not made for this GPU, else ""."""
    for line in words.lines:
        if found := _NOT_FOR_SM.search(line):
            known = " TensorRT 10.13 (JetPack 7.0/7.1 debs) has no sm_87: take 10.16, or JetPack 6's 10.3." if found[1] == "87" else ""
            return known or f" This TensorRT was not made for sm_{found[1]}: take another version, or the runtime onnx or openvino."
    return ""


def kernel_for(arch: str) -> bytes:
    """kernel.cu as a cubin for `arch`, e.g. "sm_87": the one that came with the package, or else compiled here.

    Raises RuntimeUnavailableError (no such cubin and no nvcc) or BuildError.
    """
    shipped = prebuilt(arch, sha256(KERNEL_SOURCE.read_bytes()).hexdigest())
    return compile_kernel(arch) if shipped is None else shipped


def nvcc_path() -> str:
    """CUDA's compiler. Raises RuntimeUnavailableError."""
    nvcc = shutil.which("nvcc") or (str(NVCC) if NVCC.is_file() else None)
    if nvcc is None:
        raise RuntimeUnavailableError(
            f"nvcc is neither in PATH nor in {NVCC.parent}, and no kernel that prepares pixels came with the package for this GPU "
            f"(there is one for {', '.join(index()['cubins'])}). Install CUDA's compiler: apt install nvidia-jetpack on a Jetson, "
            "cuda-nvcc on a PC."
        )
    return nvcc


def compile_kernel(arch: str) -> bytes:
    """kernel.cu by nvcc for `arch`. Raises RuntimeUnavailableError without nvcc, BuildError with nvcc's words."""
    nvcc = nvcc_path()
    with tempfile.TemporaryDirectory(prefix="leukoscope-") as folder:
        out = Path(folder) / "letterbox.cubin"
        command = [nvcc, "-cubin", f"-arch={arch}", "-O3", "-o", str(out), str(KERNEL_SOURCE)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            words = (run.stderr or run.stdout).strip().splitlines()[-5:]
            raise BuildError(f"{KERNEL_SOURCE}: nvcc cannot compile it for {arch}." + "".join(f"\n  nvcc: {line}" for line in words))
        return out.read_bytes()


def _refused(library: Library, onnx: Path, parser: Any, words: Words) -> GraphRefusedError:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    reasons = "; ".join(f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors) or "no reason given"
    return GraphRefusedError(
        f"{onnx}: {library.title} does not accept it ({reasons}).{_way_out(words)}{words.last()}",
        errors[0].node_operator() if errors else "",
    )


def _monitor(trt: Any, phases: Phases | None) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # its base is known at run time only
        """TensorRT calls these from C++, where an exception would end the process; Ctrl-C, too, arrives here as one."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(lambda to: to.start(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(lambda to: to.step(phase_name, step + 1))
            return self.interrupted is None

        def phase_finish(self, phase_name: str) -> None:
            self._tell(lambda to: to.finish(phase_name))

        def _tell(self, tell: Callable[[Phases], None]) -> None:
            try:
                if phases is not None:
                    tell(phases)
            except BaseException as error:
                self.interrupted = error

    return Monitor()
