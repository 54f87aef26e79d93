"""The film in words: what is said, and what is never said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
import pytest

from device.slide.description import attribute_majorities, describe
from device.slide.model import Cell, Field, Slide, SlideState
from device.slide.tally import differential
from engines.pages import NOTICE
from engines.taxonomy import LEUKEMIA_ATTRI as TAXONOMY
from engines.taxonomy import Attribute, Taxonomy

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)
PUBLISHED = next(one.keys for one in TAXONOMY.txt_layouts if one.name == "published-12")
BLAST_LOOKS = ("large", "open", "irregular", "prominent", "scanty", "moderate", "absent")
CYTE_LOOKS = ("small", "coarse", "regular", "inconspicuous", "scanty", "slight", "absent")


def cells(name: str, count: int, looks: Sequence[str | None] | None = None, identified: bool = True) -> list[Cell]:
    vector = np.full(TAXONOMY.n_logits, np.nan, np.float32)
    known = dict(zip(PUBLISHED, looks or [None] * 7, strict=True))
    for attribute, group in zip(TAXONOMY.attributes, TAXONOMY.groups, strict=True):
        word = known.get(attribute.key)
        if word is not None:
            vector[group] = [0.9 if value == word else 0.05 for value in attribute.values]
    return [Cell(TAXONOMY.classes.index(name), 0.8, identified, (0, 0, 9, 9), vector) for _ in range(count)]


def slide_of(*groups: list[Cell], fields: int = 1, **header: object) -> Slide:
    everything = tuple(cell for group in groups for cell in group)
    made = [Field(1, NOW, "t", (9, 9), 1.0, everything), *(Field(i, NOW, "t", (9, 9), 1.0, ()) for i in range(2, fields + 1))]
    return Slide("s", NOW, fields=tuple(made), **header)  # type: ignore[arg-type]  # header fields by name


def said(slide: Slide) -> tuple[str, ...]:
    return describe(slide, differential(slide.cells, TAXONOMY), TAXONOMY)


def test_a_leukaemic_film_reads_as_in_the_paper() -> None:
    slide = slide_of(
        cells("Myeloblast", 76, BLAST_LOOKS),
        cells("Lymphocyte", 20, CYTE_LOOKS),
        cells("Monoblast", 16, BLAST_LOOKS),
        cells("Neutrophil", 10),
        cells("Basophil", 1),
        cells("Monocyte", 1, identified=False),
        cells("None", 4),
        fields=22,
    )
    assert said(slide) == (
        "Of 124 white blood cells in 22 fields, 61 % are myeloblasts (large cells with open chromatin, irregular nuclei, prominent "
        "nucleoli and scanty, moderately basophilic cytoplasm without vacuoles).",
        "16 % are lymphocytes (small cells with coarse chromatin, regular nuclei, inconspicuous nucleoli and scanty, slightly "
        "basophilic cytoplasm without vacuoles).",
        "13 % are monoblasts (large cells with open chromatin, irregular nuclei, prominent nucleoli and scanty, moderately "
        "basophilic cytoplasm without vacuoles).",
        "Also seen: neutrophils 8 %, basophils under 1 %.",
        "Blasts and blast equivalents make up 74 % (92 of 124, 95 % range 66 to 82 %): myeloblasts 61 %, monoblasts 13 %.",
        "1 cell (under 1 %) could not be named with confidence.",
        "Left out of the count: 4 artefacts (smudged cells, stain).",
        NOTICE,
    )


def test_no_blasts_is_said_of_what_was_looked_at_only() -> None:
    text = " ".join(said(slide_of(cells("Neutrophil", 150, None), fields=30)))
    assert "none were identified in 30 fields; that does not exclude them" in text
    for word in ("no leukaemia", "leukemia", "normal", "healthy", "negative"):
        assert word not in text.lower()


def test_few_cells_and_many_unidentified_are_said() -> None:
    sentences = said(slide_of(cells("Monocyte", 20), cells("Monocyte", 5, identified=False)))
    assert sentences[0] == "Only 25 white blood cells were counted: per cents of so few are uncertain."
    unidentified = "5 cells (20 %) could not be named with confidence, which is many: look at them before relying on the per cents."
    assert unidentified in sentences


@pytest.mark.parametrize(
    ("slide", "first"),
    [
        (slide_of(fields=12), "No white blood cells were found in 12 fields."),
        (Slide("s", NOW), "No field was counted, so nothing can be said of this film."),
        (slide_of(cells("None", 3)), "No white blood cells were found in 1 field."),
        (
            slide_of(state=SlideState.ABORTED, abort_reason="the appliance was stopped"),
            "The slide was not finished (the appliance was stopped).",
        ),
    ],
)
def test_every_paragraph_ends_with_the_notice(slide: Slide, first: str) -> None:
    sentences = said(slide)
    assert sentences[0] == first
    assert sentences[-1] == NOTICE == "For review, not a diagnosis."


def test_no_cells_are_not_said_to_be_a_normal_film() -> None:
    assert "That does not mean that the film has none." in said(slide_of(fields=12))


def test_all_unidentified() -> None:
    sentences = said(slide_of(cells("Monocyte", 4, identified=False)))
    assert "Of 4 white blood cells in 1 field, none could be named with confidence." in sentences


def test_attributes_need_a_clear_majority() -> None:
    """59 of 100 is mixed, 60 of 100 is stated."""
    other = ("small", "coarse", "regular", "inconspicuous", "abundant", "slight", "prominent")
    mixed = " ".join(said(slide_of(cells("Myeloblast", 59, BLAST_LOOKS), cells("Myeloblast", 41, other))))
    assert (
        "(cells of mixed size with mixed chromatin, nuclei of mixed shape, mixed prominence of nucleoli and variably abundant, "
        "variably basophilic cytoplasm with vacuoles in some)" in mixed
    )
    clear = " ".join(said(slide_of(cells("Myeloblast", 60, BLAST_LOOKS), cells("Myeloblast", 40, other))))
    assert "(large cells with open chromatin" in clear


def test_unknown_attributes_are_not_made_up() -> None:
    size_only = ("large", None, None, None, None, None, None)
    assert "60 % are myeloblasts (large cells)" in " ".join(said(slide_of(cells("Myeloblast", 60, size_only), cells("Monocyte", 40))))
    assert attribute_majorities(cells("Myeloblast", 4, size_only) + cells("Myeloblast", 6), TAXONOMY) == {}
    vacuoles = (None, None, None, None, None, None, "prominent")
    assert "(cells with cytoplasm with prominent vacuoles)" in " ".join(said(slide_of(cells("Monocyte", 60, vacuoles))))


def test_another_taxonomy_is_described_in_its_own_words() -> None:
    taxonomy = Taxonomy(
        classes=("None", "NK cell", "Plasma cell"),
        attributes=(Attribute("granules", "Granules", ("few", "many")), Attribute("cell_size", "Cell Size", ("tiny", "huge"))),
    )
    vector = np.array([0.1, 0.9, 0.2, 0.8], np.float32)
    field = Field(1, NOW, "t", (9, 9), 1.0, tuple(Cell(1, 0.9, True, (0, 0, 9, 9), vector) for _ in range(120)))
    slide = Slide("s", NOW, fields=(field,))
    first = describe(slide, differential(slide.cells, taxonomy), taxonomy)[0]
    assert first == "Of 120 white blood cells in 1 field, 100 % are NK cells (granules: many; cell size: huge)."
