"""The order of an inference on the GPU: raw frame up, letterbox kernel, detector, rows down; then regions up, attributes, answers down.

Every buffer is made once and every address set once. Nothing but the frame, the rows, the regions and the answers crosses the bus: the
feature maps stay where the detector left them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engines.bundle import Bundle
from engines.detections import Float32, Image
from engines.errors import DeviceLostError, InferenceError, RuntimeUnavailableError
from engines.naming.tiles import tile_runs
from engines.preprocess import Letterbox, to_planes
from engines.runtime.graphs import FEATURES, IMAGE, P2, P3, PROBABILITIES, ROIS, ROWS, TILES
from engines.runtime.tensorrt.driver import Driver, DriverError, Replay
from engines.runtime.tensorrt.letterbox import BLOCK, GEOMETRY, SPAN, grid, tables
from engines.runtime.tensorrt.library import Library, Words, load
from engines.runtime.tensorrt.memory import Buffer, Gpu, spoken_by
from engines.runtime.tensorrt.plan import ATTRIBUTES, CELLS, DETECTOR, KERNEL, key_of, read_plan

FRAME_BYTES = 3 * 2592 * 1944
"""Room for a frame of the larger of the known cameras; a larger one is made room for when it comes, once."""
DEADLINE_MS = 2000.0
"""A frame takes a few milliseconds; one that takes this long is not waited for."""
FIRST_DEADLINE_S = 60.0
"""The first run after opening loads kernels, and TensorRT for RTX compiles some then."""
POLL_S = 50e-6
"""How often the GPU is asked whether it has done."""

_NAMES = {DETECTOR: (IMAGE, ROWS, P2, P3), ATTRIBUTES: (P2, P3, ROIS, PROBABILITIES), CELLS: (TILES, FEATURES)}
"""Inputs and outputs of each graph, in the order in which they are loaded."""

log = logging.getLogger(__name__)

Tensor = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of one of a graph's inputs or outputs."""


