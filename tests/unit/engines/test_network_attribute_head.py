"""The attribute head and AttriDet against the reference's numbers, and what their docstrings promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.families.attridet.losses import attribute_loss
from engines.network import AttributeHead, AttriDet, Taps, YOLOv5
from engines.taxonomy import LEUKEMIA_ATTRI, Attribute, Taxonomy

ROIS = torch.tensor([[0, 4.0, 6.0, 40.0, 50.0], [1, 10.0, 10.0, 30.0, 20.0], [1, -5.0, 0.0, 70.0, 64.0]])


@pytest.fixture(scope="module")
def fixture(parity: Path) -> dict[str, Tensor]:
    return {k: torch.from_numpy(v) for k, v in np.load(parity / "attridet/head.npz").items()}


@pytest.mark.shared
def test_pooling_and_network_equal_the_reference(parity: Path, fixture: dict[str, Tensor]) -> None:
    head = AttributeHead(480, groups=(2,) * 6).eval()
    head.load_state_dict(load_file(parity / "attridet/attribute_cnn_state.safetensors"))
    assert sum(p.numel() for p in head.parameters()) == 1_520_140
    with torch.no_grad():
        pooled = head.pool(Taps(fixture["square.p2"], fixture["square.p3"]), fixture["square.clean_rois_px"])
        logits = head(pooled)
    assert pooled.shape == (8, 480, 24, 30)
    torch.testing.assert_close(logits, fixture["square.clean_logits"], rtol=0, atol=1e-4)
    assert torch.equal(head.probabilities(logits).view(-1, 6, 2).argmax(2), fixture["square.clean_pred"])


@pytest.mark.shared
def test_loss_of_fully_known_cells_equals_the_reference(fixture: dict[str, Tensor]) -> None:
    rows = fixture["valid_rows"]
    labels = fixture["targets"][rows, 7:].long()
    loss = attribute_loss(fixture["square.official_logits"][rows], labels, (2,) * 6)
    assert loss.item() == pytest.approx(float(fixture["square.official_cell_training_loss"]), rel=1e-5)


@pytest.mark.parametrize(("size", "channels"), [("n", 96), ("s", 192), ("m", 288), ("l", 384), ("x", 480)])
def test_head_fits_every_size(size: str, channels: int) -> None:
    with torch.device("meta"):
        model = AttriDet(size)
    assert model.attribute_head.conv1.in_channels == channels
    assert model.attribute_head.fc3.out_features == LEUKEMIA_ATTRI.n_logits == 15


def test_published_detector_weights_fit() -> None:
    torch.manual_seed(1)
    published, model = YOLOv5("n", classes=14).state_dict(), AttriDet("n")
    missing, unexpected = model.load_state_dict(published, strict=False)
    assert not unexpected
    assert sorted(missing) == sorted(f"attribute_head.{k}" for k in model.attribute_head.state_dict())
    assert len(missing) == 12
    assert all(torch.equal(model.state_dict()[k], v) for k, v in published.items())


def test_one_pass_gives_levels_taps_and_attributes_in_both_modes() -> None:
    model = AttriDet("n")
    images = torch.rand(2, 3, 64, 64)
    for mode in (True, False):
        levels, taps = model.train(mode).forward_train(images)
        assert [level.shape[-1] for level in levels] == [19, 19, 19]
        assert taps.p2.shape == (2, 32, 16, 16)
        assert taps.p3.shape == (2, 64, 8, 8)
        logits = model.attribute_logits(taps, ROIS)
        assert logits.shape == (3, 15)
        sums = [model.attribute_probabilities(logits)[:, g].sum(1) for g in LEUKEMIA_ATTRI.groups]
        torch.testing.assert_close(torch.stack(sums), torch.ones(7, 3))
        assert model.attribute_logits(taps, ROIS[:0]).shape == (0, 15)


def test_dropout_only_in_training_mode() -> None:
    model = AttriDet("n")
    with torch.no_grad():
        _, taps = model.eval().forward_train(torch.rand(2, 3, 64, 64))
        assert torch.equal(model.attribute_logits(taps, ROIS), model.attribute_logits(taps, ROIS))
        model.train()
        assert not torch.equal(model.attribute_logits(taps, ROIS), model.attribute_logits(taps, ROIS))


@pytest.mark.parametrize("detach", [False, True])
def test_attribute_loss_reaches_layers_0_to_4_unless_detached(detach: bool) -> None:
    model = AttriDet("n", detach_features=detach)
    _, taps = model.forward_train(torch.rand(2, 3, 64, 64))
    attribute_loss(model.attribute_logits(taps, ROIS), torch.zeros(3, 7), model.attribute_head.groups).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.attribute_head.parameters())
    reached = {i for i, layer in enumerate(model.model) if any(p.grad is not None for p in layer.parameters())}
    assert reached == (set() if detach else {0, 1, 2, 3, 4})


def test_another_taxonomy_is_data() -> None:
    taxonomy = Taxonomy(("None", "Cell"), (Attribute("a", "A", ("x", "y", "z", "w")), Attribute("b", "B", ("0", "1"))))
    model = AttriDet("n", taxonomy=taxonomy).eval()
    assert model.classes == 2
    assert model.attribute_head.groups == (4, 2)
    logits = model.attribute_logits(Taps(torch.rand(2, 32, 16, 16), torch.rand(2, 64, 8, 8)), ROIS)
    assert logits.shape == (3, 6)


def test_groups_that_tell_nothing_apart_are_refused() -> None:
    for groups in ((), (2, 1)):
        with pytest.raises(ValueError, match="two values"):
            AttributeHead(96, groups)


def test_names_of_the_heads_parameters() -> None:
    names = [n for n, m in AttributeHead(96).named_children() if not isinstance(m, nn.Dropout)]
    assert names == ["conv1", "conv2", "conv3", "fc1", "fc2", "fc3"]
