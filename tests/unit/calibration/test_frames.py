"""The calibration set: what is chosen from drawn and real fields, what is refused by name, what is told in words."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.int8.frame_statistics import NAMES, STATISTICS, Image, embedded, spread, statistics
from calibration.int8.frames import ALIKE, Survey, aspects_of, choose, cover, pictures_in, read_set, survey
from engines.errors import DataError


def field(seed: int, *, nuclei: int = 3, light: float = 1.0, blur: float = 0.0, noise_seed: int = 0) -> Image:
    """A drawn field: glass, red cells, some nuclei with cytoplasm; 240 x 180 px."""
    rng = np.random.default_rng(seed)
    image = np.full((180, 240, 3), (225, 222, 220), np.uint8)
    for x, y in rng.integers(0, (240, 180), (40, 2)):
        cv2.circle(image, (int(x), int(y)), 9, (165, 160, 215), -1, cv2.LINE_AA)
    for x, y in rng.integers(20, (220, 160), (nuclei, 2)):
        cv2.circle(image, (int(x), int(y)), 16, (220, 170, 195), -1, cv2.LINE_AA)
        cv2.circle(image, (int(x), int(y)), 11, (130, 40, 110), -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(image, (0, 0), blur) if blur else image
    noise = np.random.default_rng(noise_seed).normal(0, 3, image.shape)
    return np.clip(soft * light + noise, 0, 255).astype(np.uint8)


def write(folder: Path, name: str, image: Image) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    assert cv2.imwrite(str(path), image)
    return path


def varied(folder: Path, number: int) -> list[Path]:
    """Fields that differ in light, focus and number of cells."""
    rng = np.random.default_rng(5)
    return [
        write(
            folder,
            f"field-{n:03d}.png",
            field(n, nuclei=int(rng.integers(0, 9)), light=rng.uniform(0.6, 1.05), blur=rng.uniform(0, 2.5)),
        )
        for n in range(number)
    ]


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """Twenty different fields, looked at."""
    return survey(varied(tmp_path_factory.mktemp("fields"), 20))


def column(row: np.ndarray, name: str) -> float:
    return float(row[NAMES.index(name)])


def test_statistics_follow_what_a_person_would_turn() -> None:
    plain = statistics(field(1))
    assert plain.shape == (len(NAMES),) and np.isfinite(plain).all()
    assert column(statistics(field(1, light=0.7)), "background") < column(plain, "background") - 40
    assert column(statistics(field(1, blur=2.0)), "gradient, log") < column(plain, "gradient, log") - 0.1
    assert column(statistics(field(1, nuclei=9)), "nuclei share, log") > column(plain, "nuclei share, log") + 0.2
    shaded = (field(1) * np.linspace(1.0, 0.7, 240)[None, :, None]).astype(np.uint8)
    assert column(statistics(shaded), "background to the right") < column(plain, "background to the right") - 15


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(64, 64), (64, 1200), (300, 70)])
def test_a_bare_field_of_any_shape_has_finite_statistics(level: int, shape: tuple[int, int]) -> None:
    assert np.isfinite(statistics(np.full((*shape, 3), level, np.uint8))).all()


def test_the_groups_weigh_alike() -> None:
    typical = np.array([value for group in STATISTICS.values() for value in group.values()])
    start = 0
    for group in STATISTICS.values():
        step = np.zeros((1, len(NAMES)))
        step[0, start : start + len(group)] = typical[start : start + len(group)]
        assert np.linalg.norm(embedded(step)) == pytest.approx(0.5)
        start += len(group)


def test_the_choice_covers_rare_fields_and_does_not_ask_for_names(tmp_path: Path) -> None:
    usual = [write(tmp_path / "a", f"usual-{n}.png", field(n, noise_seed=n)) for n in range(18)]
    rare = [
        write(tmp_path / "a", "dark.png", field(50, light=0.55)),
        write(tmp_path / "a", "blurred.png", field(51, blur=3.0)),
        write(tmp_path / "a", "crowded.png", field(52, nuclei=12)),
    ]
    seen = survey([*usual, *rare])
    chosen = cover(seen, 6)
    assert {frame.path for frame in chosen.frames} >= set(rare)
    renamed = [Path(shutil.copy(path, tmp_path / f"{path.stem[::-1]}.png")) for path in [*rare, *usual]]
    assert [frame.sha256 for frame in choose(renamed, 6).frames] == [frame.sha256 for frame in chosen.frames]
    assert [frame.sha256 for frame in cover(seen, 3).frames] == [frame.sha256 for frame in chosen.frames[:3]]
    assert {cover(seen, 1, seed=seed).frames[0].sha256 for seed in range(8)} != {chosen.frames[0].sha256}


def test_the_radius_is_the_worst_candidates_distance(fields: Survey) -> None:
    chosen = cover(fields, 8)
    points = embedded(fields.statistics)
    taken = [fields.frames.index(frame) for frame in chosen.frames]
    distances = np.linalg.norm(points[:, None] - points[None, taken], axis=2).min(axis=1)
    assert chosen.radius == pytest.approx(distances.max()) and chosen.radius > 0
    assert cover(fields, 16).radius < chosen.radius


def test_too_few_is_said_and_far_too_few_refused(fields: Survey) -> None:
    paths = [frame.path for frame in fields.frames]
    chosen = cover(fields)
    assert len(chosen.frames) == 20 and "too few: 128 were asked for, there are 20" in chosen.notes[0]
    with pytest.raises(DataError, match=r"5 different frames are too few .* at least 16"):
        choose(paths[:5])
    assert len(choose(paths[:5], fewest=1).frames) == 5
    with pytest.raises(DataError, match="0 different frames"):
        choose([], fewest=0)


def test_copies_with_noise_are_too_alike(tmp_path: Path, fields: Survey) -> None:
    copies = [write(tmp_path, f"{n}.png", field(1, noise_seed=n)) for n in range(12)]
    chosen = choose(copies, 12, fewest=4)
    assert chosen.alike and chosen.distinct < 5
    assert "too alike: of 12 frames only" in chosen.notes[0]
    assert not cover(fields, 20).alike


def test_what_hardly_varies_is_named(fields: Survey) -> None:
    assert not any("hardly" in note for note in cover(fields, 20).notes)
    rows = fields.statistics.copy()
    focus = [NAMES.index(name) for name in STATISTICS["focus"]]
    rows[:, focus] = rows[0, focus]
    (note,) = cover(Survey(fields.frames, rows), 20).notes
    assert note.startswith("hardly any difference in focus:")


def test_the_same_bytes_count_once(tmp_path: Path) -> None:
    paths = varied(tmp_path, 6)
    again = [Path(shutil.copy(path, tmp_path / f"copy of {path.name}")) for path in paths[:3]]
    chosen = choose([*paths, *again], 6, fewest=4)
    assert len({frame.sha256 for frame in chosen.frames}) == 6
    assert chosen.notes[0] == "copies of other files, byte for byte: 3; each content counts once"
    assert all(not frame.path.name.startswith("field") or frame.path in paths for frame in chosen.frames)


def test_a_picture_of_the_test_side_stops_it_with_its_name(tmp_path: Path) -> None:
    paths = varied(tmp_path, 8)
    excluded = frozenset({hashlib.sha256(paths[7].read_bytes()).hexdigest()})
    with pytest.raises(DataError, match=r"field-007\.png: is a picture of the test side"):
        choose(paths, excluded_sha256=excluded)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-400])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def tiny(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((10, 400, 3), np.uint8))


@pytest.mark.parametrize("damage", [cut, flip, tiny, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_a_damaged_frame_stops_it_with_its_name(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]  # functions above
    paths = varied(tmp_path, 4)
    damage(paths[3])
    with pytest.raises(DataError, match=r"field-003\.png"):
        choose(paths)


def test_the_list_leads_back_to_the_frames_and_notices_what_changed(tmp_path: Path) -> None:
    chosen = choose(varied(tmp_path / "here" / "frames", 7), 6, fewest=4)
    file = tmp_path / "here" / "set.json"
    file.write_text(chosen.to_json(file.parent))
    moved = (tmp_path / "here").rename(tmp_path / "there")
    again = read_set(moved / "set.json")
    assert [f.sha256 for f in again.frames] == [f.sha256 for f in chosen.frames]
    assert (again.seed, again.candidates, again.distinct, again.notes) == (0, 7, chosen.distinct, chosen.notes)
    first = again.frames[0]
    assert np.array_equal(first.read(), cv2.imread(str(first.path)))
    write(first.path.parent, first.path.name, field(99))
    with pytest.raises(DataError, match=f"{first.path.name}: is not the frame that was chosen"):
        first.read()
    first.path.unlink()
    with pytest.raises(DataError, match=f"{first.path.name}: cannot be read"):
        first.read()


def test_squeezed_frames_are_undone_and_the_list_remembers_it(tmp_path: Path) -> None:
    paths = varied(tmp_path / "frames", 5)
    chosen = choose(paths, 4, fewest=4, aspects={tmp_path / "frames": 0.5})
    assert {frame.read().shape for frame in chosen.frames} == {(180, 480, 3)}
    plain = choose(paths, 4, fewest=4)
    (tmp_path / "set.json").write_text(chosen.to_json(tmp_path))
    assert [frame.pixel_aspect for frame in read_set(tmp_path / "set.json").frames] == [0.5] * 4
    assert "pixel_aspect" not in plain.to_json(tmp_path)  # lists of round frames are as they were
    (tmp_path / "pictures.yaml").write_text("pixel_aspect: 0.5")
    folder = tmp_path / "frames"
    found, (words,) = aspects_of([folder], {})
    assert found == {folder: 0.5} and "pixel aspect 0.5 stated by" in words
    assert aspects_of([folder], {folder: 1.0})[0] == {folder: 1}


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    for text, words in (
        ("", "Invalid JSON"),
        ("{}", "seed"),
        ('{"schema_version": 2}', "schema_version"),
        ("[1]", "no list of frames"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=words):
            read_set(file)
    good = json.loads(choose(varied(tmp_path / "frames", 2), fewest=1).to_json(tmp_path))
    good["frames"][0]["sha256"] = "short"
    file.write_text(json.dumps(good))
    with pytest.raises(DataError, match=r"frames\.0\.sha256"):
        read_set(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_set(tmp_path / "none.json")


def test_folders_of_frames(tmp_path: Path) -> None:
    write(tmp_path, "b.png", field(1))
    write(tmp_path, "a.JPG", field(1))
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "frames.jsonl").touch()
    assert [path.name for path in pictures_in(tmp_path)] == ["a.JPG", "b.png"]
    with pytest.raises(DataError, match="no picture"):
        pictures_in(tmp_path / "empty" if (tmp_path / "empty").mkdir() is None else tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        pictures_in(tmp_path / "nowhere")


def test_progress_counts_the_files(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    survey(varied(tmp_path, 4), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.shared
@pytest.mark.parametrize("folder", ["bccd/Images/train", "lld_40x/Images/train", "pbc/Images/train"])
def test_real_fields_differ_and_copies_of_one_do_not(shared_data: Path, tmp_path: Path, folder: str) -> None:
    """The limit of likeness lies between fields of a real folder and one field ten times, with other noise and moved by some pixels."""
    paths = pictures_in(shared_data / folder)
    seen = survey(paths[:: len(paths) // 16][:16])
    assert min(spread(seen.statistics).values()) > 0.4
    chosen = cover(seen, 16)
    assert chosen.distinct >= 15 and not chosen.alike
    picture, rng = cv2.imread(str(paths[0])).astype(np.float32), np.random.default_rng(0)
    copies = []
    for n in range(10):
        y, x = rng.integers(0, 9, 2)
        moved = picture[y : y - 8 or None, x : x - 8 or None]
        copies.append(write(tmp_path, f"{n}.png", np.clip(moved + rng.normal(0, 6, moved.shape), 0, 255).astype(np.uint8)))
    again = survey(copies)
    points = embedded(again.statistics)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(10)
    assert np.median(distances.min(axis=1)) < 0.6 * ALIKE and cover(again, fewest=1).distinct <= 5
