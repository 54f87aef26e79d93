"""A type and an attribute more by a file alone (docs/taxonomy.md): labels, a step of training, a bundle, the line and its words."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from drawing import has, panel

from device.app import run
from device.display.labels import CODE_PX, PLATE
from device.display.overlay import draw
from device.display.palette import PANEL, TEXT, bgr, mix, type_styles
from device.display.rows import BAR_SHARE
from device.line import Openers
from device.mqtt.payloads import read_summary
from device.pipeline import Pipeline
from device.report.page import write_page
from device.rounds import Round
from device.settings.broker import BrokerSection
from device.settings.config import Config, DeviceSection, DisplaySection, EngineSection, ReplayCamera, SlideSection
from device.store import Store
from engines.bundle import Bundle
from engines.data.check import check
from engines.data.coco import write_json
from engines.data.faults import Place
from engines.data.labels import CellLabel, Picture, PictureLabels
from engines.data.layout import find_splits
from engines.data.leukemiaattri import admit, read_split
from engines.data.writing import write_txt
from engines.decode import Thresholds
from engines.errors import DataError
from engines.export.bundle import export_bundle
from engines.film import write_dataset
from engines.manifest import Card
from engines.network import AttriDet
from engines.network.checkpoint import load_network
from engines.network.weights import save_weights
from engines.progress import Reporter
from engines.provenance import Training
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Taxonomy, TxtLayout, read_taxonomy
from engines.taxonomy.model import SHIPPED
from engines.training import TrainRequest, train

pytestmark = pytest.mark.integration

SIDE = 224
SMALL: dict[str, Any] = {"imgsz": 64, "batch": 4, "epochs": 1, "workers": 0, "threads": 1, "judge": False, "pictures": False}
PUBLISHED = (1, 0, 1, 1, 0, 1, 0)
"""The attributes of the published line `1 .5 .5 .1 .1 1 0 1 1 0 1 0`."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The shipped file with the two examples of the page at the ends of its lists."""
    page = (repository / "docs" / "taxonomy.md").read_text(encoding="utf-8")
    one_class, attribute, _a_persons_class = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    text = SHIPPED.read_text(encoding="utf-8")
    for before, more in (("\nartefact:", one_class), ("\n# Attributes behind", attribute)):
        assert text.count(before) == 1
        text = text.replace(before, more + before)
    own = tmp_path_factory.mktemp("taxonomy") / "own.yaml"
    own.write_text(text, encoding="utf-8")
    return own


@pytest.fixture(scope="module")
def own(file: Path) -> Taxonomy:
    return read_taxonomy(file)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, own: Taxonomy) -> Path:
    """Rendered fields with the film's own labels, read by name, and one with a plasma cell that has Auer rods."""
    folder = tmp_path_factory.mktemp("data")
    size = {"size_px": (SIDE, SIDE), "zoom": (0.8, 0.8)}
    rendered = {"domains": ("L_C2", "H"), "objectives": (40,), "cases": ("mixed",), "workers": 1}
    write_dataset(folder / "film", fields_train=3, fields_val=1, seed=2, **size, **rendered)  # type: ignore[arg-type]  # by their names
    ((read,), _) = admit(find_splits(folder / "film", "train"), folder / "film", own)
    image = np.full((SIDE, SIDE, 3), 215, np.uint8)
    cv2.circle(image, (112, 112), 30, (90, 30, 60), -1)
    path = folder / "own" / "Images" / "train" / "77_1_400_AML.png"
    shutil.copytree(folder / "film" / "Images", folder / "own" / "Images")
    cv2.imwrite(str(path), image)
    cell = CellLabel(Place(path), own.classes.index("Plasma cell"), (82.0, 82.0, 60.0, 60.0), (*PUBLISHED, 1))
    added = Picture(path, (SIDE, SIDE), PictureLabels(path.name, Place(path), (SIDE, SIDE), (cell,)))
    write_json(folder / "own", "train", [*read.pictures, added], own)
    return folder


def test_labels_are_read_back_with_nothing_shifted(data: Path, own: Taxonomy, tmp_path: Path) -> None:
    rendered, seen = read_split(data / "film", "train"), read_split(data / "own", "train", own)
    assert sum(len(picture.classes) for picture in rendered) == 3
    for before, after in zip(rendered, seen, strict=False):
        np.testing.assert_array_equal(before.classes, after.classes)
        np.testing.assert_array_equal(before.attributes, after.attributes[:, :7])
        assert (after.attributes[:, 7] == UNKNOWN).all()
    assert own.classes[int(seen[-1].classes[0])] == "Plasma cell" and seen[-1].attributes.tolist() == [[*PUBLISHED, 1]]
    assert check(data / "own", own).faults == ()
    with pytest.raises(DataError, match="unknown class 'Plasma cell'"):
        read_split(data / "own", "train")  # the published taxonomy knows none, and says so

    ((read,), _) = admit(find_splits(data / "own", "train"), data / "own", own)
    eight = replace(own, txt_layouts=(*own.txt_layouts, TxtLayout("own-13", tuple(a.key for a in own.attributes))))
    for taxonomy, rods in ((own, UNKNOWN), (eight, 1)):
        root = tmp_path / str(rods)
        shutil.copytree(data / "own" / "Images", root / "Images")
        write_txt(root, "train", read.pictures, taxonomy)
        again = read_split(root, "train", taxonomy)
        for one, other in zip(seen, again, strict=True):
            np.testing.assert_array_equal(one.classes, other.classes)
            np.testing.assert_array_equal(one.attributes[:, :7], other.attributes[:, :7])
        assert again[-1].attributes[0, 7] == rods
    (root / "txt_labels" / "AttriDet" / "train" / "77_1_400_AML.txt").write_text("1 .5 .5 .1 .1 1 0 1 1 0 1 0\n")
    assert read_split(root, "train", eight)[-1].attributes.tolist() == [[*PUBLISHED, UNKNOWN]]


