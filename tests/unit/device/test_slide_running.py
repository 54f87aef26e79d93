"""What is counted along with a growing slide is what counting it from the beginning gives, whatever came and went."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np

from device.camera.quality import PictureFault
from device.slide.description import attribute_majorities, majorities
from device.slide.model import Cell, Field, Slide
from device.slide.picture_state import PictureState, field_faults
from device.slide.running import RunningTally
from device.slide.tally import tally
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY

NOW = datetime(2026, 11, 23, 18, 15, 12, tzinfo=timezone.utc)


def cell(rng: random.Random) -> Cell:
    attributes = np.array([rng.random() for _ in range(TAXONOMY.n_logits)], np.float32)
    group = rng.choice(["", "blasts", "others"])
    return Cell(rng.randrange(len(TAXONOMY.classes)), rng.random(), rng.random() < 0.6, (0, 0, 9, 9), attributes, group=group)


def field(rng: random.Random, index: int) -> Field:
    faults = rng.choice([None, (), (PictureFault.DARK,), (PictureFault.BRIGHT, PictureFault.GREY)])
    cells = tuple(cell(rng) for _ in range(rng.randrange(5)))
    fault = rng.choice(["", "", "no memory"])
    return Field(index, NOW, "", (64, 48), rng.choice([0.2, 0.5, 0.9, 1.1]), cells, rng.random() < 0.2, faults, fault)


def test_after_any_change_the_counts_are_those_of_counting_anew() -> None:
    rng = random.Random(8)
    slide, running = Slide("s", NOW), RunningTally(TAXONOMY)
    for step in range(200):
        fields = list(slide.fields)
        what = rng.random()
        if what < 0.55 or not fields:
            fields.append(field(rng, len(fields) + 1))
        elif what < 0.75:
            fields.pop()
        else:
            at = rng.randrange(len(fields))
            fields[at] = field(rng, fields[at].index)
        slide = replace(slide, fields=tuple(fields), foreign=rng.choice([None, True, False]))
        running.follow(slide.fields)
        assert running.differential(slide) == tally(slide, TAXONOMY), step
        for row in tally(slide, TAXONOMY).rows:
            alike = [one for one in slide.cells if slide.told(one) == row.told]
            assert majorities(*running.words(slide, row.told)) == attribute_majorities(alike, TAXONOMY)
        state, faults = PictureState.of(slide), [fault for each in field_faults(slide) for fault in each]
        assert {fault: faults.count(fault) for fault in set(faults)} == dict(state.faults)
        assert state.judged == sum(one.faults is not None for one in slide.fields)
        assert (state.at_limit, state.first_look) == (
            sum(one.limit_met for one in slide.fields),
            sum(bool(one.naming_fault) for one in slide.fields),
        )


def test_what_a_person_left_out_of_the_differential_is_left_out_here_too() -> None:
    rng = random.Random(9)
    words = ("nrbc", "smudge", "artefact", "not_classed", "Monocyte", "blasts", "")
    cells = tuple(replace(cell(rng), verdict=word) for word in words for _ in range(3))
    slide, running = Slide("s", NOW, fields=(Field(1, NOW, "", (64, 48), 1.0, cells),)), RunningTally(TAXONOMY)
    running.follow(slide.fields)
    assert running.differential(slide) == tally(slide, TAXONOMY)
