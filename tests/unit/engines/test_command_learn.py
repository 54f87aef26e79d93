"""`attridet learn` on drawn cells and a real second look: layers that name rightly, figures counted by hand, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stained_cells import write_stained

from calibration.site import LearnRequest, LearnResult, learn
from calibration.site.cells import read_patients
from calibration.site.figures import figures
from device.store import Store
from engines.bundle import Bundle, write_bundle
from engines.cli import run
from engines.data.leukemiaattri import read_split
from engines.errors import BundleError, DataError
from engines.evaluation.calibration import area_under_curve
from engines.naming import NamingLayer
from engines.naming.cells import LabelledCells
from engines.naming.choice import encoder_of, layer_of
from engines.naming.layer import NamingThresholds
from engines.naming.tiles import cut_tiles
from engines.runtime.factory import open_engine
from engines.taxonomy import LEUKEMIA_ATTRI

SITE_TINT = (0.75, 0.95, 1.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two open folders and a site: four slides, each with all kinds of cells."""
    root = tmp_path_factory.mktemp("cells")
    write_stained(root / "alpha", ("1", "2"), 4)
    write_stained(root / "beta", ("3", "4"), 4, tint=(0.9, 0.85, 0.95))
    write_stained(root / "site", ("5", "6", "7", "8"), 3, tint=SITE_TINT)
    write_stained(root / "new", ("9",), 4, tint=SITE_TINT)
    return root


def request(bundle: Bundle, out: Path, **given: object) -> LearnRequest:
    usual = {"partly_labelled": True, "boxes": "labelled", "threads": 1, "ridge": 0.3}
    return LearnRequest(bundle=str(bundle.path), out=out, **(usual | given))


@pytest.fixture(scope="module")
def opened(bundle: Bundle, folder: Path) -> LearnResult:
    given = {"open": True, "data": (folder / "alpha", folder / "beta"), "licence": ("alpha=CC0", "beta=MIT")}
    return learn(request(bundle, folder / "open.npz", open_cells=folder / "open-cells.npz", **given))


@pytest.fixture(scope="module")
def looking(bundle: Bundle, folder: Path, opened: LearnResult) -> Bundle:
    """The bundle with that layer and those open cells."""
    assert bundle.manifest.second_look is not None
    names = {"layer": "naming-layer.npz", "open_cells": "open-cells.npz"}
    manifest = bundle.manifest.model_copy(update={"second_look": bundle.manifest.second_look.model_copy(update=names)})
    files: dict[str, bytes | Path] = {n: bundle.path / n for n in bundle.manifest.files if not n.startswith("golden")}
    files |= {"naming-layer.npz": folder / "open.npz", "open-cells.npz": folder / "open-cells.npz"}
    return write_bundle(folder / "looking", manifest, files)


@pytest.fixture(scope="module")
def site(looking: Bundle, folder: Path) -> LearnResult:
    return learn(request(looking, folder / "ours.npz", cells=folder / "site", fewest=30))


