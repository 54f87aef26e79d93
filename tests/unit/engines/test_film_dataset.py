"""Rendered fields on disk: the published layout, read back by the reader of the real data; films split, not fields."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.data.leukemiaattri import read_split
from engines.errors import DataError
from engines.film import Film, labels, require_drawable, write_dataset
from engines.taxonomy import LEUKEMIA_ATTRI, UNKNOWN, Attribute, Taxonomy


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    calls: list[tuple[int, int]] = []
    root = write_dataset(
        tmp_path_factory.mktemp("film") / "set",
        fields_train=3,
        fields_val=2,
        seed=2,
        size_px=(224, 224),
        domains=("L_C2", "H"),
        objectives=(40,),
        cases=("mixed",),
        zoom=(0.8, 0.8),
        workers=1,
        progress=lambda done, total: calls.append((done, total)),
    )
    return root, calls


def test_it_is_read_as_the_published_layout(written: tuple[Path, list[tuple[int, int]]]) -> None:
    root, calls = written
    assert calls == [(3, 5), (5, 5)]
    seen = 0
    for split, count in (("train", 3), ("val", 2)):
        images = read_split(root, split)
        assert len(images) == count
        seen += sum(len(i.classes) for i in images)
        for image in images:
            assert image.read().shape == (224, 224, 3)
            assert image.size_hw == (224, 224)
            cells = image.classes > 0
            assert (image.attributes[cells] >= 0).all()
            assert (image.attributes[~cells] == -1).all()
            assert (image.boxes_px >= 0).all()
            assert (image.boxes_px <= 224).all()
            assert (image.boxes_px[:, 2:] - image.boxes_px[:, :2] > 3).all()
    assert seen >= 4


def test_txt_and_json_say_the_same(written: tuple[Path, list[tuple[int, int]]]) -> None:
    root, _ = written
    for split in ("train", "val"):
        for image in read_split(root, split):
            file = root / "txt_labels" / "AttriDet" / split / f"{image.path.stem}.txt"
            rows = [[float(v) for v in line.split()] for line in file.read_text().splitlines()]
            assert len(rows) == len(image.classes)
            for row, box, code, attributes in zip(rows, image.boxes_px, image.classes, image.attributes, strict=True):
                assert len(row) == 12
                assert row[0] == code
                centre = [(box[0] + box[2]) / 448, (box[1] + box[3]) / 448, (box[2] - box[0]) / 224, (box[3] - box[1]) / 224]
                np.testing.assert_allclose(row[1:5], centre, atol=2e-4)
                if code == 0:
                    assert row[5:] == [2] * 7
                else:
                    np.testing.assert_array_equal(row[5:], attributes)


def test_films_are_split_and_named_in_the_patient_slot(written: tuple[Path, list[tuple[int, int]]]) -> None:
    root, _ = written
    films = {s: {p.name.split("_")[0] for p in (root / "Images" / s).iterdir()} for s in ("train", "val")}
    assert films["train"]
    assert films["val"]
    assert not films["train"] & films["val"]
    names = [p.stem.split("_") for p in (root / "Images" / "train").iterdir()]
    assert all(n[3] == "400" and n[4] == "MIXED" for n in names)


def test_json_says_that_it_is_rendered(written: tuple[Path, list[tuple[int, int]]]) -> None:
    root, _ = written
    data = json.loads((root / "json_labels" / "train.json").read_text())
    assert data["info"]["rendered"] is True
    assert {a["nuclear_chromatio"] for a in data["annotations"]} <= {0, 1, 4}


def test_a_folder_with_labels_is_left_alone(written: tuple[Path, list[tuple[int, int]]]) -> None:
    with pytest.raises(DataError, match=r"already holds json_labels/train\.json"):
        write_dataset(written[0], fields_train=1, fields_val=1, workers=1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"cases": ("flu",)}, "no case 'flu'"), ({"domains": ("Q",)}, "no microscope 'Q'"), ({"objectives": (63,)}, "no objective 63")],
)
def test_unknown_words_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        write_dataset(tmp_path / "new", fields_train=1, fields_val=0, workers=1, **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


RODS = Attribute("granules", "Granules", ("few", "many"))
LARGER = replace(LEUKEMIA_ATTRI, classes=(*LEUKEMIA_ATTRI.classes, "Mast cell"), attributes=(*LEUKEMIA_ATTRI.attributes, RODS))


def test_a_taxonomy_that_cannot_be_drawn_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        write_dataset(tmp_path / "new", fields_train=1, fields_val=0, workers=1, taxonomy=LARGER)
    assert str(caught.value) == (
        "rendered film cannot draw 'Mast cell' and 'Granules'; render without --taxonomy: its labels are read with a taxonomy "
        "of your own by name"
    )
    assert caught.value.exit_code == 2 and not (tmp_path / "new").exists()
    for fewer, words in (
        (replace(LEUKEMIA_ATTRI, classes=LEUKEMIA_ATTRI.classes[:-1]), "draws 'Basophil', which the taxonomy lacks"),
        (replace(LEUKEMIA_ATTRI, attributes=(Attribute("cell_size", "Cell Size", ("tiny", "huge")),)), "cannot draw 'Cell Size'"),
    ):
        with pytest.raises(DataError, match=words):
            require_drawable(fewer)
    require_drawable(replace(LEUKEMIA_ATTRI, attributes=LEUKEMIA_ATTRI.attributes[2:]))


def test_the_film_goes_by_names_and_not_by_numbers() -> None:
    turned = Taxonomy(
        LARGER.classes[::-1],
        tuple(replace(a, values=a.values[::-1]) for a in LARGER.attributes[::-1]),
        blasts=LEUKEMIA_ATTRI.blasts,
    )
    truth = Film(3, "mixed").cells_in((0.0, 0.0, 900.0, 900.0))
    plain, other = labels(truth, LEUKEMIA_ATTRI), labels(truth, turned)
    assert len(truth) > 50 and set(plain[0].tolist()) > {0, 1, 13}
    assert [LEUKEMIA_ATTRI.classes[c] for c in plain[0]] == [turned.classes[c] for c in other[0]]
    for column, attribute in enumerate(turned.attributes):
        if attribute.key == "granules":
            assert (other[1][:, column] == UNKNOWN).all()
            continue
        place = [a.key for a in LEUKEMIA_ATTRI.attributes].index(attribute.key)
        words = [None if c < 0 else attribute.values[c] for c in other[1][:, column]]
        assert words == [None if c < 0 else LEUKEMIA_ATTRI.attributes[place].values[c] for c in plain[1][:, place]]


def test_labels_of_the_film_are_read_by_a_larger_taxonomy(written: tuple[Path, list[tuple[int, int]]]) -> None:
    root, _ = written
    for own, larger in zip(read_split(root, "train"), read_split(root, "train", LARGER), strict=True):
        np.testing.assert_array_equal(own.classes, larger.classes)
        np.testing.assert_array_equal(own.attributes, larger.attributes[:, :7])
        assert (larger.attributes[:, 7] == UNKNOWN).all()
