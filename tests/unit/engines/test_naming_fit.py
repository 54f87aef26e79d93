"""A layer fitted to planted cells names new ones rightly, says how sure it is, knows what it never saw, and is the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_cells import FEATURES, planted_cells

from engines.errors import BundleError, DataError
from engines.naming import NamingLayer
from engines.naming.calibrate import chosen_thresholds, platt, temperature
from engines.naming.cells import LabelledCells
from engines.naming.fit import FitSettings, Fitted, fit
from engines.naming.foreign import film_likeness
from engines.taxonomy import LEUKEMIA_ATTRI

SETTINGS = FitSettings(ridge=0.05, references=60, dimensions=24)
SOURCES = ("alpha", "beta", "gamma")


def sources(per_type: int = 30) -> LabelledCells:
    return LabelledCells.joined([planted_cells(name, per_type, seed) for seed, name in enumerate(SOURCES)])


def by_source(cells: LabelledCells) -> np.ndarray:
    return np.unique(cells.sources, return_inverse=True)[1]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    cells = sources()
    return fit(cells, LEUKEMIA_ATTRI, by_source(cells), SETTINGS)


def test_new_cells_of_known_sources_are_named_rightly(fitted: Fitted) -> None:
    new = planted_cells("beta", 40, 91)
    names, attributes = fitted.layer.names(new.features, LEUKEMIA_ATTRI)
    assert np.allclose(names.probabilities.sum(1), 1, atol=1e-5)
    told = names.types >= 0
    assert told.mean() > 0.9 and (names.types == new.classes)[told].mean() > 0.97
    white = new.classes != 0
    blasts = np.isin(new.classes, (1, 2))
    groups = np.array(names.groups)
    assert (groups[blasts] == "blasts").mean() > 0.97 and (groups[white & ~blasts] == "others").mean() > 0.97
    chromatin = attributes[:, LEUKEMIA_ATTRI.groups[1]].argmax(1)
    assert (chromatin == new.attributes[:, 1])[white].mean() > 0.95
    unlabelled = attributes[:, LEUKEMIA_ATTRI.groups[0]]
    assert np.allclose(unlabelled, unlabelled[0, 0])  # nobody said anything of it: every value is as likely


def test_a_type_that_no_cell_showed_is_never_told(fitted: Fitted) -> None:
    wild = np.random.default_rng(5).normal(size=(300, FEATURES)).astype(np.float32) * 20
    names, _ = fitted.layer.names(wild, LEUKEMIA_ATTRI)
    assert set(names.types.tolist()) <= {-1, 0, 1, 2, 3, 7, 12}
    assert names.probabilities[:, [4, 5, 6, 8, 9, 10, 11, 13]].max() < 1e-6


def test_probabilities_of_left_out_cells_are_as_often_right_as_they_say() -> None:
    cells = sources(60)
    blur = np.random.default_rng(8).normal(size=len(cells)).astype(np.float32) * 3
    x = np.stack([cells.features[:, 0], cells.features[:, 1] + blur], 1)
    noisy = replace(cells, features=x)  # the group alone, and badly: many cells are doubtful
    found = fit(noisy, LEUKEMIA_ATTRI, by_source(noisy), replace(SETTINGS, balance=0.0))
    share = found.left_out[:, [1, 2]].sum(1) / (1 - found.left_out[:, 0])
    white = noisy.classes != 0
    blast = np.isin(noisy.classes, (1, 2))
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        band = white & (share >= low) & (share < high)
        assert band.sum() > 15
        assert abs(blast[band].mean() - share[band].mean()) < 0.12


def test_what_was_never_seen_is_foreign_and_what_was_is_not(fitted: Fitted) -> None:
    def label(source: str, seed: int) -> str:
        distances = fitted.layer.names(planted_cells(source, 6, seed, types=(3, 7, 12, 1, 2)).features, LEUKEMIA_ATTRI)[0].distances
        return film_likeness(distances).label

    assert [label(source, 40 + seed) for source in SOURCES for seed in range(5)] == ["known"] * 15
    assert [label(source, 50) for source in ("delta", "epsilon", "zeta")] == ["unlike"] * 3
    with_site = LabelledCells.joined([sources(), planted_cells("delta", 10, 60)])
    layer = fit(with_site, LEUKEMIA_ATTRI, by_source(with_site), SETTINGS).layer
    distances = layer.names(planted_cells("delta", 6, 61, types=(3, 7, 12, 1, 2)).features, LEUKEMIA_ATTRI)[0].distances
    assert film_likeness(distances).label == "known"  # the flag goes with cells of that microscope


def test_rendered_cells_teach_names_and_make_no_film_known() -> None:
    cells = sources()
    layer = fit(replace(cells, rendered=("gamma",)), LEUKEMIA_ATTRI, by_source(cells), SETTINGS).layer
    distances = layer.names(planted_cells("gamma", 8, 70).features, LEUKEMIA_ATTRI)[0].distances
    assert film_likeness(distances).foreign


def test_the_same_cells_give_the_same_file(fitted: Fitted, tmp_path: Path) -> None:
    cells = sources()
    again = fit(cells, LEUKEMIA_ATTRI, by_source(cells), SETTINGS).layer
    assert again.to_bytes() == fitted.layer.to_bytes()
    read = again.write(tmp_path / "layer.npz")
    assert read.to_bytes() == again.to_bytes() and read.thresholds == again.thresholds
    assert NamingLayer.read(tmp_path / "layer.npz").digest == read.digest


def test_half_and_half_gives_a_small_site_its_say() -> None:
    """The site calls blast what open data calls other: mixed half and half, its own few cells win on its own microscope."""
    open_cells = sources(100)
    site = planted_cells("site", 12, 3)
    turned = replace(site, features=np.where(np.arange(FEATURES) == 1, -site.features, site.features).astype(np.float32))
    both = LabelledCells.joined([open_cells, turned])
    folds = np.full(len(both), -1)
    plain = fit(both, LEUKEMIA_ATTRI, folds, SETTINGS)
    parts = (both.sources == "site").astype(np.int64)
    mixed = fit(both, LEUKEMIA_ATTRI, folds, SETTINGS, parts)
    assert "not calibrated" in " ".join(mixed.notes)
    truth = np.isin(turned.classes, (1, 2))[turned.classes != 0]

    def gap(layer: NamingLayer) -> float:
        p = layer.names(turned.features, LEUKEMIA_ATTRI)[0].probabilities[turned.classes != 0]
        share = p[:, [1, 2]].sum(1)
        return float(share[truth].mean() - share[~truth].mean())

    assert gap(mixed.layer) > gap(plain.layer) + 0.1


def test_rendered_cells_weigh_their_share() -> None:
    """Rendered film that calls blasts what others call others: the more it weighs, the more the layer follows it."""
    cells = sources()
    flipped = cells.features * np.where((np.arange(FEATURES) == 1) & (cells.sources == "gamma")[:, None], -1, 1)
    cells = replace(cells, features=flipped.astype(np.float32), rendered=("gamma",))
    new = planted_cells("beta", 20, 5)
    blast = np.isin(new.classes, (1, 2))

    def told(share: float) -> float:
        never = np.full(len(cells), -1)
        layer = fit(cells, LEUKEMIA_ATTRI, never, replace(SETTINGS, rendered_share=share)).layer
        probabilities = layer.names(new.features, LEUKEMIA_ATTRI)[0].probabilities
        return float(probabilities[blast][:, [1, 2]].sum(1).mean())

    assert told(0.02) > told(0.5) + 0.02 > told(0.98) + 0.04


def test_one_group_alone_is_refused() -> None:
    cells = planted_cells("alpha", 30, 0, types=(0, 3, 7))
    with pytest.raises(DataError, match=r"0 blasts, 60 other white cells, 30 artefacts.*at least 5 blasts"):
        fit(cells, LEUKEMIA_ATTRI, by_source(cells), SETTINGS)


def test_platt_finds_the_logit_that_made_the_answers() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=20_000)
    yes = rng.random(20_000) < 1 / (1 + np.exp(-(2.5 * scores - 0.7)))
    gain, offset = platt(scores, yes, np.ones(20_000))
    assert gain == pytest.approx(2.5, abs=0.1) and offset == pytest.approx(-0.7, abs=0.06)
    gain, offset = platt(-scores, yes, np.ones(20_000))  # a score that misleads becomes a constant, the share of "yes"
    assert gain == 0 and 1 / (1 + np.exp(-offset)) == pytest.approx(yes.mean(), abs=0.01)
    assert 0 < platt(np.array([-1.0] * 50 + [1.0] * 50), np.arange(100) >= 50, np.ones(100))[0] <= 40  # parted without a fault


def test_temperature_finds_the_gain_that_made_the_answers() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(8000, 3))
    chance = np.exp(4 * scores)
    answers = (rng.random((8000, 1)) > np.cumsum(chance / chance.sum(1, keepdims=True), 1)).sum(1)
    assert temperature(scores, answers, np.ones(8000)) == pytest.approx(4, rel=0.1)


def test_thresholds_follow_costs_and_the_share_that_must_be_right() -> None:
    """100 blasts at .3, .5, .9 and 100 others at .1, .4: what each threshold tells can be counted by hand."""
    share = np.repeat([0.3, 0.5, 0.9, 0.1, 0.4], [10, 20, 70, 80, 20]).astype(np.float32)
    blast = np.repeat([True, False], [100, 100])
    p = np.zeros((200, 14), np.float32)
    p[:, 1], p[:, 3] = share, 1 - share
    classes = np.where(blast, 1, 3)

    def chosen(cost: float, right: float = 0.5) -> tuple[float, float]:
        t = chosen_thresholds(p, classes, np.ones(200), LEUKEMIA_ATTRI, cost, 2.0, right)
        return t.blast, t.other

    assert chosen(1.0)[0] == pytest.approx(0.45)  # 10 missed beat 20 told falsely
    assert chosen(3.0)[0] == pytest.approx(0.2)  # 20 told falsely beat 10 missed, which cost 30
    # 180 of 200 are told the right group at .2; at .4 the sign turns wrong for 20, which are the next to be left without a name
    assert chosen(3.0, 0.9) == (pytest.approx(0.2, abs=1e-3), pytest.approx(0.2, abs=1e-3))
    above, below = chosen(3.0, 0.93)
    assert above == pytest.approx(0.5, abs=1e-3) and below < 0.1  # as sure to either side, in logits: .5 is 1.4 beyond .2


def test_blasts_are_not_lost_among_artefacts() -> None:
    """By cost alone the threshold would lie at .55; but 30 of 100 blasts are no surer than .3 to be cells."""
    white = np.repeat([0.3, 0.9, 0.9, 0.5], [30, 70, 100, 100]).astype(np.float32)
    classes = np.repeat([1, 1, 3, 0], [30, 70, 100, 100])
    p = np.zeros((300, 14), np.float32)
    p[np.arange(300), np.where(classes == 0, 3, classes)] = white
    p[:, 0] = 1 - white
    assert chosen_thresholds(p, classes, np.ones(300), LEUKEMIA_ATTRI, 3.0, 2.0, 0.5).cell == pytest.approx(0.3)
    surer = np.where(classes[:, None] == 1, p[[40]], p)
    assert 0.5 < chosen_thresholds(surer, classes, np.ones(300), LEUKEMIA_ATTRI, 3.0, 2.0, 0.5).cell < 0.9


def test_the_file_of_open_cells_keeps_them_and_refuses_others(tmp_path: Path) -> None:
    cells, file = replace(sources(5), rendered=("gamma",)), tmp_path / "open.npz"
    cells.write(file, LEUKEMIA_ATTRI.classes)
    read = LabelledCells.read(file, LEUKEMIA_ATTRI.classes)
    assert np.abs(read.features - cells.features).max() < 0.01
    for name in ("classes", "attributes", "sources", "patients"):
        assert (getattr(read, name) == getattr(cells, name)).all()
    assert read.rendered == ("gamma",) == LabelledCells.joined([read, cells]).rendered
    assert read.licences == dict.fromkeys(SOURCES, "ours") and read.encoder == cells.encoder
    with pytest.raises(BundleError, match="cells of other types"):
        LabelledCells.read(file, ("None", "Blast"))
    file.write_bytes(b"no archive")
    with pytest.raises(BundleError, match=r"open\.npz: no file of open cells"):
        LabelledCells.read(file, LEUKEMIA_ATTRI.classes)
    with pytest.raises(ValueError, match="one encoder"):
        LabelledCells.joined([cells, replace(cells, encoder="f" * 64)])


def test_types_are_calibrated_within_the_sources_and_groups_across_them() -> None:
    """Sources in which the same type looks quite different: across them types are hardly told, within them surely."""
    rng = np.random.default_rng(3)
    cells = sources(40)
    features = cells.features.copy()
    for name in SOURCES:  # each source shows the types of its other cells along directions of its own
        here = np.flatnonzero((cells.sources == name) & (cells.classes > 2))
        own = rng.normal(size=(len(LEUKEMIA_ATTRI.classes), FEATURES)).astype(np.float32)
        features[here] += 2 * own[cells.classes[here]]
    cells = replace(cells, features=features)
    within = rng.integers(0, 4, len(cells))
    across = fit(cells, LEUKEMIA_ATTRI, by_source(cells), SETTINGS).layer
    known = fit(cells, LEUKEMIA_ATTRI, by_source(cells), SETTINGS, types=within).layer
    typed = [(layer.names(cells.features, LEUKEMIA_ATTRI)[0].types > 0).mean() for layer in (across, known)]
    assert typed[1] > typed[0]
    some = np.where(np.arange(len(cells)) % 2 == 0, within, -1)
    left_out = fit(cells, LEUKEMIA_ATTRI, by_source(cells), SETTINGS, types=some).left_out
    assert np.isnan(left_out[some < 0]).all() and not np.isnan(left_out[some >= 0]).any()
