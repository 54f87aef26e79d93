"""Ultralytics' own prediction, timed: a program that runs in *its* environment, on its own, and is imported by nothing of this project.

    PYTHON peer_program.py FOLDER FORMAT SIDE CLASSES THREADS

FOLDER/images holds the pictures (PNG). FORMAT is onnx or openvino-int8. The first run in a folder makes a YOLOv5n of random weights
and exports it there. It writes one line of JSON to standard output when it is ready, and one for every line that it reads: the
milliseconds that each picture took, from the picture in memory to boxes as an array, and those of the processor for all of them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path

WARM_UP = 5


def exported(folder: Path, form: str, side: int, classes: int) -> Path:
    """The network in the wanted format."""
    import ultralytics
    import yaml

    made = folder / ("yolov5n.onnx" if form == "onnx" else "yolov5n_int8_openvino_model")
    if made.exists():
        return made
    recipe = next((Path(ultralytics.__file__).parent / "cfg").rglob("yolov5.yaml"))
    own = folder / "yolov5n.yaml"
    own.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "nc": classes}))
    model = ultralytics.YOLO(str(own), task="detect")
    if form == "onnx":
        return Path(model.export(format="onnx", imgsz=side, device="cpu"))
    names = {i: f"class{i}" for i in range(classes)}
    data = folder / "data.yaml"
    data.write_text(yaml.safe_dump({"path": str(folder), "train": "images", "val": "images", "names": names}))
    return Path(model.export(format="openvino", int8=True, data=str(data), imgsz=side, device="cpu"))


def main(folder: Path, form: str, side: int, classes: int, threads: int) -> None:
    # Libraries print to standard output as they like; what is read by the other side goes through a copy of it.
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import cv2
    from ultralytics import YOLO

    cv2.setNumThreads(threads)
    model = YOLO(str(exported(folder, form, side, classes)), task="detect")
    pictures = [cv2.imread(str(path)) for path in sorted((folder / "images").glob("*.png"))]

    def predict(number: int) -> float:
        started = time.perf_counter()
        found = model.predict(pictures[number % len(pictures)], imgsz=side, conf=0.25, iou=0.45, device="cpu", verbose=False)
        found[0].boxes.data.cpu().numpy()
        return 1e3 * (time.perf_counter() - started)

    for number in range(WARM_UP):
        predict(number)
    packages = ("ultralytics", "torch", "onnxruntime" if form == "onnx" else "openvino")
    told.write(json.dumps({"versions": {name: importlib.metadata.version(name) for name in packages}}) + "\n")
    for _ in sys.stdin:
        busy = time.process_time()
        spent = [predict(number) for number in range(len(pictures))]
        told.write(json.dumps({"ms": spent, "processor_ms": 1e3 * (time.process_time() - busy)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *(int(a) for a in sys.argv[3:6]))
