"""Pixel aspect: measured on rendered film that was squeezed by a known factor, stated by file and option, undone by every reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.data.aspect import FILE, aspect_findings, check_given, given_for, pixel_aspect, statement
from engines.data.check import check
from engines.data.export import Format, export
from engines.data.faults import Kind
from engines.data.layout import find_subsets
from engines.data.leukemiaattri import read_split, read_unlabelled
from engines.data.splits import plan, write_plan
from engines.errors import DataError
from engines.film import write_dataset
from engines.pictures import read_image
from engines.progress import Reporter
from engines.red_cells import measure, spreads, summed

SQUEEZED = 0.5625
"""A 16:9 frame pressed into a square."""


@pytest.fixture(scope="module")
def round_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered fields of 910 x 512 px."""
    film = {"domains": ("H_C2",), "objectives": (40,), "cases": ("CLL",), "zoom": (0.9, 0.9), "workers": 1}
    root = tmp_path_factory.mktemp("film") / "round"
    return write_dataset(root, fields_train=6, fields_val=2, seed=5, size_px=(910, 512), **film)  # type: ignore[arg-type]  # by their names


def squeeze(source: Path, target: Path, aspect: float, names: Sequence[str] = ()) -> Path:
    """The data set with its pictures (of `names`, or all) narrowed, boxes too; JSON labels, and nothing that states it."""
    for split in ("train", "val"):
        data = json.loads((source / "json_labels" / f"{split}.json").read_text())
        widths = {}
        for image in data["images"]:
            factor = aspect if not names or image["file_name"] in names else 1.0
            pixels = read_image(source / "Images" / split / image["file_name"])
            width = round(image["width"] * factor)
            widths[image["id"]] = width / image["width"]
            file = target / "Images" / split / Path(image["file_name"]).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), cv2.resize(pixels, (width, image["height"]), interpolation=cv2.INTER_AREA))
            image |= {"file_name": file.name, "width": width}
        for cell in data["annotations"]:
            x, y, w, h = cell["bbox"]
            factor = widths[cell["image_id"]]
            cell |= {"bbox": [x * factor, y, w * factor, h], "area": w * h * factor}
        (target / "json_labels").mkdir(parents=True, exist_ok=True)
        (target / "json_labels" / f"{split}.json").write_text(json.dumps(data))
    return target


