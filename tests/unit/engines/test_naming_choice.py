"""Which layer an engine takes, what is refused; and when a film is foreign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from naming_layers import bundle_with_look, plain_layer

from engines.bundle import ZOO, Bundle
from engines.detections import CellNames
from engines.errors import BundleError
from engines.naming.choice import layer_of
from engines.naming.foreign import film_likeness, groups_only
from engines.naming.layer import FIRST_CELLS


def test_a_chosen_layer_goes_before_the_bundles_own(tmp_path: Path) -> None:
    bare = bundle_with_look(tmp_path / "bare")
    assert layer_of(bare) is None
    bundle = bundle_with_look(tmp_path / "bundle", layer=plain_layer(bare, "shipped"))
    own = layer_of(bundle)
    chosen = layer_of(bundle, plain_layer(bundle, "site").write(tmp_path / "site.npz") and tmp_path / "site.npz")
    assert own is not None and own.name == "shipped"
    assert chosen is not None and chosen.name == "site" and len(chosen.digest) == 64


def test_a_layer_of_another_encoder_taxonomy_or_shape_is_refused(tmp_path: Path) -> None:
    bundle = bundle_with_look(tmp_path / "bundle")
    layer, file = plain_layer(bundle), tmp_path / "layer.npz"
    for wrong, words in (
        (replace(layer, encoder="f" * 64), "fitted to another encoder"),
        (replace(layer, classes=("None", "Blast")), "other types"),
        (replace(layer, weights=layer.weights[:-1]), "weights of 6 x 31 and not 7"),
    ):
        wrong.write(file)
        with pytest.raises(BundleError, match=words) as refused:
            layer_of(bundle, file)
        assert str(file) in str(refused.value) and "attridet learn" in str(refused.value)


def test_a_bundle_without_a_second_look_takes_no_layer(tmp_path: Path) -> None:
    old = Bundle.open(ZOO / "attridet-n", verify=False)
    if old.manifest.second_look is None:
        assert layer_of(old) is None
        with pytest.raises(BundleError, match="has no second look"):
            layer_of(old, tmp_path / "layer.npz")


def test_the_first_cells_decide_and_no_later_ones() -> None:
    assert film_likeness([]).label == f"not yet: 0 of {FIRST_CELLS}"
    assert film_likeness([2.0] * (FIRST_CELLS - 1)).verdict == "not yet"
    assert film_likeness([2.0] * FIRST_CELLS + [0.1] * 500).foreign
    assert film_likeness([0.5] * FIRST_CELLS + [9.0] * 500).verdict == "known"
    assert film_likeness([0.5] * 20 + [9.0] * 10).verdict == "known"  # a third of the cells may be odd
    assert film_likeness([0.5] * 14 + [9.0] * 16).foreign
    assert film_likeness([0.0] * 40).verdict == "cannot tell"


def test_on_a_foreign_film_groups_and_artefacts_are_told() -> None:
    probabilities = np.full((4, 3), 1 / 3, np.float32)
    names = CellNames(probabilities, np.array([1, 2, 0, -1]), ("blasts", "others", "", "blasts"), np.full(4, 2, np.float32))
    told = groups_only(names)
    assert told.types.tolist() == [-1, -1, 0, -1] and told.groups == names.groups
