"""Cells of photographs on rendered film: the truth is where they lie, in the film's colours; what has no black ground is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import attridet
from labelled import CLASSES, Cell

from engines.data.leukemiaattri import read_split
from engines.errors import DataError
from engines.film import Film, Microscope
from engines.film import morphology as m
from engines.film.cells import LaidCutOut, Leukocyte
from engines.film.cut_outs import SHARE, CutOuts, looks_of, outline_of, paint_cut_out, read_cut_outs
from engines.taxonomy import LEUKEMIA_ATTRI

LYMPHOBLAST = CLASSES.index("Lymphoblast")
SIDE, AXES = 160, (60, 40)
GREEN = (60, 170, 70)


def write_cut_outs(
    root: Path, code: int = LYMPHOBLAST, ground: int = 0, tail: bool = False, info: dict[str, str] | None = None
) -> Path:
    """Three green ellipses of 120 x 80 px for each split, with darker spots, on ground of a value; a thin tail to the right."""
    for split in ("train", "val"):
        (root / "Images" / split).mkdir(parents=True)
        (root / "json_labels").mkdir(exist_ok=True)
        images, annotations = [], []
        for number in range(1, 4):
            image = np.full((SIDE, SIDE, 3), ground, np.uint8)
            cv2.ellipse(image, (80, 80), AXES, 0, 0, 360, GREEN, -1)
            for k in range(number):
                cv2.circle(image, (60 + 20 * k, 75), 7, (30, 90, 40), -1)
            if tail:
                cv2.line(image, (135, 80), (158, 80), GREEN, 3)
            cv2.imwrite(str(root / "Images" / split / f"cell_{number}.png"), image)
            images.append({"id": number, "file_name": f"cell_{number}.png", "width": SIDE, "height": SIDE})
            box = (15.0, 35.0, 145.0 if tail else 130.0, 90.0)
            annotations.append(Cell(code, box, (4,) * 7 if code == 0 else (-1,) * 7).annotation(number, number))
        names = [{"id": n, "name": name} for n, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": names} | ({"info": info} if info else {})
        (root / "json_labels" / f"{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def cut_outs(tmp_path_factory: pytest.TempPathFactory) -> CutOuts:
    return read_cut_outs(write_cut_outs(tmp_path_factory.mktemp("cells")), "train", LEUKEMIA_ATTRI)


@pytest.fixture(scope="module")
def film(cut_outs: CutOuts) -> Film:
    return Film(11, "ALL", (900.0, 700.0), cut_outs=cut_outs)


def laid_on(film: Film) -> list[Leukocyte]:
    return [cell for cell in film.plane.leukocytes((0, 0, *film.size_um)) if cell.cut_out is not None]


def test_their_scale_is_that_of_their_type(cut_outs: CutOuts) -> None:
    assert [cell.code for cell in cut_outs.cells] == [m.LYMPHOBLAST] * 3
    area_px = np.pi * AXES[0] * AXES[1]
    assert 2 * np.sqrt(area_px / np.pi) * cut_outs.um_per_px == pytest.approx(m.KINDS[m.LYMPHOBLAST].typical_um, rel=0.02)


def test_half_of_the_cells_are_cut_outs_and_no_artefact_is(film: Film) -> None:
    cells = film.plane.leukocytes((0, 0, *film.size_um))
    white = [cell for cell in cells if cell.code != m.NONE]
    assert len(white) > 100 and len(laid_on(film)) / len(white) == pytest.approx(SHARE, abs=0.12)
    assert all(cell.cut_out is None for cell in cells if cell.code == m.NONE)
    assert all(cell.code == m.LYMPHOBLAST and set(cell.attributes) == {-1} for cell in laid_on(film))
    assert len({cell.cut_out for cell in laid_on(film)}) == len(laid_on(film)), "each is turned in a way of its own"


@pytest.mark.parametrize("um_per_px", [0.07, 0.19])
def test_the_box_is_where_the_cell_is_seen(film: Film, um_per_px: float) -> None:
    looks = looks_of(film.seed, m.LYMPHOBLAST, film.stain)
    for cell in laid_on(film)[:8]:
        sprite = paint_cut_out(cell, looks, film.stain, um_per_px)
        seen = sprite.density.mean(2) > 0.4 * float(np.mean(looks.mean))
        ys, xs = np.nonzero(seen)
        low = (np.array([sprite.i0 + xs.min(), sprite.j0 + ys.min()])) * um_per_px
        high = (np.array([sprite.i0 + xs.max() + 1, sprite.j0 + ys.max() + 1])) * um_per_px
        assert np.abs(np.array([*low, *high]) - cell.box_um).max() < 0.35 + um_per_px
        assert seen.sum() * um_per_px**2 == pytest.approx(cell.outline.area_um2, rel=0.08)


def test_their_colour_is_the_films_and_their_texture_their_own(film: Film, cut_outs: CutOuts) -> None:
    looks = looks_of(film.seed, m.LYMPHOBLAST, film.stain)
    hues, spots = [], []
    for cell in laid_on(film)[:12]:
        density = paint_cut_out(cell, looks, film.stain, 0.1).density
        within = density[density.mean(2) > 0.5 * float(np.mean(looks.mean))]
        hues.append(within.mean(0) / within.mean())
        spots.append(within.mean(1).std())
    assert np.mean(hues, 0) == pytest.approx(looks.mean / looks.mean.mean(), rel=0.12), "green is gone"
    assert min(spots) > 0.05


def test_red_cells_keep_off_them_and_the_field_says_where_they_are(film: Film) -> None:
    cell = next(cell for cell in laid_on(film) if 200 < cell.centre_um[0] < 700 and 150 < cell.centre_um[1] < 550)
    scope = Microscope("H", "C2", 100)
    image, truth = film.view(cell.centre_um, scope, (400, 400))
    row = int(np.flatnonzero(truth.cell_ids == cell.cell_id)[0])
    assert (truth.classes[row], set(truth.attributes[row])) == (m.LYMPHOBLAST, {-1})
    x0, y0, x1, y1 = truth.boxes_px[row].astype(int)
    middle = image[(y0 + y1) // 2 - 15 : (y0 + y1) // 2 + 15, (x0 + x1) // 2 - 15 : (x0 + x1) // 2 + 15]
    assert middle.mean() < 0.75 * np.median(image)
    reach = np.sqrt(cell.outline.area_um2 / np.pi)
    reds = np.concatenate([loose.centres_um for loose in film.plane.red_cells(cell.box_um)])
    assert np.hypot(*(reds - np.array(cell.centre_um)).T).min() > reach
    twin = Film(11, "ALL", (900.0, 700.0), cut_outs=film.plane.cut_outs)
    again, _ = twin.view(cell.centre_um, scope, (400, 400))
    assert (again == image).all()


def test_a_neighbours_tail_is_cut_off(tmp_path: Path, cut_outs: CutOuts) -> None:
    tailed = read_cut_outs(write_cut_outs(tmp_path / "tailed", tail=True), "train", LEUKEMIA_ATTRI)
    reaches = [outline_of(LaidCutOut(some.cells[0], 0.1, 0.7, True)).reach_um for some in (tailed, cut_outs)]
    assert reaches[0] == pytest.approx(reaches[1], rel=0.03) and reaches[1] == pytest.approx(6.0, rel=0.03)


def test_squeezed_cut_outs_are_undone_by_what_their_folder_states(tmp_path: Path) -> None:
    root = write_cut_outs(tmp_path / "squeezed")
    (root / "pictures.yaml").write_text("pixel_aspect: 0.5")
    found = read_cut_outs(root, "train", LEUKEMIA_ATTRI)
    assert outline_of(LaidCutOut(found.cells[0], 0.1, 0.7, True)).reach_um == pytest.approx(12.0, rel=0.03)


def test_what_is_no_cut_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cell_1\.png: no cell on black ground in its box; cut-outs have ground of value 0"):
        read_cut_outs(write_cut_outs(tmp_path / "grey", ground=200), "train", LEUKEMIA_ATTRI)
    with pytest.raises(DataError, match=r"cell_1\.png: a cut-out of type 'None', which rendered film does not draw as a cell"):
        read_cut_outs(write_cut_outs(tmp_path / "none", code=0), "train", LEUKEMIA_ATTRI)


def test_reading_is_told(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    root = write_cut_outs(tmp_path / "cells")
    read_cut_outs(root, "val", LEUKEMIA_ATTRI, lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_the_command_writes_a_montage_that_says_what_it_is(tmp_path: Path) -> None:
    words = ("--train", 2, "--val", 1, "--size", 320, "--objective", 40, "--case", "ALL", "--workers", 1, "--seed", 4)
    source = write_cut_outs(tmp_path / "cells")
    done = attridet("film", tmp_path / "film", *words, "--cut-outs", source)
    assert done.code == 0, done.err
    assert f"Mind: {source} states no licence; say with --licence whose the cells are" in done.out and "a montage" in done.out
    info = json.loads((tmp_path / "film" / "json_labels" / "train.json").read_text())["info"]
    assert info["rendered"] and "montage" in info["description"]
    assert info["cut_outs"]["cells"] == {"Lymphoblast": 3} and info["cut_outs"]["licence"].startswith("not stated")
    laid = [image for split in ("train", "val") for image in read_split(tmp_path / "film", split)]
    blasts = np.concatenate([image.attributes[image.classes == LYMPHOBLAST] for image in laid])
    assert (blasts == -1).all(1).any(), "cut-outs, whose attributes nobody stated"
    stating = write_cut_outs(tmp_path / "stating", info={"license": "CC BY 3.0", "url": "example.org/cells"})
    done = attridet("film", tmp_path / "other", *words[:-2], "--seed", 5, "--cut-outs", stating)
    info = json.loads((tmp_path / "other" / "json_labels" / "val.json").read_text())["info"]
    assert done.code == 0 and "Mind" not in done.out and info["cut_outs"]["licence"] == "CC BY 3.0; example.org/cells"