@pytest.fixture(scope="module")
def squeezed_root(round_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squeeze(round_root, tmp_path_factory.mktemp("film") / "squeezed", SQUEEZED)


def pictures(root: Path) -> list[Path]:
    return sorted((root / "Images").rglob("*.*g"))


@pytest.mark.parametrize("factor", [SQUEEZED, 0.75, 1.0, 1.3])
def test_a_known_squeeze_is_measured(round_root: Path, factor: float) -> None:
    files = pictures(round_root)
    found = summed(
        [spreads(np.asarray(cv2.resize(read_image(f), None, fx=factor, fy=1, interpolation=cv2.INTER_AREA), np.uint8)) for f in files]
    )
    assert found.aspect == pytest.approx(factor, abs=0.02 * max(1, factor))
    assert found.low < found.aspect < found.high and found.measured and not found.mixed
    whole = summed([spreads(read_image(file)) for file in files])
    assert found.diameter_px == pytest.approx(whole.diameter_px * max(1, factor), rel=0.06)


def test_nothing_is_measured_where_no_red_cell_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for name, image in {
        "noise": rng.integers(0, 255, (160, 200, 3), np.uint8),
        "blank": np.full((160, 200, 3), 220, np.uint8),
        "black": np.zeros((160, 200, 3), np.uint8),
        "cut out": cv2.circle(np.zeros((160, 200, 3), np.uint8), (100, 80), 40, (190, 120, 160), -1),
    }.items():
        files.append(tmp_path / f"{name}.png")
        cv2.imwrite(str(files[-1]), image)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG nothing")
    found = measure([*files, tmp_path / "damaged.png"])
    assert (found.pictures, found.measured) == (4, False) and found.to_dict()["aspect"] is None
    assert not measure([]).measured


def test_readers_undo_what_the_red_cells_leave_no_doubt_of(round_root: Path, squeezed_root: Path) -> None:
    for split in ("train", "val"):
        wanted, found = read_split(round_root, split), read_split(squeezed_root, split)
        (aspect,) = found.aspects
        assert aspect.value == pytest.approx(SQUEEZED, abs=0.02)
        assert f"; pixel aspect {aspect.value:g} measured on {aspect.measured.cells} red cells, undone" in found.summary  # type: ignore[union-attr]
        assert "pixel aspect" not in wanted.summary  # rendered film states that it is round
        assert found.to_dict()["pixel_aspect"][0]["origin"] == "measured"
        for a, b, bare in zip(wanted, found, read_unlabelled(squeezed_root, split), strict=True):
            assert b.size_hw == bare.size_hw == b.read().shape[:2] == bare.read().shape[:2]
            assert b.size_hw[0] == 512 and b.size_hw[1] == pytest.approx(910, rel=0.02)
            np.testing.assert_allclose(b.boxes_px * np.array([910 / b.size_hw[1], 1] * 2), a.boxes_px, atol=0.6)
            assert not len(bare.boxes_px)


def test_what_is_stated_counts_before_what_is_measured(round_root: Path, squeezed_root: Path, tmp_path: Path) -> None:
    root = squeeze(round_root, tmp_path / "all" / "H_40X_C2", SQUEEZED)
    (root.parent / FILE).write_text(statement(SQUEEZED))
    found = read_split(root.parent, "val")
    assert found.aspects[0].measured is None and f"stated by {root.parent / FILE}, undone" in found.summary
    for a, b in zip(read_split(round_root, "val"), found, strict=True):
        assert a.size_hw == b.size_hw  # 512 px and 910
        np.testing.assert_allclose(b.boxes_px, a.boxes_px, atol=1e-3)
        drawn, undone = (image.read().astype(np.float32) for image in (a, b))
        assert np.abs(drawn - undone).mean() < 4
    as_it_is = read_split(root.parent, "val", given_aspect=1)
    assert as_it_is[0].size_hw == (512, 512) and "pixel aspect 1 stated by --pixel-aspect" in as_it_is.summary
    higher = read_split(root.parent, "val", given_aspect=2)
    assert higher[0].size_hw == (1024, 512)
    np.testing.assert_allclose(higher[0].boxes_px, as_it_is[0].boxes_px * np.array([1, 2, 1, 2]), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pixel_aspect: wide", ":1: pixel_aspect: wide is no pixel aspect"),
        ("\npixel_aspect: 0", ":2: pixel_aspect: 0 is no pixel aspect"),
        ("pixel_aspect: true", "True is no pixel aspect"),
        ("pixel_aspekt: 0.5", ":1: pixel_aspekt: no such key; there is pixel_aspect"),
        ("", ":1: states nothing"),
        ("\tpixel_aspect: 1", ":1: a tab stands here"),
    ],
)
def test_a_statement_that_is_none_is_refused_with_its_line(squeezed_root: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "Images").symlink_to(squeezed_root / "Images")
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError) as error:
        read_unlabelled(tmp_path, "val")
    assert words in str(error.value) and str(tmp_path / FILE) in str(error.value)


def test_the_option_names_one_folder_or_all(tmp_path: Path) -> None:
    assert given_for(tmp_path / "a", ()) is None
    assert given_for(tmp_path / "a", ("0.56",)) == 0.56
    given = (f"{tmp_path}/a=0.6", "1")
    assert (given_for(tmp_path / "a", given), given_for(tmp_path / "b", given)) == (0.6, 1)
    check_given(given, [tmp_path / "a"])
    with pytest.raises(DataError, match="none of the folders"):
        check_given(given, [tmp_path / "b"])
    for wrong in ("wide", "0", "a=", "nan"):
        with pytest.raises(DataError, match="--pixel-aspect"):
            given_for(tmp_path, (wrong,))


def test_pictures_of_two_aspects_are_left_as_they_are_and_said(round_root: Path, tmp_path: Path) -> None:
    half = [file.name for file in pictures(round_root)][::2]
    root = squeeze(round_root, tmp_path / "mixed", SQUEEZED, half)
    found = read_split(root, "train")
    assert {image.pixel_aspect for image in found} == {1}
    assert "squeezed otherwise than the rest, not undone" in found.summary
    assert [fault.kind for fault in check(root).faults] == [Kind.PIXEL_ASPECT_DOUBT]


