"""`leukoscope run --record` as a technician's run: frames of every camera kept beside the count, then a calibration set of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.int8.frames import choose, pictures_in
from device.store import Store
from engines.film import Film, Microscope

pytestmark = pytest.mark.integration


def pictures(folder: Path, number: int) -> Path:
    folder.mkdir()
    film, scope = Film(seed=5, case="CML", size_um=(600.0, 400.0)), Microscope(domain="H", camera="C2", objective=100)
    for n in range(number):
        image, _ = film.view((100.0 + 110.0 * n, 150.0), scope, size_px=(960, 720), noise_seed=n)
        cv2.imwrite(str(folder / f"name of a patient {n}.png"), image)
    return folder


def record(folder: Path, camera: str, every_s: float) -> Path:
    config, frames = folder / "device.yaml", folder / "frames"
    config.write_text(
        f"camera: {{{camera}}}\ndevice: {{state_dir: state}}\ndisplay: {{kind: none}}\nengine: {{runtime: onnx, precision: float32}}\n"
        "broker: {enabled: false}\nslide: {auto_start: true}\nframes: {min_free_mb: 0}\nlog_level: info\n"
    )
    command = [sys.executable, "-m", "device", "run", "--config", str(config), "--record", str(frames), "--record-every", str(every_s)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert f"frames recorded in {frames}" in done.stderr
    return frames


def test_stored_pictures_are_kept_as_they_are_one_for_each_field(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", 4)
    frames = record(tmp_path, f"kind: replay, source: {source}", every_s=600)
    for shown, kept in zip(pictures_in(source), pictures_in(frames), strict=True):
        assert np.array_equal(cv2.imread(str(shown)), cv2.imread(str(kept)))
    with Store.read(tmp_path / "state" / "record.sqlite") as store:
        slide = store.slides(5)[0].slide
    assert len(slide.fields) == 4
    index = [json.loads(line) for line in (frames / "frames.jsonl").read_text().splitlines()]
    assert [line["slide_id"] for line in index] == [slide.slide_id] * 4
    assert "patient" not in (frames / "frames.jsonl").read_text()


def test_the_simulators_frames_make_a_calibration_set(tmp_path: Path) -> None:
    frames = record(tmp_path, "kind: simulator, width_px: 640, height_px: 360, fields: 4", every_s=0)
    index = [json.loads(line) for line in (frames / "frames.jsonl").read_text().splitlines()]
    assert len({line["field"] for line in index} - {None}) == 4 and all(line["simulated"] for line in index)
    assert len(pictures_in(frames)) == len(index) > 8
    assert choose(pictures_in(frames), 8, fewest=4).distinct >= 4
