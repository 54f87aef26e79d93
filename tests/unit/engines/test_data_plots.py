"""The distribution as a picture: bars as long as the counts, in a file of the kind that was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled import ARTEFACT, BLAST, NEUTROPHIL, write_subset

from engines.data.census import Census, count, together
from engines.data.layout import find_subsets
from engines.data.leukemiaattri import admit
from engines.data.plots import SPLIT_COLOURS, VALUE_COLOURS, draw
from engines.errors import DataError
from engines.taxonomy import LEUKEMIA_ATTRI

FIELDS = {"1_1_1000_ALL.png": [BLAST, replace(BLAST, box=(30, 8, 20, 18)), ARTEFACT], "1_2_1000_ALL.png": [NEUTROPHIL]}


def counted(root: Path) -> list[Census]:
    read, _ = admit([split for subset in find_subsets(root) for split in subset.splits], root, LEUKEMIA_ATTRI)
    return [count(one.split.label, one.pictures, LEUKEMIA_ATTRI) for one in read]


def pixels_of(image: np.ndarray, colour: str) -> int:
    bgr = np.array([int(colour[i : i + 2], 16) for i in (5, 3, 1)])
    return int((np.abs(image.astype(int) - bgr).max(2) <= 3).sum())


def test_bars_are_as_long_as_the_counts(tmp_path: Path) -> None:
    root = write_subset(tmp_path / "set", {"train": FIELDS, "val": {"2_1_1000_AML.png": [NEUTROPHIL]}})
    image = cv2.imread(str(draw("set", counted(root), LEUKEMIA_ATTRI, tmp_path / "deep/figure.png")))
    assert image is not None and image.shape[1] > 1600 and image.std() > 20
    train, val = (pixels_of(image, colour) for colour in SPLIT_COLOURS[:2])
    # Artefacts are drawn paler, so three cells against one; the legend adds one patch to each.
    assert 2.5 < train / val < 3.2


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_other_kinds_of_files_and_several_subsets(tmp_path: Path, suffix: str) -> None:
    for name in ("H_100X_C1", "L_40X_C2"):
        write_subset(tmp_path / "all" / name, {"train": FIELDS})
    out = draw("all", counted(tmp_path / "all"), LEUKEMIA_ATTRI, tmp_path / f"figure{suffix}")
    assert out.read_bytes()[:5] == {".svg": b"<?xml", ".pdf": b"%PDF-"}[suffix]


def test_values_are_counted_by_type_and_fields_that_several_subsets_show_once(tmp_path: Path) -> None:
    for name in ("H_100X_C1", "L_100X_C2"):
        write_subset(tmp_path / "all" / name, {"train": FIELDS})
    total = together("all", counted(tmp_path / "all"), LEUKEMIA_ATTRI)
    assert (total.images, total.fields, total.cells) == (4, 2, 8)
    sizes = total.by_type["cell_size"]
    for code in range(len(LEUKEMIA_ATTRI.classes)):
        assert sum(n for (kind, _), n in sizes.items() if kind == code) == total.classes[code]
    for value, n in total.attributes["cell_size"].items():
        assert sum(count for (_, one), count in sizes.items() if one == value) == n
    alone, both = (
        cv2.imread(str(draw("x", counted(tmp_path / "all")[:number], LEUKEMIA_ATTRI, tmp_path / f"{number}.png"))) for number in (1, 2)
    )
    assert alone is not None and both is not None and both.shape[0] > alone.shape[0]
    # Each attribute's colours are drawn over all cells and once more by type: a bar for each of two types.
    assert pixels_of(alone, VALUE_COLOURS[2][0]) > 0 and pixels_of(alone, VALUE_COLOURS[2][1]) > 0


def test_nothing_to_draw_and_nowhere_to_write(tmp_path: Path) -> None:
    empty = counted(write_subset(tmp_path / "empty", {"train": {"1_1_1000_ALL.png": []}}))
    with pytest.raises(DataError, match="no labelled cell"):
        draw("empty", empty, LEUKEMIA_ATTRI, tmp_path / "figure.png")
    full = counted(write_subset(tmp_path / "full", {"train": FIELDS}))
    with pytest.raises(DataError, match=r"figure\.docx: cannot be written"):
        draw("full", full, LEUKEMIA_ATTRI, tmp_path / "figure.docx")
