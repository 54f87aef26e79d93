"""Colours of the screen: apart for the colour-blind, and text that stands out from its ground."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from device.display import palette
from device.display.labels import PLATE
from device.display.palette import Colour, contrast_ratio, group_styles, mix, person_styles, type_styles
from device.display.rows import BAR_SHARE
from engines.taxonomy import LEUKEMIA_ATTRI, Attribute, Taxonomy

# Full dichromacy on linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.0.
VISION: dict[str, NDArray[np.float64]] = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear_rgb(colour: Colour) -> NDArray[np.float64]:
    channels = np.array(colour[::-1]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def seen_lab(colour: Colour, vision: str) -> NDArray[np.float64]:
    """CIE L*a*b* of a colour as somebody with that vision sees it."""
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear_rgb(colour), 0, 1) / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def delta_e(a: Colour, b: Colour, vision: str) -> float:
    return float(np.linalg.norm(seen_lab(a, vision) - seen_lab(b, vision)))


TYPES = [s for s in type_styles(LEUKEMIA_ATTRI) if not s.artefact]
GROUPS = list(group_styles(LEUKEMIA_ATTRI).values())
PERSONS = list(person_styles(LEUKEMIA_ATTRI).values())
WHITE_CELLS = TYPES + GROUPS
ALL = WHITE_CELLS + PERSONS


def test_the_measure_knows_red_from_green_and_deuteranopia_does_not() -> None:
    red, green = palette.bgr("D05050"), palette.bgr("7A8A40")
    assert delta_e(red, green, "normal") > 3 * delta_e(red, green, "deuteranopia")


@pytest.mark.parametrize(("vision", "least"), [("normal", 35.0), ("protanopia", 25.0), ("deuteranopia", 25.0), ("tritanopia", 20.0)])
def test_types_with_the_same_marker_are_told_apart(vision: str, least: float) -> None:
    """A group's marker is hollow; its box has gaps, which small cells hide, so its colour is apart from them all the same."""
    pairs = [(a, b) for a, b in itertools.combinations(ALL, 2) if a.marker.split()[-1] == b.marker.split()[-1]]
    assert len(pairs) > 30
    for a, b in pairs:
        assert delta_e(a.colour, b.colour, vision) >= least, (vision, a.name, b.name)


def test_all_types_differ_for_normal_vision() -> None:
    for a, b in itertools.combinations(ALL, 2):
        assert delta_e(a.colour, b.colour, "normal") >= 20, (a.name, b.name)


def test_blasts_and_no_others_bear_the_diamond() -> None:
    assert {s.name for s in TYPES if s.marker == "diamond"} == set(LEUKEMIA_ATTRI.blasts)
    assert [(s.code, s.marker, s.blast) for s in GROUPS] == [("BL?", "open diamond", True), ("WC?", "open disc", False)]
    assert all(s.open for s in GROUPS)


def test_codes_are_short_and_unique() -> None:
    codes = [s.code for s in type_styles(LEUKEMIA_ATTRI)]
    assert len(set(codes)) == len(LEUKEMIA_ATTRI.classes)
    assert all(2 <= len(code) <= 4 and code.isalnum() for code in codes)
    assert not {s.code for s in GROUPS} & set(codes)
    assert [s.code for s in PERSONS] == ["NRC", "SMU", "ART", "NCL"]
    assert {s.code for s in PERSONS} & set(codes) == {"ART"}  # what the network calls None is what a person calls an artefact


TEXTS = {
    "text on panel": (palette.TEXT, palette.PANEL),
    "soft on panel": (palette.SOFT, palette.PANEL),
    "dim on panel": (palette.DIM, palette.PANEL),
    "dim on the bars' track": (palette.DIM, mix(palette.CARD, palette.PANEL, 0.45)),
    "dim on key cap": (palette.DIM, palette.CARD),
    "text on key cap": (palette.TEXT, mix(palette.CARD, palette.LINE, 0.4)),
    "text on label": (palette.TEXT, PLATE),
    "soft on label": (palette.SOFT, PLATE),
    "blast mark on label": (palette.WARN, PLATE),
    "notice": (palette.WARN, mix(palette.WARN, palette.PANEL, 0.16)),
    "simulator": (palette.GROUND, palette.WARN),
    "start screen": (palette.SOFT, palette.GROUND),
    "start screen, reason": (palette.DIM, palette.GROUND),
}
TEXTS |= {f"{level} words on panel": (colour, palette.PANEL) for level, colour in palette.LEVELS.items()}
TEXTS |= {f"{level} message": (palette.ink_on(colour), colour) for level, colour in palette.LEVELS.items()}
TEXTS |= {f"{level} chip": (palette.GROUND, colour) for level, colour in palette.LEVELS.items()}
TEXTS |= {f"{s.name} row": (palette.TEXT, mix(s.colour, palette.PANEL, BAR_SHARE)) for s in ALL}


@pytest.mark.parametrize("where", TEXTS)
def test_text_stands_out_from_its_ground(where: str) -> None:
    assert contrast_ratio(*TEXTS[where]) >= 4.5


@pytest.mark.parametrize("style", ALL, ids=lambda s: s.name)
def test_marks_stand_out_from_panel_and_label(style: palette.TypeStyle) -> None:
    assert contrast_ratio(style.colour, palette.PANEL) >= 3
    assert contrast_ratio(style.colour, PLATE) >= 3
    assert contrast_ratio(style.colour, palette.HALO) >= 3  # so a box shows on pale plasma and dark nuclei alike


def test_contrast_of_black_and_white_is_21() -> None:
    assert contrast_ratio((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast_ratio((255, 255, 255), (255, 255, 255)) == pytest.approx(1)


def test_another_taxonomy_gets_styles_of_its_own() -> None:
    names = tuple(f"Type {i}" for i in range(20))
    taxonomy = Taxonomy(("Debris", *names, "Neutrophil"), (Attribute("size", "Size", ("small", "large")),), "Debris", ("Type 3",))
    styles = type_styles(taxonomy)
    assert [s.name for s in styles] == list(taxonomy.classes)
    assert styles[0].artefact
    assert styles[4].marker == "diamond"
    assert len({s.code for s in styles}) == len(styles)
    assert len({(s.colour, s.marker) for s in styles}) == len(styles)
    assert styles[-1].code == "NEU"


def test_a_type_without_looks_gets_spare_ones_that_no_other_type_has() -> None:
    taxonomy = Taxonomy((*LEUKEMIA_ATTRI.classes, "Mast cell", "Neutrocyte", "Hairy cell"), LEUKEMIA_ATTRI.attributes)
    styles = type_styles(taxonomy)
    assert [s.code for s in styles[-3:]] == ["MAS", "NE2", "HAI"]
    assert len({(s.colour, s.marker) for s in styles}) == len(styles)
    assert styles[: len(LEUKEMIA_ATTRI.classes)] == tuple(replace(s, blast=False) for s in type_styles(LEUKEMIA_ATTRI))