def told_of(layer: NamingLayer, bundle: Bundle, root: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Truth, most probable class and group of the labelled cells of a folder."""
    truth, told, groups = [], [], []
    with open_engine(bundle.path, threads=1, verify=False) as engine:
        for picture in read_split(root, "train"):
            features = engine.look(cut_tiles(picture.read(), picture.boxes_px, engine.tiles))
            names, _ = layer.names(features, LEUKEMIA_ATTRI)
            truth.append(picture.classes)
            told.append(names.probabilities.argmax(1))
            groups += names.groups
    return np.concatenate(truth), np.concatenate(told), tuple(groups)


def test_the_open_layer_names_cells_of_sources_left_out(opened: LearnResult, bundle: Bundle, folder: Path) -> None:
    layer = opened.layer
    assert (layer.name, layer.version, layer.site, layer.encoder) == ("open", "1", False, encoder_of(bundle))
    assert opened.found.blasts == 24 and opened.found.auc > 0.95 and opened.found.j > 0.8
    cells = LabelledCells.read(folder / "open-cells.npz", LEUKEMIA_ATTRI.classes)
    assert len(cells) == 96 and dict(cells.licences) == {"alpha": "CC0", "beta": "MIT"}
    assert sorted(np.unique(cells.patients).tolist()) == ["alpha/1", "alpha/2", "beta/3", "beta/4"]
    assert {source["name"]: source["types"]["Myeloblast"] for source in layer.card["sources"]} == {"alpha": 12, "beta": 12}
    said = str(layer.card["said"])
    assert said.startswith(f"On open data, each source left out of the fit in turn, {opened.found.blasts_told} of 24 blasts")
    assert layer.info.said == said and json.dumps(layer.card)


def test_a_site_layer_names_the_next_slide_and_says_how_well(site: LearnResult, looking: Bundle, folder: Path) -> None:
    layer = site.layer
    assert layer.site and layer.card["left_out"] == "slide" and layer.card["bundle"]["digest"] == looking.digest
    assert [slide.slide for slide in site.found.slides] == [f"site site/{n}" for n in (5, 6, 7, 8)]
    assert sum(slide.cells for slide in site.found.slides) == 54
    assert site.found.blasts == 18 and site.found.j > 0.8 and site.found.percent_off < 15
    assert site.before is not None and site.before.blasts == 18
    truth, told, groups = told_of(layer, looking, folder / "new")
    assert (truth == told).mean() > 0.85
    blast = np.array(groups)[truth == 1]
    assert (blast == "blasts").mean() > 0.8
    assert layer_of(looking, site.path) is not None
    page = site.page.read_text()
    assert layer.digest in page and "| site site/5 |" in page and str(layer.card["said"]) in page


def test_versions_count_up_and_the_former_file_is_kept(site: LearnResult, looking: Bundle, folder: Path) -> None:
    again = learn(request(looking, folder / "ours.npz", cells=folder / "site", fewest=30))
    assert again.layer.version == "2" and NamingLayer.read(folder / "ours-1.npz").digest == site.layer.digest
    assert np.array_equal(again.layer.weights, site.layer.weights)  # the same cells, the same layer
    with pytest.raises(DataError, match=r"ours\.npz: holds the layer 'ours', not 'other'"):
        learn(request(looking, folder / "ours.npz", cells=folder / "site", name="other"))


def test_the_detectors_false_boxes_are_artefacts_unless_labels_are_partial(bundle: Bundle, tmp_path: Path) -> None:
    one = write_stained(tmp_path / "one", ("1", "2"), 2)
    given = {"open": True, "data": (one,), "licence": ("one=CC0",), "open_cells": tmp_path / "cells.npz", "leave_out": "patient"}
    learn(request(bundle, tmp_path / "layer.npz", **given))
    labelled = LabelledCells.read(tmp_path / "cells.npz", LEUKEMIA_ATTRI.classes)
    learn(request(bundle, tmp_path / "whole.npz", **given, partly_labelled=False, boxes="found"))
    every = LabelledCells.read(tmp_path / "cells.npz", LEUKEMIA_ATTRI.classes)
    assert len(labelled) == 24 and (every.classes != 0).sum() == (labelled.classes != 0).sum() == 18
    with open_engine(bundle.path, threads=1, verify=False) as engine:
        boxes = sum(len(engine.infer(picture.read()).detections) for picture in read_split(one, "train"))
    assert 0 < (every.classes == 0).sum() - (labelled.classes == 0).sum() <= boxes


def test_copies_with_shaken_colours_teach_and_are_not_stored(bundle: Bundle, folder: Path, tmp_path: Path, opened: LearnResult) -> None:
    given = {"open": True, "data": (folder / "alpha", folder / "beta"), "licence": ("alpha=CC0", "beta=MIT"), "colour_copies": 1}
    made = learn(request(bundle, tmp_path / "copies.npz", open_cells=tmp_path / "cells.npz", **given))
    assert sum(source["blasts"] for source in made.layer.card["sources"]) == 48
    stored = LabelledCells.read(tmp_path / "cells.npz", LEUKEMIA_ATTRI.classes)
    plain = LabelledCells.read(folder / "open-cells.npz", LEUKEMIA_ATTRI.classes)
    assert len(stored) == 96 and np.array_equal(stored.features, plain.features)
    assert len(made.layer.references) == len(opened.layer.references)
    assert not np.array_equal(made.layer.weights, opened.layer.weights)


def test_alignment_takes_confirmed_normal_cells_alone(looking: Bundle, folder: Path, tmp_path: Path) -> None:
    normal = write_stained(tmp_path / "normal", ("1", "2"), 5, kinds=(3, 7), tint=SITE_TINT)
    made = learn(request(looking, tmp_path / "aligned.npz", confirmed_normal=normal))
    assert made.layer.site and "Aligned by confirmed normal cells alone" in made.layer.card["notes"][0]
    truth, told, _ = told_of(made.layer, looking, folder / "new")
    assert (truth == told).mean() > 0.7
    with pytest.raises(DataError, match=r"site new: holds None, Myeloblast, which is no normal white cell"):
        learn(request(looking, tmp_path / "wrong.npz", confirmed_normal=folder / "new"))
    assert not (tmp_path / "wrong.npz").exists()


def refusals(folder: Path, tmp_path: Path) -> dict[str, tuple[dict[str, object], str]]:
    normal = write_stained(tmp_path / "normal", ("1", "2"), 4, kinds=(3, 7))
    lone = write_stained(tmp_path / "lone", ("1",), 6)
    nameless = write_stained(tmp_path / "nameless", ("1", "2"), 3)
    for number, path in enumerate(sorted((nameless / "Images/train").glob("*.png"))):
        path.rename(path.with_name(f"p{number}.png"))
    labels = nameless / "json_labels/train.json"
    text = labels.read_text()
    for number, name in enumerate(sorted(f"{p}_{f + 1}_1_400_AML.png" for p in "12" for f in range(3))):
        text = text.replace(name, f"p{number}.png")
    labels.write_text(text)
    return {
        "too few": ({"cells": folder / "new"}, r"new: 18 white cells are labelled, at least 50 are needed"),
        "one group": ({"cells": normal, "fewest": 20}, r"normal: no blast is labelled"),
        "one slide": ({"cells": lone, "fewest": 20}, r"lone: cells of 1 slide, at least 2"),
        "no names": ({"cells": nameless, "fewest": 20}, r"nameless: names of pictures do not say whose slide.*--patients CSV"),
        "nothing": ({}, r"--cells is missing"),
        "both": ({"cells": lone, "open": True}, r"--cells is for a site's layer"),
        "no licence": ({"open": True, "data": (lone,)}, r"lone: nothing says under which licence.*--licence 'lone=…'"),
        "licence": ({"open": True, "data": (lone,), "licence": ("lone",)}, r"--licence lone: write NAME=TEXT"),
        "twice": ({"open": True, "data": (lone, lone)}, r"two folders of one name"),
    }


def test_what_is_refused(looking: Bundle, folder: Path, tmp_path: Path) -> None:
    for name, (given, words) in refusals(folder, tmp_path).items():
        with pytest.raises(DataError, match=words):
            learn(request(looking, tmp_path / f"{name}.npz", **given))
        assert not (tmp_path / f"{name}.npz").exists(), name


def test_a_list_says_whose_slides_they_are(looking: Bundle, folder: Path, tmp_path: Path) -> None:
    refusals(folder, tmp_path)  # makes the folder without names
    sheet = tmp_path / "patients.csv"
    sheet.write_text("picture,patient\n" + "".join(f"p{n}.png,{'ab'[n // 3]}\n" for n in range(6)))
    made = learn(request(looking, tmp_path / "listed.npz", cells=tmp_path / "nameless", fewest=20, patients=sheet))
    assert [slide.slide for slide in made.found.slides] == ["site nameless/a", "site nameless/b"]
    sheet.write_text("picture,patient\np0.png,\n")
    with pytest.raises(DataError, match=r"patients\.csv:2: a picture and its patient"):
        read_patients(sheet)


def test_bundles_that_cannot_take_a_site_layer_are_refused(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has no open cells to mix"):
        learn(request(bundle, tmp_path / "site.npz", cells=folder / "site"))


def test_a_record_without_reviewed_cells_is_refused(looking: Bundle, tmp_path: Path) -> None:
    record = tmp_path / "record.sqlite"
    with Store.open(record):
        pass
    with pytest.raises(DataError, match="no signed slide to take labels from; review and sign one"):
        learn(request(looking, tmp_path / "site.npz", cells=record))


def test_the_command_prints_its_figures(looking: Bundle, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cli.npz"
    words = ["learn", str(looking.path), "--cells", str(folder / "site"), "--out", str(out), "--fewest", "30", "--partly-labelled"]
    assert run([*words, "--boxes", "labelled", "--threads", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "blasts told as blasts 18 of 18 (100 %)" in said and "exact 95 % interval of that" in said
    assert "the bundle's own" in said and "leukoscope layer use" in said and str(out) in said.replace(" ", "")
    assert run(["learn", str(looking.path), "--out", str(out)]) == 2


def test_figures_can_be_counted_by_hand() -> None:
    p = np.zeros((8, 14), np.float32)
    truth = np.array([1, 1, 1, 3, 3, 3, 0, 0])
    p[0, 1] = p[1, 1] = p[3, 1] = 1.0  # two of three blasts, and a neutrophil told as one
    p[2, 3] = p[4, 3] = p[7, 3] = 1.0  # a blast missed, a neutrophil right, an artefact told as a cell
    p[5, 0] = p[6, 0] = 1.0  # a neutrophil lost, an artefact right
    slides = np.array(["a", "a", "b", "a", "b", "b", "a", "b"])
    found = figures(p, truth, slides, NamingThresholds(), LEUKEMIA_ATTRI)
    assert (found.blasts, found.blasts_told, found.others, found.others_told) == (3, 2, 3, 1)
    assert found.j == pytest.approx(2 / 3 - 1 / 3)
    assert (found.typed, found.typed_right, found.grouped, found.grouped_right) == (5, 3, 5, 3)
    assert (found.cells_lost, found.artefacts, found.artefacts_told) == (1, 2, 1)
    assert [(s.slide, s.cells, round(s.blast_percent), round(s.told_percent)) for s in found.slides] == [
        ("a", 3, 67, 100),
        ("b", 3, 33, 0),
    ]
    assert found.percent_off == pytest.approx((100 / 3 + 100 / 3) / 2)
    scores, yes = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    assert area_under_curve(scores, yes)[0] == pytest.approx(3.5 / 4)