@pytest.fixture(scope="module")
def bundle(data: Path, file: Path, own: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a network that learned one step; its last biases are then set so that it sees plasma cells with Auer rods."""
    folder = tmp_path_factory.mktemp("run")
    threads = torch.get_num_threads()
    try:
        train(TrainRequest(out=folder / "out", data=(str(data / "own"),), taxonomy=file, **SMALL))
    finally:
        torch.set_num_threads(threads)
    model, state = load_network(folder / "out" / "last.pt")
    assert Taxonomy.from_dict(state["taxonomy"]) == model.taxonomy == own
    _see_plasma_cells(model)
    card = Card(name="own", version="0.0.1", licence="Apache-2.0", training=Training(data=(), seed=0, command=""))
    image = cv2.imread(str(data / "own" / "Images" / "train" / "77_1_400_AML.png"))
    return export_bundle(
        model, folder / "bundle", card, (64, 64), [np.asarray(image, np.uint8)], thresholds=Thresholds(max_detections=4)
    )


class Heard(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def test_a_run_without_the_file_says_what_of_its_start_is_left_behind(data: Path, own: Taxonomy, tmp_path: Path) -> None:
    start, heard = tmp_path / "start.safetensors", Heard()
    save_weights(AttriDet("n", own), start, {})
    threads = torch.get_num_threads()
    try:
        train(TrainRequest(out=tmp_path / "out", data=(str(data / "film"),), initial=start, **(SMALL | {"batch": 3})), heard)
    finally:
        torch.set_num_threads(threads)
    assert any("left behind: model.24.m, class Plasma cell, attribute_head.fc3, attribute Auer Rods" in line for line in heard.said)
    assert load_network(tmp_path / "out" / "last.pt")[0].taxonomy == LEUKEMIA_ATTRI


def _see_plasma_cells(model: AttriDet) -> None:
    own = model.taxonomy
    with torch.no_grad():
        for level in model.detect.m:
            rows = level.bias.view(3, -1)  # type: ignore[union-attr]  # a convolution's bias
            rows[:, 4] = 3.0
            rows[:, 5:] = -6.0
            rows[:, 5 + own.classes.index("Plasma cell")] = 6.0
        last = model.attribute_head.fc3
        last.weight.zero_()
        last.bias.fill_(-4.0)
        for group, code in zip(own.groups, (*PUBLISHED, 1), strict=True):
            last.bias[group.start + code] = 4.0


def test_the_line_the_screen_the_page_and_the_summary_say_the_new_words(
    bundle: Bundle, data: Path, own: Taxonomy, tmp_path: Path
) -> None:
    assert Bundle.open(bundle.path).taxonomy == own
    screens: list[np.ndarray] = []
    config = Config(
        camera=ReplayCamera(kind="replay", source=str(data / "own" / "Images" / "train")),
        device=DeviceSection(id="own", state_dir=tmp_path),
        engine=EngineSection(bundle=str(bundle.path), runtime="onnx"),
        slide=SlideSection(auto_start=True),
        display=DisplaySection(kind="none"),
        broker=BrokerSection(host="127.0.0.1", port=9, protocol="3.1.1"),  # nobody: the summary waits in the record
    )

    def look(done: Round, pipeline: Pipeline) -> None:
        if done.observation is not None and done.observation.field_counted and pipeline.slide is not None and not screens:
            screens.append(draw(pipeline.view()))

    outcome = run(config, Openers.of(config), each_round=look, signals=False)
    assert outcome.saved and outcome.slide is not None and len(outcome.slide.cells) > 3
    for cell in outcome.slide.cells:
        assert own.classes[cell.class_index] == "Plasma cell"
        words = cell.attribute_words(own)
        assert words.pop("auer_rods") == "present"
        assert list(words.values()) == [a.values[code] for a, code in zip(LEUKEMIA_ATTRI.attributes, PUBLISHED, strict=True)]

    style = type_styles(own)[-1]
    assert (style.code, style.colour, style.marker) == ("PLC", bgr("E7298A"), "square")
    assert has(panel(screens[0]), "PLC", 19, TEXT, mix(style.colour, PANEL, BAR_SHARE))
    assert has(screens[0], "PLC", CODE_PX, TEXT, PLATE, bold=True)
    with Store.read(config.record_path) as store:
        (message,) = (row for row in store.pending() if row.kind == "summary")
        assert store.slide(outcome.slide.slide_id).provenance.model.taxonomy == own
    summary = read_summary(message.payload).payload
    counted = {row.name: row.count for row in summary.differential}
    assert counted["Plasma cell"] == len(outcome.slide.cells) and sum(counted.values()) == counted["Plasma cell"]
    (kind,) = summary.morphology
    assert [(a.key, a.majority) for a in kind.attributes][-1] == ("auer_rods", "present")
    said = " ".join(summary.description)
    assert "plasma cells (medium-sized cells with open chromatin, irregular nuclei, prominent nucleoli, Auer rods and" in said
    write_page(config.record_path, outcome.slide.slide_id, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Plasma cell" in page and "Auer Rods" in page and "PLC" in page and "#e7298a" in page