def test_check_tells_a_squeeze_that_nothing_states(squeezed_root: Path, round_root: Path) -> None:
    found = check(squeezed_root)
    (note,) = [fault for fault in found.findings if fault.kind is Kind.PIXEL_ASPECT]
    assert "squeezed sideways" in note.message and f"'pixel_aspect: {found.aspects[0].value:g}' in pictures.yaml" in note.message
    plain = found.to_dict()["pixel_aspect"][0]
    assert plain["red_cells"]["um_per_px"] == pytest.approx(7.2 / plain["red_cells"]["diameter_px"], rel=1e-3)
    (subset,) = find_subsets(round_root)
    stated = pixel_aspect(subset, always_measure=True)
    assert stated.stated_by and stated.value == 1 and not list(aspect_findings(subset, stated))
    (wrong,) = aspect_findings(subset, replace(stated, value=0.6))
    assert wrong.kind is Kind.PIXEL_ASPECT_DOUBT


def test_a_training_learns_from_round_cells_and_says_so(squeezed_root: Path) -> None:
    from engines.families.hyper import SETS
    from engines.taxonomy import LEUKEMIA_ATTRI
    from engines.training.pictures import read_pictures
    from engines.training.request import TrainRequest

    heard: list[str] = []

    class Heard(Reporter):
        def message(self, text: str) -> None:
            heard.append(text)

    request = TrainRequest(
        out=squeezed_root / "run", data=(str(squeezed_root),), imgsz=512, pixel_aspect=(f"{squeezed_root}={SQUEEZED}",)
    )
    read = read_pictures(request, SETS["film"], LEUKEMIA_ATTRI, Heard())
    assert {sample.image.shape for sample in read.samples} == {(512, 910, 3)}
    assert sum("stated by --pixel-aspect, undone" in words for words in heard) == 2  # of train and of val
    sides = np.concatenate([sample.boxes[:, 2:] - sample.boxes[:, :2] for sample in read.samples])
    assert np.median(sides[:, 0] / sides[:, 1]) == pytest.approx(1, abs=0.1)
    with pytest.raises(DataError, match="none of the folders"):
        read_pictures(replace(request, pixel_aspect=("elsewhere=1",)), SETS["film"], LEUKEMIA_ATTRI, Heard())


def test_pictures_for_an_export_are_undone_too(squeezed_root: Path) -> None:
    from engines.export.run import check_images

    folder = squeezed_root / "Images" / "train"
    assert {image.shape for image in check_images(folder, None, ("1",))} == {(512, 512, 3)}
    (wide,) = {image.shape[1] for image in check_images(folder, folder / sorted(folder.iterdir())[0].name)}
    assert wide == pytest.approx(910, rel=0.02)


def test_written_files_stay_as_they_are_and_the_statement_goes_along(round_root: Path, tmp_path: Path) -> None:
    root = squeeze(round_root, tmp_path / "stated", SQUEEZED)
    (root / FILE).write_text(statement(0.57))
    export(root, Format.TXT12, tmp_path / "txt")
    write_plan(plan(root, {"train": 0.5, "val": 0.5}, 0), tmp_path / "divided")
    for out in (tmp_path / "txt", tmp_path / "divided"):
        assert (out / FILE).read_text() == statement(0.57)
        for image in read_split(out, "train"):
            assert read_image(image.path).shape == (512, 512, 3) and image.size_hw == (512, round(512 / 0.57))
    ours = {image.path.stem: image.boxes_px for image in read_split(root, "val")}
    for image in read_split(tmp_path / "txt", "val"):
        np.testing.assert_allclose(image.boxes_px, ours[image.path.stem], atol=1e-3)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "aspect"),
    [("lld_40x", 0.549), ("lld_100x_c1", 0.586), ("bccd", 1.006), ("pbc", 1.025), ("chula_rbc", 1.009), ("aria_all", 1)],
)
def test_real_pictures_measure_what_others_measured(shared_data: Path, name: str, aspect: float) -> None:
    found = measure(pictures(shared_data / name))
    assert found.aspect == pytest.approx(aspect, abs=0.035 if aspect > 0.9 else 0.015) and not found.mixed
