"""`attridet frames` from folders to a list and a page; the test side stays out; mistakes of the user in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import attridet

from calibration.int8.frames import read_set

SLIDES = ("20261123-181512-4f9a2c", "20261124-091500-00ab3d")


def write(path: Path, seed: int) -> Path:
    """A drawn field; its light and its number of cells go by the seed."""
    rng = np.random.default_rng(seed)
    image = np.full((90, 120, 3), (225, 222, 220), np.uint8)
    for x, y in rng.integers(0, (120, 90), (6 + seed, 2)):
        cv2.circle(image, (int(x), int(y)), 7, (165, 160, 215), -1)
    for x, y in rng.integers(15, (105, 75), (1 + seed % 4, 2)):
        cv2.circle(image, (int(x), int(y)), 8, (130, 40, 110), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), (image * rng.uniform(0.6, 1.0)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of two recorded slides with their index, and of one known patient."""
    folder = tmp_path_factory.mktemp("recorded")
    lines = []
    for n in range(20):
        path = write(folder / f"{SLIDES[n // 12]}_{n + 1:05d}_counted.png", n)
        lines.append(json.dumps({"name": path.name, "simulated": n < 3}))
    (folder / "frames.jsonl").write_text("\n".join(lines) + '\n{"name": "half')
    write(folder / "7_4_1000_AML.png", 50)
    return folder


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose split "test" is of patient 7."""
    root = tmp_path_factory.mktemp("labelled")
    write(root / "Images" / "test" / "7_1_1000_AML.png", 60)
    write(root / "Images" / "train" / "8_1_1000_AML.png", 61)
    return root


def run(*words: str | Path) -> str:
    done = attridet("frames", *words)
    assert done.code == 0, done
    return done.out


def test_a_list_a_page_and_words(frames: Path, judging: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "new" / "set.json", tmp_path / "pages" / "set.png"
    words = run(frames, "--out", out, "--count", "16", "--exclude-split", f"{judging}:test", "--page", page)
    assert "16 of 20 frames chosen with seed 0" in words and "Left out, because they judge: 1 of patient 7" in words
    chosen = read_set(out)
    assert len(chosen.frames) == 16 and all(frame.read().shape == (90, 120, 3) for frame in chosen.frames)
    rendered = sum(int(frame.path.stem.split("_")[1]) <= 3 for frame in chosen.frames)
    assert rendered and f"{rendered} of the frames are rendered film" in words
    assert cv2.imread(str(page)).shape[1] == 1640
    first = out.read_bytes()
    run(frames, "--out", out, "--count", "16", "--exclude-split", f"{judging}:test")
    assert out.read_bytes() == first


def test_slides_can_be_left_out(frames: Path, tmp_path: Path) -> None:
    words = run(frames, "--out", tmp_path / "set.json", "--exclude-slide", SLIDES[0], "--fewest", "4")
    assert f"12 of slide {SLIDES[0]}" in words and "too few: 128 were asked for, there are 9" in words
    assert not any(frame.path.name.startswith(SLIDES[0]) for frame in read_set(tmp_path / "set.json").frames)


def test_several_folders_and_a_test_side_without_patients(frames: Path, judging: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for n in range(4):
        write(other / f"{n}.png", 70 + n)
    root = tmp_path / "unnamed"
    write(root / "Images" / "val" / "BloodImage_1.png", 80)
    words = run(frames, other, "--out", tmp_path / "set.json", "--exclude-split", f"{root}:val")
    assert f"{other}: 4 chosen" in words and "25 of 25 frames" in words
    assert "the names of the test side give no patient" in words


def refused(*words: str | Path) -> str:
    called = attridet("frames", *words)
    assert called.code == 2, called
    return called.err


def test_a_picture_of_the_test_side_under_another_name_is_refused(frames: Path, judging: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(frames, folder)
    shutil.copy(judging / "Images" / "test" / "7_1_1000_AML.png", folder / "harmless.png")
    words = refused(folder, "--out", tmp_path / "set.json", "--exclude-split", f"{judging}:test")
    assert "harmless.png: is a picture of the test side, byte for byte" in words
    assert not (tmp_path / "set.json").exists()


def test_a_damaged_frame_stops_it_with_its_name(frames: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(frames, folder)
    damaged = folder / f"{SLIDES[0]}_00005_counted.png"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert damaged.name in refused(folder, "--out", tmp_path / "set.json")
    assert not (tmp_path / "set.json").exists()


def test_mistakes_are_answered_with_the_next_step(frames: Path, judging: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "set.json")
    assert "name the data set's folder and its split" in refused(frames, *out, "--exclude-split", "test")
    assert "splits there: test, train" in refused(frames, *out, "--exclude-split", f"{judging}:val")
    assert "no frame is of this slide" in refused(frames, *out, "--exclude-slide", "20260101-000000-000000")
    assert "ends in .png" in refused(frames, *out, "--page", tmp_path / "page.html")
    assert "leukoscope run --record" in refused(tmp_path / "nowhere", *out)
    assert "at least 100 are needed" in refused(frames, *out, "--fewest", "100")
