"""Others' programs beside ours, driven by their own command line in their own environment: nothing of theirs is imported."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import TracebackType

import cv2
from typing_extensions import Self

from engines.detections import Image
from engines.errors import EnginesError

LEAD_IN = 5
"""Pictures that a peer looks at before those that count, since every round is a new process."""
_EXPORT_S, _ROUND_S, _ASKED_S = 900.0, 600.0, 60.0
_TO_READ = "--peer-python names the Python of an environment with: pip install ultralytics openvino nncf onnx onnxruntime onnxslim"
VERSIONS = "import importlib.metadata as m, sys; print(*(m.version(n) for n in sys.argv[1:]))"
_DESCRIBED = "import importlib.metadata as m; print(*(f.locate() for f in m.files('ultralytics') if f.name == 'yolov5.yaml'))"
_PICTURE = re.compile(r"^image \d+/\d+ .*, ([\d.]+)ms$", re.MULTILINE)
_SPEED = re.compile(r"^Speed: ([\d.]+)ms preprocess, ([\d.]+)ms inference, ([\d.]+)ms postprocess per image", re.MULTILINE)
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


class PeerError(EnginesError):
    """Another's program could not be measured: its environment lacks something, or it ended. The message has its last words."""

    exit_code = 2


@dataclass(frozen=True)
class Round:
    """Milliseconds of each picture, in order, and those that the processor was busy with all of them, all threads together.

    processor_ms: None where it cannot be known without what is not counted, such as a process' start.
    """

    ms: tuple[float, ...]
    processor_ms: float | None


@dataclass(frozen=True)
class Peer:
    """One way of one program. options: of its export; exported: the file or folder that this writes; library: what computes."""

    key: str
    label: str
    options: tuple[str, ...]
    exported: str
    library: str


PEERS: Mapping[str, Sequence[Peer]] = {
    "ultralytics": (
        Peer("ultralytics-onnx", "Ultralytics, ONNX", ("format=onnx",), "yolov5n.onnx", "onnxruntime"),
        Peer(
            "ultralytics-int8",
            "Ultralytics, OpenVINO INT8",
            ("format=openvino", "int8=True", "data=data.yaml"),
            "yolov5n_int8_openvino_model",
            "openvino",
        ),
    )
}
"""What `--peer NAME` brings."""


def lay_out(images: Sequence[Image], folder: Path) -> None:
    """The pictures after `LEAD_IN` of them, as BMP: a peer reads the next one on the same cores while it looks at one."""
    (folder / "images").mkdir(parents=True)
    lead_in = [images[number % len(images)] for number in range(LEAD_IN)]
    for number, image in enumerate((*lead_in, *images)):
        cv2.imwrite(str(folder / "images" / f"{number:05}.bmp"), image)


class PeerProgram:
    """One peer: `yolo predict` over the pictures that `lay_out` left in `folder`, a process for every round, timed by its own clocks.

    Opened by `with`; entering exports a YOLOv5n of random weights. software: what computes, with versions. Raises PeerError.
    """

    def __init__(self, peer: Peer, python: Path, folder: Path, side_px: int, classes: int, threads: int) -> None:
        self.key, self.label, self.software = peer.key, peer.label, ""
        self._peer, self._python, self._folder = peer, python, folder
        self._side_px, self._classes = side_px, classes
        # It may neither fetch, install nor report anything, and what it keeps in a home folder goes with ours.
        silent = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "CI": "true", "YOLO_CONFIG_DIR": str(folder)}
        # `yolo` has no option for threads: this holds torch, and the libraries take the cores that they are held to.
        self._environment = {**os.environ, **silent, "HOME": str(folder), "OMP_NUM_THREADS": str(threads)}

    def __enter__(self) -> Self:
        library = self._peer.library
        output = self._run(_ASKED_S, str(self._python), "-c", VERSIONS, "ultralytics", library, "torch").split()
        self.software = f"Ultralytics {output[-3]}, {library} {output[-2]}, torch {output[-1]}"
        self._export(Path(self._run(_ASKED_S, str(self._python), "-c", _DESCRIBED).strip()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing of it runs between rounds."""

    def round(self) -> Round:
        """Looks at every picture once, in order.

        It tells the computing of each picture, and of what is around that the mean: a picture's time is the sum of these.
        """
        same = (f"imgsz={self._side_px}", "conf=0.25", "iou=0.45", "device=cpu")
        shown = ("save=False", "verbose=True", f"project={self._folder / 'runs'}")
        output = self._yolo(_ROUND_S, "predict", "task=detect", f"model={self._peer.exported}", "source=images", *same, *shown)
        inference, speed = [float(ms) for ms in _PICTURE.findall(output)], _SPEED.search(output)
        if speed is None or len(inference) != len(list((self._folder / "images").iterdir())):
            raise PeerError(f"{self.label}: it does not say how long each picture took. {last_words(output)}")
        # Both are of the same clock; should a version mean something else by one of them, it must not pass for a speed.
        if abs(fmean(inference) - float(speed[2])) > 0.2:
            raise PeerError(f"{self.label}: its pictures took {fmean(inference):.1f} ms each, and it says {speed[2]} ms of all.")
        return Round(tuple(ms + float(speed[1]) + float(speed[3]) for ms in inference[LEAD_IN:]), None)

    def _export(self, described: Path) -> None:
        """The package's own description of the network, with as many classes as ours, in the wanted format."""
        text, changed = re.subn(r"(?m)^nc: \d+", f"nc: {self._classes}", described.read_text(encoding="utf-8"))
        if changed != 1:
            raise PeerError(f"{described}: does not say how many classes; this version of Ultralytics is not known here.")
        (self._folder / "yolov5n.yaml").write_text(text, encoding="utf-8")
        names = "".join(f"  {i}: class{i}\n" for i in range(self._classes))
        data = f"path: {self._folder}\ntrain: images\nval: images\nnames:\n{names}"
        (self._folder / "data.yaml").write_text(data, encoding="utf-8")
        output = self._yolo(_EXPORT_S, "export", "model=yolov5n.yaml", *self._peer.options, f"imgsz={self._side_px}", "device=cpu")
        if not (self._folder / self._peer.exported).exists():
            raise PeerError(f"{self.label}: its export left no {self._peer.exported}. {last_words(output)}")

    def _yolo(self, within_s: float, *words: str) -> str:
        return self._run(within_s, str(self._python.with_name("yolo")), *words)

    def _run(self, within_s: float, *command: str) -> str:
        """What the command prints, both streams, without colours."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                timeout=within_s,
                check=False,
            )
        except OSError as error:
            raise PeerError(f"{command[0]}: cannot be run ({error.strerror}). {_TO_READ}") from error
        except subprocess.TimeoutExpired as error:
            words = last_words((error.stdout or b"").decode(errors="replace"))
            raise PeerError(f"{self.label}: it has not ended within {within_s:.0f} s. {words}") from None
        output = _COLOURS.sub("", done.stdout.decode(errors="replace"))
        if done.returncode:
            raise PeerError(f"{self.label}: it failed. {last_words(output)} {_TO_READ}")
        return output


def last_words(output: str) -> str:
    """What a program printed last, as a sentence."""
    lines = [line.strip()[-300:] for line in output.splitlines() if line.strip()]
    return f"Its last words: {' / '.join(lines[-3:]) or 'none'}."