class Network:
    """A plan that runs. Raises RuntimeUnavailableError, with TensorRT's own lines, where the plan does not become an engine.

    what: its name in messages. names: the inputs and outputs it must have, no more and no fewer.
    """

    def __init__(self, library: Library, runtime: Any, words: Words, plan: bytes, what: str, names: tuple[str, ...]) -> None:
        self._what = what
        self._words = words
        self._engine = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._unusable("cannot be deserialised")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._unusable("gets no execution context (is the GPU's memory full?)")
        trt = library.module
        types: dict[Any, np.dtype[Any]] = {trt.DataType.FLOAT: np.dtype(np.float32), trt.DataType.HALF: np.dtype(np.float16)}
        self.tensors: dict[str, Tensor] = {}
        for i in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(i)
            shape, kind = tuple(self._engine.get_tensor_shape(name)), self._engine.get_tensor_dtype(name)
            if kind not in types or min(shape, default=1) < 1:
                raise self._unusable(f"has {name} as {kind} {shape}, expected float32 or float16 of a fixed shape")
            self.tensors[name] = (shape, types[kind])
        if set(self.tensors) != set(names):
            raise self._unusable(f"has {', '.join(sorted(self.tensors))}, expected {', '.join(sorted(names))}")

    def bind(self, buffers: Mapping[str, Buffer]) -> None:
        """Says where each tensor lies, once, before the first `enqueue`. Raises RuntimeUnavailableError."""
        for name in self.tensors:
            if not self._context.set_tensor_address(name, buffers[name].address):
                raise self._unusable(f"takes no address for {name}")

    def enqueue(self, stream: int) -> None:
        """Puts the whole graph on a stream. Raises InferenceError with TensorRT's own lines."""
        if not self._context.execute_async_v3(stream):
            raise InferenceError(f"TensorRT refused to run the {self._what}{self._words.last() or '; it said nothing about it'}")

    def close(self) -> None:
        """Frees context and engine, in this order."""
        self._context = None
        self._engine = None

    def _unusable(self, fault: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(f"the plan of the {self._what} {fault}. Run attridet build --force.{self._words.last()}")


class TensorrtGraphs:
    """A bundle's plans on the first GPU; see `engines.runtime.graphs.Graphs`.

    plans: the folder that `attridet build` wrote. library: `tensorrt` or `tensorrt_rtx`. Making it raises RuntimeUnavailableError where
    there is no driver, no GPU or no TensorRT. The thread that opens it owns the context; another one's call is an InferenceError.
    """

    def __init__(self, bundle: Bundle, plans: Path, library: str = "tensorrt", deadline_ms: float = DEADLINE_MS) -> None:
        # The driver first: TensorRT's runtime segfaults where there is none.
        self._driver = Driver()
        self._device = self._driver.device()
        self._library: Library = load(library)
        self._bundle = bundle
        self._plans = plans
        self._deadline_s = deadline_ms / 1e3
        self.regions = bundle.attribute_graph(largest=True)[1]
        cuda = spoken_by()
        self.runtime = f"{self._library.title} on {self._device.name} ({self._device.arch}){', ' * bool(cuda)}{cuda}"
        self._made = ExitStack()
        self._open = False
        self._kernel: Any = None
        self._runtime: Any = None

    def open(self) -> None:
        """Checks the plan, deserialises it, makes every buffer. Raises RuntimeUnavailableError, and leaves nothing behind then."""
        plan = read_plan(self._plans, self._bundle, key_of(self._bundle, self._library, self._device))
        words = Words(self._library)
        with ExitStack() as made:
            self._gpu = made.enter_context(Gpu(self._driver))
            try:
                self._runtime = self._library.module.Runtime(words.logger)
                made.callback(self._drop_handles)
                networks = []
                for role, names in _NAMES.items():
                    if role in plan.contents:
                        networks.append(Network(self._library, self._runtime, words, plan.contents[role], role, names))
                        made.callback(networks[-1].close)
                self._detector, self._describer, *self._cells = networks
                self._make_buffers(plan.contents[KERNEL])
            except (self._gpu.errors, DriverError) as error:
                raise RuntimeUnavailableError(f"{self.runtime}: the engine does not open ({error}).{words.last()}") from error
            self._parts = [Replay(self._driver, self._gpu.stream, self._gpu.errors) for _ in networks]
            for part in self._parts:
                made.callback(part.forget)
            self._made = made.pop_all()
        for line in words.lines:
            log.warning("TensorRT: %s", line)
        if plan.record.weakly_typed:
            log.warning("%s: built weakly typed, see its sidecar: %s", self.runtime, ", ".join(plan.record.weakly_typed))
        self._letterbox: Letterbox | None = None
        self._loaded: tuple[Image, Letterbox] | None = None
        self._pending = False
        self._ran: set[int] = set()  # parts that have run since opening
        self._owner = threading.get_ident()
        self._open = True

    def detect(self, picture: Image, confidence: float = 0.0) -> Float32:
        """Rows of a picture that `engines.preprocess` prepared: what the kernel is compared with. Raises as `detect_loaded`."""
        with self._turn():
            self._loaded = None
            shape, dtype = self._detector.tensors[IMAGE]
            if picture.shape != (*shape[2:], shape[1]):
                raise InferenceError(f"a letterboxed picture is {(*shape[2:], shape[1])}, this one is {picture.shape}")
            prepared = self._room(self._buffers[IMAGE].nbytes).view(dtype)
            np.copyto(prepared.reshape(shape), to_planes(picture)[None], casting="same_kind")
            self._run(0, IMAGE, lambda: self._detect_prepared(prepared))
            return self._rows_answered()

    def load(self, image: Image, letterbox: Letterbox) -> None:
        """Copies a BGR frame (h, w, 3) uint8 that lies in the input as `letterbox` says to where the GPU reads it.

        Raises InferenceError (still busy, another thread) or DeviceLostError.
        """
        with self._turn():
            self._loaded = None
            raw = self._room(image.nbytes)
            np.copyto(raw.reshape(image.shape), image)
            if letterbox != self._letterbox:
                self._send_tables(letterbox)
            self._loaded = raw, letterbox

    def detect_loaded(self) -> Float32:
        """Rows (N, 5 + classes) of the frame loaded last; overwritten by the next call.

        Raises InferenceError (refused, too late, nothing loaded, another thread) or DeviceLostError.
        """
        with self._turn():
            if self._loaded is None:
                raise InferenceError("no frame was loaded; `load` one first")
            raw, letterbox = self._loaded
            self._loaded = None
            self._run(0, letterbox, lambda: self._detect_raw(raw, letterbox))
            return self._rows_answered()

    def describe(self, rois: Float32) -> Float32:
        """Attribute probabilities (regions, logits) of boxes (regions, 4) on the picture seen last. Raises as `detect_loaded`."""
        with self._turn():
            np.copyto(self._pinned[ROIS], rois, casting="same_kind")
            self._run(1, ROIS, self._describe)
            probabilities: Float32 = self._pinned[PROBABILITIES].astype(np.float32, copy=False)
            return probabilities

    def look(self, tiles: Image) -> Float32:
        """Features (N, F) of tiles (N, side, side, 3) uint8 BGR. Raises as `detect_loaded`, and BundleError without a second look."""
        second = self._bundle.second_look()[1]
        features = np.empty((len(tiles), second.features), np.float32)
        done = 0
        for planes, count in tile_runs(tiles, second.tiles):
            with self._turn():
                np.copyto(self._pinned[TILES], planes, casting="same_kind")
                self._run(2, TILES, self._look)
                features[done : done + count] = self._pinned[FEATURES][:count]
            done += count
        return features

    @property
    def held_bytes(self) -> int:
        """As `Gpu.held_bytes`."""
        return self._gpu.held_bytes

    def close(self) -> None:
        """Frees everything in reverse. After a fault of the GPU nothing can be freed, and the process ends anyway."""
        self._open = False
        self._made.close()

    # ---- opening

    def _drop_handles(self) -> None:
        self._kernel = self._runtime = None

    def _make_buffers(self, cubin: bytes) -> None:
        gpu, detector, describer = self._gpu, self._detector, self._describer
        for name in (P2, P3):
            if detector.tensors[name] != describer.tensors[name]:
                raise RuntimeUnavailableError(f"detector and attribute graph disagree on {name}. Export the bundle again.")
        # By tensor: its memory on the GPU, and for some of them what it is copied from or to.
        tensors = detector.tensors | describer.tensors
        for cells in self._cells:
            tensors |= cells.tensors
        self._buffers = {name: gpu.buffer(int(np.prod(shape)) * dtype.itemsize) for name, (shape, dtype) in tensors.items()}
        detector.bind(self._buffers)
        describer.bind(self._buffers)
        for cells in self._cells:
            cells.bind(self._buffers)
        copied = (ROWS, ROIS, PROBABILITIES, TILES, FEATURES)
        self._pinned = {name: gpu.pinned(*tensors[name]).array for name in copied if name in tensors}
        (_, _, h, w), dtype = detector.tensors[IMAGE]
        table_bytes = (h + w) * SPAN.itemsize + GEOMETRY.itemsize
        self._tables, self._tables_up = gpu.buffer(table_bytes), gpu.pinned((table_bytes,), np.uint8)
        self._frame, self._frame_up = gpu.buffer(FRAME_BYTES), gpu.pinned((FRAME_BYTES,), np.uint8)
        self._kernel = gpu.kernel(cubin, "letterbox_f16" if dtype == np.float16 else "letterbox_f32")

    # ---- one frame

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One call on the GPU by the thread that owns it, after the one before has run."""
        if not self._open:
            raise InferenceError("TensorRT is not open. Use the engine inside `with`.")
        if threading.get_ident() != self._owner:
            raise InferenceError("TensorRT was opened by another thread, and a CUDA context belongs to one. Call it from there.")
        try:
            if self._pending:
                self._wait(self._deadline_s, "the GPU is still busy with an earlier frame")
            yield
        except (self._gpu.errors, DriverError) as error:
            self._check_alive(error)
            raise InferenceError(f"CUDA: {error}") from error
        except InferenceError as error:
            self._check_alive(error)
            raise

    def _check_alive(self, error: Exception) -> None:
        fault = self._driver.stream_fault(self._gpu.stream)
        if not fault:
            return
        self._open = False
        self._made.pop_all()
        self._gpu.abandon()
        raise DeviceLostError(
            f"the GPU faulted ({fault}; {error}). Nothing runs on it in this process any more: it ends, to be started anew."
        ) from error

    def _run(self, part: int, key: Hashable, enqueue: Callable[[], None]) -> None:
        self._pending = True
        try:
            self._parts[part].run(key, enqueue)
        finally:
            # Also after a refusal: what is on the stream already still reads the pinned memory.
            self._gpu.mark()
        deadline_s = self._deadline_s if part in self._ran else max(self._deadline_s, FIRST_DEADLINE_S)
        self._wait(deadline_s, f"the GPU did not answer within {1e3 * deadline_s:.0f} ms")
        self._ran.add(part)

    def _wait(self, deadline_s: float, fault: str) -> None:
        end = time.monotonic() + deadline_s
        while not self._gpu.done():
            if time.monotonic() > end:
                raise InferenceError(f"{fault}; this one is left out")
            time.sleep(POLL_S)
        self._pending = False

    def _detect_raw(self, raw: Image, letterbox: Letterbox) -> None:
        self._gpu.up(self._frame, raw)
        columns = self._tables.address
        rows = columns + letterbox.resized_hw[1] * SPAN.itemsize
        geometry = rows + letterbox.resized_hw[0] * SPAN.itemsize
        self._gpu.launch(
            self._kernel, grid(letterbox), BLOCK, (self._frame.address, self._buffers[IMAGE].address, columns, rows, geometry)
        )
        self._detect()

    def _detect_prepared(self, prepared: Float32) -> None:
        self._gpu.up(self._buffers[IMAGE], prepared)
        self._detect()

    def _detect(self) -> None:
        self._detector.enqueue(self._gpu.stream)
        self._gpu.down(self._pinned[ROWS], self._buffers[ROWS])

    def _describe(self) -> None:
        self._gpu.up(self._buffers[ROIS], self._pinned[ROIS])
        self._describer.enqueue(self._gpu.stream)
        self._gpu.down(self._pinned[PROBABILITIES], self._buffers[PROBABILITIES])

    def _look(self) -> None:
        self._gpu.up(self._buffers[TILES], self._pinned[TILES])
        self._cells[0].enqueue(self._gpu.stream)
        self._gpu.down(self._pinned[FEATURES], self._buffers[FEATURES])

    def _send_tables(self, letterbox: Letterbox) -> None:
        """The kernel's tables for another size of frame; outside of every capture, since they change once."""
        content = np.concatenate([part.view(np.uint8) for part in tables(letterbox)])
        self._tables_up.array[: len(content)] = content
        self._pending = True  # the next call waits until they are read, before it may write others
        self._gpu.up(self._tables, self._tables_up.array[: len(content)])
        self._gpu.mark()
        self._letterbox = letterbox

    def _room(self, nbytes: int) -> Image:
        """The first bytes of the pinned frame, which grows where a frame is larger than any before."""
        if nbytes > self._frame.nbytes:
            larger = self._gpu.buffer(nbytes), self._gpu.pinned((nbytes,), np.uint8)  # where this fails, the old is still there
            self._parts[0].forget()  # its graph reads the old memory
            self._frame.free()
            self._frame_up.free()
            self._frame, self._frame_up = larger
        return self._frame_up.array[:nbytes]

    def _rows_answered(self) -> Float32:
        rows: Float32 = self._pinned[ROWS][0].astype(np.float32, copy=False)
        return rows
