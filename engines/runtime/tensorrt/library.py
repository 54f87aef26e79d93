"""TensorRT's Python module, chosen by name and imported when it is used, and a logger that keeps what it said last.

`tensorrt` (10.3 to 11) and `tensorrt_rtx` have the same interface; nothing else in the house tells them apart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from engines.errors import RuntimeUnavailableError

LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
"""Module and what it is called."""
OLDEST = (10, 3)
KEPT_LINES = 20


@dataclass(frozen=True, eq=False)
class Library:
    """TensorRT under one of its names. module: typed as Any, since it brings no types that every version shares."""

    name: str
    version: str
    module: Any

    @property
    def title(self) -> str:
        return f"{LIBRARIES[self.name]} {self.version}"


def installed(module: str) -> bool:
    """Whether a module can be imported, without importing it: what works on a GPU may end the process where there is none."""
    try:
        return find_spec(module) is not None
    except ValueError:  # imported already, by one who gave it no spec
        return True


def load(name: str) -> Library:
    """The module `tensorrt` or `tensorrt_rtx`. Raises RuntimeUnavailableError: unknown, not installed, too old."""
    if name not in LIBRARIES:
        raise RuntimeUnavailableError(f"there is no TensorRT called {name!r}. Available: {', '.join(LIBRARIES)}.")
    try:
        module = import_module(name)
    except Exception as error:  # besides ImportError, its loader raises whatever a missing shared library gives
        way = "pip install tensorrt-rtx"
        if name == "tensorrt":
            way = "apt install python3-libnvinfer, in an environment made with --system-site-packages"
        raise RuntimeUnavailableError(
            f"{LIBRARIES[name]} cannot be imported ({str(error).splitlines()[0]}). Run: {way}; or use the runtime onnx or openvino."
        ) from error
    version = str(module.__version__)
    if name == "tensorrt" and tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise RuntimeUnavailableError(f"TensorRT {version} is too old, {'.'.join(map(str, OLDEST))} is needed (JetPack 6.1 or later).")
    return Library(name, version, module)


class Words:
    """The last lines at warning or worse that TensorRT said since this was made, newest last. `logger` is what TensorRT is given."""

    def __init__(self, library: Library) -> None:
        self.logger = _logger(library.module)
        self.lines: deque[str] = self.logger.lines
        self.lines.clear()

    def last(self) -> str:
        """The kept lines for an error's message: "" or a text that starts on a new line."""
        return "".join(f"\n  TensorRT: {line}" for line in self.lines)


@cache
def _logger(trt: Any) -> Any:
    """The process's one logger: TensorRT's plugins keep the first they were given for ever, and write to it after it was freed."""
    loud = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR, trt.ILogger.WARNING)

    class Logger(trt.ILogger):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # TensorRT's binding demands its own initialiser
            self.lines: deque[str] = deque(maxlen=KEPT_LINES)

        def log(self, severity: Any, message: str) -> None:
            # C++ calls this: an exception that left it would end the process.
            try:
                if severity in loud and message.strip():
                    self.lines.append(" ".join(message.split()))
            except Exception:  # see above
                self.lines.append("a line that could not be read")

    logger = Logger()
    trt.init_libnvinfer_plugins(logger, "")  # RoiAlign is one
    return logger
