"""The asymmetric loss and its masks against the reference's numbers, and properties of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engines.families.attridet.losses import asymmetric_loss, attribute_loss
from engines.taxonomy import LEUKEMIA_ATTRI

GROUPS = (3, 2, 2, 2, 2, 2, 2)


@pytest.fixture(scope="module")
def fixture(parity: Path) -> dict[str, Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(parity / "asl/asl.npz").items()}


@pytest.mark.shared
def test_values_and_gradients_of_every_case(parity: Path, fixture: dict[str, Tensor]) -> None:
    for case in json.loads((parity / "asl/cases.json").read_text()):
        rows = case["n_rows"]
        logits = fixture["logits"][:rows].clone().requires_grad_()
        names = ("gamma_neg", "gamma_pos", "clip", "eps", "detach_focal_weight")
        loss = asymmetric_loss(logits, fixture["targets_onehot"][:rows], **{k: case[k] for k in names})
        assert loss.item() == pytest.approx(case["loss_sum"], rel=1e-5), case["id"]
        assert loss.item() == pytest.approx(float(fixture[f"{case['id']}.loss"]), rel=1e-5), case["id"]
        loss.backward()
        torch.testing.assert_close(logits.grad, fixture[f"{case['id']}.grad"], rtol=1e-5, atol=1e-7)


@pytest.mark.shared
def test_rows_that_the_reference_keeps_and_the_mask_of_single_attributes(fixture: dict[str, Tensor]) -> None:
    logits = fixture["logits"].flatten(1)
    labels = fixture["cell_training.labels7"][:, 1:].long()
    labels[labels == 2] = -1
    kept = fixture["cell_training.kept_rows"]
    loss = attribute_loss(logits[kept], labels[kept], (2,) * 6)
    assert loss.item() == pytest.approx(float(fixture["cell_training.loss"]), rel=1e-5)

    known = fixture["masked_elementwise.known"]
    assert torch.equal(labels >= 0, known)
    loss = attribute_loss(logits, labels, (2,) * 6)
    assert loss.item() * int(known.any(1).sum()) == pytest.approx(float(fixture["masked_elementwise.sum"]), rel=1e-5)


def test_without_focus_and_clip_it_is_binary_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 15, generator=generator) * 3
    targets = (torch.rand(20, 15, generator=generator) < 0.4).float()
    expected = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    assert asymmetric_loss(logits, targets, 0, 0, 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_unknown_attributes_get_exactly_zero_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 15, generator=generator)
    labels = torch.tensor(
        [
            [2, 1, 0, 1, 0, 1, 0],
            [-1, 1, -1, 0, 0, -1, 1],
            [0, -1, -1, -1, -1, -1, -1],
            [-1, -1, -1, -1, -1, -1, -1],
            [1, 0, 0, 0, -1, 1, 1],
        ]
    )
    unknown = (labels < 0).repeat_interleave(torch.tensor(GROUPS), 1)
    logits[unknown] = torch.tensor([float("nan"), float("inf")]).repeat(100)[: int(unknown.sum())]  # must not matter
    logits.requires_grad_()
    loss = attribute_loss(logits, labels, GROUPS)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert (logits.grad[unknown] == 0).all()
    assert (logits.grad[~unknown] != 0).all()
    # Four cells have anything known; each known attribute is its own sum.
    by_hand = torch.zeros(())
    for row, codes in zip(logits.detach(), labels.tolist(), strict=True):
        for group, code in zip(LEUKEMIA_ATTRI.groups, codes, strict=True):
            if code >= 0:
                by_hand = by_hand + asymmetric_loss(row[group], functional.one_hot(torch.tensor(code), group.stop - group.start))
    assert loss.item() == pytest.approx(by_hand.item() / 4, rel=1e-5)


@pytest.mark.parametrize("cells", [0, 3])
def test_nothing_known_costs_nothing_and_keeps_the_graph(cells: int) -> None:
    logits = torch.randn(cells, 15, requires_grad=True)
    loss = attribute_loss(logits, torch.full((cells, 7), -1), GROUPS)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None and not logits.grad.any()


def test_groups_may_be_sizes_or_slices() -> None:
    logits, labels = torch.randn(4, 15), torch.randint(-1, 2, (4, 7))
    assert attribute_loss(logits, labels, GROUPS) == attribute_loss(logits, labels, LEUKEMIA_ATTRI.groups)


def test_half_precision_logits_are_summed_in_float32() -> None:
    loss = attribute_loss(torch.randn(4, 15).bfloat16(), torch.ones(4, 7), GROUPS)
    assert loss.dtype == torch.float32


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="exceeds its values"):
        attribute_loss(torch.zeros(1, 15), torch.tensor([[3, 0, 0, 0, 0, 0, 0]]), GROUPS)
    with pytest.raises(ValueError, match="do not fit"):
        attribute_loss(torch.zeros(1, 12), torch.zeros(1, 7), GROUPS)
    with pytest.raises(ValueError, match="do not fit"):
        attribute_loss(torch.zeros(1, 15), torch.zeros(1, 6), GROUPS)
