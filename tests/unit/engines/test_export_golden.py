"""A golden picture far from any tie: how far an answer lies from one, and a picture searched for that."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from truthful import truthful_engine

from engines.bundle import Bundle, golden_answer, resolve
from engines.detections import Image
from engines.errors import BundleError
from engines.export.golden import clear_picture
from engines.film import Film, Microscope
from engines.runtime.factory import open_engine
from engines.runtime.margins import attribute_lead, attribute_margins, margins_of, type_margins
from engines.runtime.onnx import OnnxEngine
from engines.taxonomy import LEUKEMIA_ATTRI


def test_the_lead_of_an_attribute_is_its_distance_from_a_tie() -> None:
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.4, 0.6]], np.float32)
    np.testing.assert_allclose(attribute_lead(probabilities), [0.4, 0, 0.1], atol=1e-6)
    np.testing.assert_allclose(attribute_lead(np.array([[0.5, 0.3, 0.2]], np.float32)), [0.1], atol=1e-6)


def test_the_least_lead_of_no_box_is_empty_and_of_what_is_never_told_infinite() -> None:
    taxonomy, width = LEUKEMIA_ATTRI, sum(len(a.values) for a in LEUKEMIA_ATTRI.attributes)
    none = attribute_margins(np.zeros((0, width), np.float32), taxonomy)
    assert none.shape == (0,)
    untold = attribute_margins(np.full((2, width), np.nan, np.float32), taxonomy)
    assert np.isinf(untold).all() and untold.shape == (2,)


def test_a_picture_without_anything_has_no_margins(bundle: Bundle) -> None:
    with OnnxEngine(bundle, 1) as engine:
        engine.thresholds = replace(engine.thresholds, confidence=0.999)
        seen = margins_of(engine, np.full((640, 640, 3), 255, np.uint8))
    assert seen.least == 0.0 and not (seen.classes >= 0).any()


def test_margins_are_those_of_what_the_engine_tells(bundle: Bundle, frame: Image) -> None:
    with OnnxEngine(bundle, 1) as engine:
        told, seen, types = engine.infer(frame).detections, margins_of(engine, frame), type_margins(engine, frame)
        rows, threshold = engine.propose(frame).rows.copy(), engine.thresholds.confidence
    above = seen.classes >= 0
    assert len(types) == len(told) and (types >= 0).all()
    # Each cell's lead is that of some row that has its score.
    scores = np.sort(rows[:, 5:] * rows[:, 4:5], 1)
    for score, lead in zip(told.scores, types, strict=True):
        here = np.isclose(scores[:, -1], score, atol=1e-6)
        assert np.isclose(scores[here, -1] - scores[here, -2], lead, atol=1e-6).any()
    assert above.sum() >= len(told) and seen.least == pytest.approx(seen.each.min())
    assert (seen.each[above] <= seen.types[above] + 1e-6).all() and (seen.each[~above] < threshold).all()


def test_the_margins_of_a_bundle_are_kept_with_its_golden_answer(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert golden is not None
    margins = bundle.golden_margins()
    assert margins is not None and len(margins) == len(golden[1])
    with OnnxEngine(bundle, 1) as engine:
        np.testing.assert_allclose(type_margins(engine, golden[0]), margins, atol=1e-4)
    assert "margins" not in json.loads(golden_answer(golden[1]))
    old = Bundle.open(resolve("zoo:attridet-n"))
    assert old.manifest.version != "1.2.0" or old.golden_margins() is None  # written before there were any


def test_a_searched_picture_is_farther_from_ties_than_a_field() -> None:
    with open_engine("zoo:attridet-n", "onnx", 1, verify=False) as engine:
        picture = clear_picture(engine, seed=0, fields=8)
        seen = margins_of(engine, picture)
        film, scope = Film(9_000_000, "mixed", (1200.0, 900.0)), Microscope("H", "C1", 100, unit=1, width_px=1150)
        before = margins_of(engine, film.view((400.0, 300.0), scope, (1280, 1280), 0.0, noise_seed=0)[0])
    assert picture.shape == (640, 640, 3) and picture.dtype == np.uint8
    told = seen.classes[seen.classes >= 0]
    assert len(told) >= 8 and len(set(told.tolist())) >= 3
    assert seen.least > before.least


def test_an_engine_that_finds_nothing_gives_no_picture() -> None:
    blind = truthful_engine()
    blind.thresholds = replace(blind.thresholds, confidence=0.999)
    with blind, pytest.raises(BundleError, match="too few cells are found on rendered film"):
        clear_picture(blind, fields=1)
