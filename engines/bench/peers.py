"""Others' programs beside ours: each a process in its own environment, driven by lines, idle while it is not its turn."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
from typing_extensions import Self

from engines.detections import Image
from engines.errors import EnginesError

PROGRAM = Path(__file__).with_name("peer_program.py")
_READY_S, _ROUND_S = 900.0, 600.0
_TO_READ = "--peer-python names the Python of an environment with: pip install ultralytics openvino nncf onnx onnxruntime onnxslim"


class PeerError(EnginesError):
    """Another's program could not be measured: its environment lacks something, or it ended. The message has its last words."""

    exit_code = 2


@dataclass(frozen=True)
class Round:
    """Milliseconds of each picture, in order, and those that the processor was busy with all of them, all threads together."""

    ms: tuple[float, ...]
    processor_ms: float


@dataclass(frozen=True)
class Peer:
    """One way of one program. form: the format as `peer_program` takes it; library: the package that computes."""

    key: str
    label: str
    form: str
    library: str


PEERS: Mapping[str, Sequence[Peer]] = {
    "ultralytics": (
        Peer("ultralytics-onnx", "Ultralytics, ONNX", "onnx", "onnxruntime"),
        Peer("ultralytics-int8", "Ultralytics, OpenVINO INT8", "openvino-int8", "openvino"),
    )
}
"""What `--peer NAME` brings."""


def lay_out(images: Sequence[Image], folder: Path) -> None:
    """The pictures as PNG, where a peer reads them before its clock runs."""
    (folder / "images").mkdir(parents=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / "images" / f"{number:05}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])


class PeerProcess:
    """One peer, running. Opened by `with`; entering waits until it has exported its network and warmed up. Raises PeerError."""

    def __init__(self, peer: Peer, python: Path, folder: Path, side_px: int, classes: int, threads: int) -> None:
        self.key, self.label, self.software = peer.key, peer.label, ""
        self._peer, self._folder = peer, folder
        self._command = [str(python), str(PROGRAM), str(folder), peer.form, str(side_px), str(classes), str(threads)]
        self._log = folder / f"{peer.key}.log"
        # It may neither fetch, install nor report anything, and what it keeps in a home folder goes with ours.
        silent = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "CI": "true", "YOLO_CONFIG_DIR": str(folder)}
        self._environment = {**os.environ, **silent, "HOME": str(folder), "OMP_NUM_THREADS": str(threads)}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=self._folder,
                    env=self._environment,
                )
        except OSError as error:
            raise PeerError(f"{self._command[0]}: cannot be run ({error.strerror}). {_TO_READ}") from error
        try:
            versions: dict[str, str] = self._read(_READY_S)["versions"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        library = self._peer.library
        self.software = f"Ultralytics {versions['ultralytics']}, {library} {versions[library]}, torch {versions['torch']}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(30)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def round(self) -> Round:
        """Looks at every picture once, in order."""
        assert self._process is not None and self._process.stdin is not None, "used outside `with`"
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"{self.label}: it ended by itself. {self._last_words()}") from None
        told = self._read(_ROUND_S)
        return Round(tuple(told["ms"]), told["processor_ms"])

    def _read(self, within_s: float) -> Any:
        """The next line that it tells, as JSON."""
        assert self._process is not None and self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within_s)[0]:
            raise PeerError(f"{self.label}: it has not answered for {within_s:.0f} s. {self._last_words()}")
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.label}: it ended by itself. {self._last_words()} {_TO_READ}")
        return json.loads(line)

    def _last_words(self) -> str:
        lines = [line.strip()[-300:] for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f"Its last words: {' / '.join(lines[-3:]) or 'none'}."
