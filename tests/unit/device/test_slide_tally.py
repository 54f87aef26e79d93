"""The differential under any cells, and under any order of counting, replacing and undoing fields."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.slide.model import Cell, Field, Slide
from device.slide.tally import differential
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

NOW = datetime(2026, 11, 23, 18, 15, tzinfo=timezone.utc)
ARTEFACT = TAXONOMY.classes.index("None")


def cell(kind: int, identified: bool) -> Cell:
    return Cell(kind, 0.9 if identified else 0.2, identified, (0.0, 0.0, 10.0, 10.0), np.zeros(TAXONOMY.n_logits, np.float32))


unhurried = settings(deadline=None)  # a busy machine is no error
cells = st.builds(cell, st.integers(0, len(TAXONOMY.classes) - 1), st.booleans())
fields = st.lists(cells, max_size=8)


@unhurried
@given(st.lists(cells, max_size=80))
def test_counts_and_per_cents_agree_with_the_cells(seen: list[Cell]) -> None:
    tally = differential(seen, TAXONOMY)
    white = [c for c in seen if c.class_index != ARTEFACT]
    assert tally.artefacts == len(seen) - len(white)
    assert tally.white_cells == len(white)
    assert tally.unidentified == sum(not c.identified for c in white)
    for row in tally.rows:
        assert row.count == sum(c.identified and TAXONOMY.classes[c.class_index] == row.name for c in white)
    assert sum(row.count for row in tally.rows) + tally.unidentified == tally.white_cells
    shares = sum(row.percent for row in tally.rows) + tally.unidentified_percent
    assert shares == pytest.approx(100.0 if white else 0.0)
    assert tally.blasts == sum(c.identified and TAXONOMY.is_blast(c.class_index) for c in white)
    assert [r.count for r in tally.by_count()] == sorted((r.count for r in tally.rows if r.count), reverse=True)


@unhurried
@given(st.lists(cells, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_cells_does_not_matter(seen: list[Cell], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert differential(shuffled, TAXONOMY) == differential(seen, TAXONOMY)


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["count", "replace", "undo"]), fields), max_size=25))
def test_count_replace_and_undo_keep_the_tally_that_of_the_fields_that_remain(steps: list[tuple[str, list[Cell]]]) -> None:
    slide = Slide("20261123-181512-4f9a2c", NOW)
    model: dict[int, list[Cell]] = {}
    last = 0
    for step, seen in steps:
        if step == "count" or not model:
            last += 1
            index = last
        elif step == "replace":
            index = max(model)
        else:
            slide = replace(slide, fields=slide.fields[:-1])
            del model[max(model)]
            continue
        model[index] = seen
        slide = slide.with_field(Field(index, NOW, "test", (640, 360), 1.0, tuple(seen)))
    assert [f.index for f in slide.fields] == sorted(model)
    assert differential(slide.cells, TAXONOMY) == differential([c for index in sorted(model) for c in model[index]], TAXONOMY)


def test_an_unknown_type_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        differential((), TAXONOMY).count("Plasma cell")
